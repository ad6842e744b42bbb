"""`--hangul`: characters are known by the letters of their syllables."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.training.conftest import Result
from training.models.hangul import HangulLetters, HangulVectors
from zoo.golden import check_golden
from zoo.package import read_card
from zoo.runtime import make_run, open_session

Train = Callable[..., Result]


def vectors(vocabulary: str, ngrams: int = 1) -> HangulVectors:
    torch.manual_seed(0)
    return HangulVectors(tuple(vocabulary), 6, ngrams=ngrams, buckets=64).eval()


@torch.no_grad()
def test_syllables_share_the_vectors_of_their_letters() -> None:
    ga, gak, na, nak, latin, jamo = vectors("가각나낙aㅋ")(torch.arange(2, 8)[None])[0]
    torch.testing.assert_close(gak - ga, nak - na)  # the final consonant
    assert not torch.allclose(gak, ga)
    torch.testing.assert_close(latin, jamo)  # neither is a syllable
    assert not torch.allclose(latin, ga)


@torch.no_grad()
def test_ngrams_are_those_of_syllables_without_finals() -> None:
    texts = torch.tensor([[2, 4], [3, 4], [6, 4]])  # 가나, 각나, a나
    after_ga, after_gak, after_latin = vectors("가각나낙a", ngrams=2)(texts)[:, 1]
    torch.testing.assert_close(after_ga, after_gak)
    assert not torch.allclose(after_ga, after_latin)


def test_the_first_and_the_last_syllable_have_their_letters() -> None:
    assert vectors("가힣힤").parts_4V.T.tolist()[2:] == [[1, 1, 1, 23], [19, 21, 28, 439], [0, 0, 0, 0]]


def test_letters_are_those_of_normal_form_d_between_two_marks() -> None:
    vocabulary = "가각나낙aㅋ힣 "
    texts = ["각a나 힣", "", "ㅋㅋ가", "?낙"]
    spell = HangulLetters(vocabulary)
    encode = {character: place for place, character in enumerate(vocabulary, 2)}
    ids = [torch.tensor([encode.get(character, 1) for character in text]) for text in texts]
    rows = spell(torch.nn.utils.rnn.pad_sequence(ids, batch_first=True))
    assert rows.shape == (4, 3 * 5 + 2)
    known = "".join(character for text in texts for character in text).replace("?", "\ufffd")
    names: dict[int, str] = {}
    for text, row in zip(texts, rows.tolist(), strict=True):
        letters = unicodedata.normalize("NFD", text.replace("?", "\ufffd"))
        assert row[0] == 1
        assert row[len(letters) + 1 :] == [2] + [0] * (15 - len(letters))
        for letter, number in zip(letters, row[1:], strict=False):
            assert names.setdefault(number, letter) == letter, "a number is one letter"
    assert len(names) == len(set(unicodedata.normalize("NFD", known))), "a letter is one number"


def test_a_network_that_knows_letters_is_published(menagerie_train: Train, tmp_path: Path) -> None:
    rng = random.Random(0)
    rows = []
    for number in range(96):
        stem = ["좋다", "좋은", "좋았", "좋아"] if number % 2 else ["싫다", "싫은", "싫었", "싫어"]
        rows.append(f"{rng.choice(['영화', '배우', 'ㅋㅋ'])} {rng.choice(stem)}\t{number % 2}\n")
    (tmp_path / "reviews.txt").write_text("".join(rows), encoding="utf-8")
    small = ("--embedding-size", 8, "--hidden-size", 6, "--epochs", 4, "--batch-size", 8, "--learning-rate", 0.03)
    network = ("--tokens", "characters", "--hangul", "--ngrams", 2, "--buckets", 64)
    where = ("--output", tmp_path / "zoo", "--name", "reviews", "--runs", tmp_path / "runs", "--averaging", "ema")
    result = menagerie_train("text", tmp_path / "reviews.txt", *network, *small, *where, "--ema-decay", 0.8)
    assert result.exit_code == 0, result.stderr
    published = tmp_path / "zoo" / "reviews" / "1" / "model.onnx"
    card = read_card(published)
    assert card is not None
    assert card.test_metrics["accuracy"] >= 0.9
    check_golden(card, make_run(open_session(published.read_bytes())))


def test_letters_of_words_are_refused(menagerie_train: Train, tmp_path: Path) -> None:
    result = menagerie_train("text", tmp_path / "x.txt", "--hangul", "--output", tmp_path, "--name", "x")
    assert result.exit_code == 2
    assert "hangul is of characters that are embedded; use it with tokens characters" in " ".join(result.stderr.split())


@pytest.mark.parametrize("averaging", ["ema", "swa"])
def test_whole_numbers_are_not_averaged(averaging: str) -> None:
    from training.fit.averaging import Averaging
    from training.settings import FitSettings

    model = vectors("".join(chr(0xAC00 + number) for number in range(0, 11_172, 37)))
    average = Averaging(model, FitSettings.model_validate({"averaging": averaging, "ema_decay": 0.998, "epochs": 1}))
    for _ in range(3):
        average.after_step(model)
        average.after_epoch(model, 0)
    averaged = average.model(model)
    assert isinstance(averaged, HangulVectors)
    assert torch.equal(averaged.open_V, model.open_V)
