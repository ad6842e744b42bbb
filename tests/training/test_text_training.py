"""`python -m training text`: from files of labelled texts to a model that answers; and what it says to bad data."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.conftest import Result
from training.data.labels import in_order
from training.errors import WeightsError
from training.models.vectors import load_vectors
from zoo.card import Card, TextTask
from zoo.golden import check_golden
from zoo.package import read_card
from zoo.runtime import make_run, open_session

GOOD, BAD = ("great", "lovely", "excellent", "좋다"), ("awful", "boring", "terrible", "별로")
FILLERS = ("the", "film", "was", "a", "very", "and", "story", "영화", "정말", ",")
SMALL = (
    *("--embedding-size", 12, "--hidden-size", 8, "--epochs", 8, "--batch-size", 16, "--learning-rate", 0.02),
    *("--validation-share", 0.2, "--test-share", 0.2),
)
Train = Callable[..., Result]


def toy_reviews(count: int, seed: int = 0) -> list[tuple[str, int]]:
    """Sentences whose class one word decides."""
    rng = random.Random(seed)
    rows = []
    for index in range(count):
        label = index % 2
        words = rng.choices(FILLERS, k=rng.randint(1, 9))
        words.insert(rng.randint(0, len(words)), rng.choice(GOOD if label else BAD))
        rows.append((" ".join(words), label))
    return rows


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.txt"
    path.write_text("".join(f"{text}\t{label}\n" for text, label in toy_reviews(160)), encoding="utf-8")
    return path


@pytest.fixture
def train(menagerie_train: Train, tmp_path: Path) -> Train:
    """`python -m training text` with a repository and a small network."""

    def run(*arguments: object) -> Result:
        where = ("--output", tmp_path / "zoo", "--name", "reviews", "--runs", tmp_path / "runs")
        return menagerie_train("text", *where, *SMALL, *arguments)

    return run


def published(tmp_path: Path, version: int = 1) -> tuple[Path, Card]:
    path = tmp_path / "zoo" / "reviews" / str(version) / "model.onnx"
    card = read_card(path)
    assert card is not None
    return path, card


def answer(path: Path, *texts: str) -> list[str]:
    card = read_card(path)
    assert card is not None
    assert isinstance(card.task, TextTask)
    probabilities = make_run(open_session(path))({"text": np.array(texts, dtype=object)})["probabilities"]
    return [card.task.labels[index] for index in probabilities.argmax(1)]


def test_a_trained_model_answers(train: Train, reviews: Path, tmp_path: Path) -> None:
    options = ("--label-names", "negative,positive", "--language", "en", "--licence", "CC0-1.0")
    result = train(reviews, *options, "--epochs", 25, "--patience", 25)
    assert result.exit_code == 0, result.stderr
    assert "naive bayes" in result.stdout
    assert "published reviews version 1" in result.stdout
    path, card = published(tmp_path)
    assert answer(path, "The film was EXCELLENT!", "a boring story", "정말 좋다") == [
        "positive",
        "negative",
        "positive",
    ]
    assert card.task == TextTask(labels=("negative", "positive"), max_tokens=256, language="en")
    assert card.test_metrics["accuracy"] > 0.9
    assert {"macro_f1", "log_loss", "naive_bayes_accuracy", "majority_accuracy"} <= card.test_metrics.keys()
    assert card.provenance.split == "stratified by class, seed 0: 96 train / 32 validation / 32 test"
    assert card.reference["tokens"].mean == pytest.approx(6, abs=1)
    assert card.class_shares == {"negative": 0.5, "positive": 0.5}
    assert {sample.text.split()[0] for sample in card.golden.samples if sample.text}
    assert check_golden(card, make_run(open_session(path))) <= 1


@pytest.mark.parametrize(
    "options",
    [
        ("--tokens", "characters", "--cell", "lstm", "--ngrams", 3, "--buckets", 500),
        ("--cell", "rnn", "--no-bidirectional", "--layers", 2, "--label-smoothing", 0.1),
        ("--members", 2, "--naive-bayes-buckets", 1000, "--r-drop", 0.5),
        ("--pretrain-epochs", 1, "--members", 2, "--network", "convolution"),
        ("--tokens", "character_ngrams", "--token-length", 2, "--encoding", "one_hot", "--naive-bayes-buckets", 100),
    ],
    ids=[
        "characters",
        "one direction",
        "committee with naive Bayes",
        "pre-trained committee",
        "one-hot n-grams of characters",
    ],
)
def test_every_kind_of_network_is_published(
    train: Train, reviews: Path, tmp_path: Path, options: tuple[object, ...]
) -> None:
    assert train(reviews, *options, "--epochs", 2).exit_code == 0
    path, card = published(tmp_path)
    assert len(answer(path, "", "좋다")) == 2
    assert options[0].removeprefix("--").replace("-", "_") in card.provenance.settings


def test_hashed_one_hot_says_how_many_words_share_a_place(train: Train, reviews: Path, tmp_path: Path) -> None:
    result = train(reviews, "--encoding", "hashed_one_hot", "--one-hot-size", 16, "--epochs", 1)
    assert result.exit_code == 0, result.stderr
    assert (said := re.search(r"18 different tokens hashed to 16 places: (\d+\.\d)% of them", result.stderr))
    _, card = published(tmp_path)
    assert card.test_metrics["hash_collision_rate"] == pytest.approx(float(said[1]) / 100, abs=1e-3)
    assert card.description == "2 classes of texts, bidirectional GRU over hashed-one-hot words"


def test_a_hash_with_room_tells_unknown_words(train: Train, reviews: Path, tmp_path: Path) -> None:
    result = train(reviews, "--encoding", "hashed_one_hot", "--one-hot-size", 2000, "--epochs", 1)
    assert result.exit_code == 0, result.stderr
    path, card = published(tmp_path)
    run = make_run(open_session(path))
    known, mixed = run({"text": np.array(["great film", "great unheard of"], object)})["unknown_token_rate"]
    assert (known, mixed) == (0, pytest.approx(2 / 3))
    assert card.reference["unknown_token_rate"].mean < 0.2


def test_one_hot_vectors_have_a_largest_width(train: Train, tmp_path: Path) -> None:
    path = tmp_path / "reviews.txt"
    path.write_text("".join(f"w{number} w{number} w{number + 3000}\t{number % 2}\n" for number in range(3000)))
    result = train(path, "--encoding", "one_hot", "--min-count", 1)
    assert result.exit_code == 2
    assert re.search(r"one-hot vectors of \d+ known tokens are too wide, at most 2048 are possible", result.stderr)
    assert not (tmp_path / "zoo").exists()


def test_the_same_seed_gives_the_same_model(train: Train, reviews: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert train(reviews, "--epochs", 1).exit_code == 0
    first, second = published(tmp_path, 1)[1], published(tmp_path, 2)[1]
    assert first.golden == second.golden
    assert first.provenance.data_sha256 == second.provenance.data_sha256


def test_word_vectors_are_loaded(train: Train, reviews: Path, tmp_path: Path) -> None:
    vectors = tmp_path / "vectors.json"
    rng = np.random.default_rng(0)
    words = {word: rng.normal(size=20).tolist() for word in (*GOOD, *BAD[:2], "unused")}
    vectors.write_text(f'{{"vectors": {words}}}'.replace("'", '"'), encoding="utf-8")
    result = train(reviews, "--vectors", vectors, "--epochs", 1)
    assert result.exit_code == 0
    assert re.search(r"word vectors for 6 of \d+ known words \(\d+%\)", result.stderr)
    assert published(tmp_path)[1].provenance.weights_source == "word vectors vectors.json"


@pytest.mark.parametrize("first_line", ["", "7 20\n"], ids=["GloVe", "word2vec"])
def test_frozen_word_vectors_stay_as_they_are(tmp_path: Path, first_line: str) -> None:
    vectors = tmp_path / "vectors.txt"
    rows = np.random.default_rng(0).normal(size=(6, 4))
    words = [*GOOD, *BAD[:2]]
    lines = [f"{word} {' '.join(map(str, row))}\n" for word, row in zip(words, rows, strict=True)]
    vectors.write_text(first_line + "".join(lines), encoding="utf-8")
    embedding = torch.nn.Embedding(9, 4)
    assert load_vectors(embedding, [*words, "film"], vectors, frozen=True) == 6
    assert not embedding.weight.requires_grad
    got = embedding.weight.detach().numpy()
    np.testing.assert_allclose(np.corrcoef(got[2:8].ravel(), (rows - rows.mean(0)).ravel())[0, 1], 1, atol=1e-6)
    assert not got[8].any()
    vectors.write_text("great 1 2 x\n")
    with pytest.raises(WeightsError, match="line 1: expected a word and numbers"):
        load_vectors(embedding, words, vectors)


def test_word_vectors_of_files_with_capitals_and_spaces(tmp_path: Path) -> None:
    """The word in small letters counts, else its most frequent spelling; a token may have spaces in it."""
    path = tmp_path / "cased.txt"
    path.write_text("us 1 0\nUS 9 9\nParis 0 1\nPARIS 9 9\n. . . 5 5\nfilm 0 0\n", encoding="utf-8")
    embedding = torch.nn.Embedding(5, 2)
    assert load_vectors(embedding, ["us", "paris", "film"], path) == 3
    us, paris, film = (row - embedding.weight[4] for row in embedding.weight[2:].detach())
    assert film.abs().max() == 0
    torch.testing.assert_close(us / us.norm(), torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(paris / paris.norm(), torch.tensor([0.0, 1.0]))


@pytest.mark.parametrize("labels", [["10", "9", "1.0", "1", "01"], ["b", "nan", "2", "a"]])
def test_classes_have_one_order(labels: list[str]) -> None:
    expected = ("01", "1", "1.0", "9", "10") if "9" in labels else ("2", "a", "b", "nan")
    assert in_order(labels) == in_order(reversed(labels)) == expected


def test_files_of_all_forms_and_a_validation_file(train: Train, tmp_path: Path) -> None:
    rows = toy_reviews(120)
    table = tmp_path / "a.csv"
    table.write_text(
        "\ufeffid,Review,Sentiment\r\n"
        + "".join(f'{index},"{text}, ""quoted""\nsecond line",{label}\r\n' for index, (text, label) in enumerate(rows)),
        encoding="utf-8",
    )
    tabs = tmp_path / "b.tsv"
    tabs.write_text('id\tdocument\tlabel\n1\tgreat \x85 \u2028 "film\t1\n2\t \t0\n3\tawful\t0\n', encoding="utf-8")
    validation = tmp_path / "validation.txt"
    validation.write_text("".join(f"{text}\t{label}\n" for text, label in toy_reviews(30, seed=1)), encoding="utf-8")
    result = train(table, tabs, "--validation-file", validation, "--epochs", 1)
    assert result.exit_code == 0, result.stderr
    assert "122 texts: 61 0, 61 1; 1 empty ones left out" in result.stderr
    assert "98 train / 0 validation / 24 test; 30 validation from validation.txt" in result.stderr


@pytest.mark.parametrize(
    ("name", "content", "options", "messages"),
    [
        ("a.txt", "good\t1\nfine\t1\n", (), ["all 2 texts have the label '1'", "two classes"]),
        ("a.txt", "good\t1\nbad\n", (), ["line 2", "1 columns where 2 were expected"]),
        ("a.txt", "good\t1\nbad\t \n", (), ["line 2", "label is missing"]),
        ("a.txt", "", (), ["is empty"]),
        ("a.txt", "good\t1\nbad\t0\n", (), ["class '0' has 1 item(s)"]),
        ("a.tsv", "what\twhere\tlabel\nx\ty\t1\n", (), ["no column looks like the text", "'what', 'where', 'label'"]),
        ("a.csv", "text,label\nx,1\n", ("--label-column", "stars"), ["no column 'stars'", "'text', 'label'"]),
        ("a.csv", 'text,label\n"x,1\n', (), ["line 2", "not comma-separated"]),
        ("a.txt", "좋다\t1\n".encode("cp949"), (), ["line 1", "is not UTF-8", "iconv"]),
        ("a.txt", "a\t1\nb\t0\n" * 20, ("--label-names", "x,y,z"), ["3 names", "2 labels: 0, 1"]),
        ("a.txt", "a\t1\nb\t0\n" * 20, ("--cell", "transformer"), ["'transformer' is not one of"]),
        ("a.txt", "a\t1\nb\t0\n" * 20, ("--tokens", "characters", "--vectors", "v.json"), ["vectors are of words"]),
        ("a.txt", "a\t1\nb\t0\n" * 20, ("--vectors", "v.json"), ["v.json cannot be read"]),
        (
            "a.txt",
            "a\t1\nb\t0\n" * 20,
            ("--encoding", "one_hot", "--ngrams", 2),
            ["leave it out with encoding one_hot"],
        ),
        ("a.txt", "a\t1\nb\t0\n" * 20, ("--encoding", "one_hot", "--vectors", "v.json"), ["not for one_hot"]),
        ("a.txt", "a\t1\nb\t0\n" * 20, ("--kernel", 4), ["kernel 4 has no middle"]),
        ("a.txt", "a\t1\nb\t0\n" * 20, ("--min-count", 50), ["no token of the training part occurs 50 times"]),
        ("a.txt", "a\t1\nb\t0\n" * 20, ("--reverse",), ["add --no-bidirectional"]),
        ("a.txt", "a\t1\nb\t0\n" * 20, ("--frozen",), ["give some with vectors"]),
        ("a.txt", "a\t1\nb\t0\n" * 20, ("--test-share", 0.95), ["leave nothing to train on"]),
    ],
)
def test_bad_data_is_named(
    train: Train, tmp_path: Path, name: str, content: str | bytes, options: tuple[object, ...], messages: list[str]
) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    result = train(path, *options)
    assert result.exit_code == 2
    for message in messages:
        assert message in result.stderr
    assert not (tmp_path / "zoo").exists()


def test_a_missing_file_is_named(train: Train, tmp_path: Path) -> None:
    result = train(tmp_path / "nowhere.txt")
    assert result.exit_code == 2
    assert "nowhere.txt cannot be read: No such file or directory" in result.stderr


def test_a_label_that_only_the_validation_file_has(train: Train, reviews: Path, tmp_path: Path) -> None:
    validation = tmp_path / "validation.txt"
    validation.write_text("great\t1\nso so\t2\n", encoding="utf-8")
    result = train(reviews, "--validation-file", validation)
    assert result.exit_code == 2
    assert "label '2' is not among the labels of the training data: 0, 1" in result.stderr
