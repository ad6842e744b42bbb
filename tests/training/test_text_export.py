"""The graph of a text classifier: same as torch for any text, in any company."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.texts.tokens import Tokenizer, TokenKind, collision_rate, learn_hashing, learn_tokenizer, split_texts
from training.errors import DataError
from training.export.text import export_text, make_torch_run, text_tensor
from training.models.hangul import HangulLetters
from training.models.naive_bayes import Blend, HashedNaiveBayes
from training.models.text import Committee, TextClassifier
from zoo.golden import Run
from zoo.runtime import make_run, open_session
from zoo.text import prepare_text

SENTENCES = [
    "I loved every minute of it, really!",
    "don't waste your time :(",
    "연기도 좋고 음악도 좋았다 ㅋㅋ",
    "핵노잼... 돈 아까움",
    "naïve café déjà vu",
]
MAX_TOKENS = 12
# Whole sentences, so that known tokens occur; scripts, marks, emoji, separators and controls beside them.
ANY_TEXT = st.one_of(
    st.sampled_from(SENTENCES),
    st.text(max_size=40),
    st.text(st.sampled_from("aé ㅋ한글👍🏽\u200d\u0301\u0327\t\n\x00'’<pad>"), max_size=40),
    st.lists(st.sampled_from(SENTENCES), max_size=6).map(" ".join),
).map(lambda text: prepare_text(text) if text.strip() else text)


def make_network(tokenizer: Tokenizer, *, spell: torch.nn.Module | None = None) -> torch.nn.Module:
    torch.manual_seed(0)
    members = [
        TextClassifier(tokenizer.size, 3, embedding_size=6, ngrams=3, buckets=50, hidden_size=5, layers=2)
        for _ in range(2)
    ]
    naive_bayes = HashedNaiveBayes((1, 2), 64, 3, spell=spell)
    ids = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(row) for row in tokenizer.encode(SENTENCES)], True)
    naive_bayes.fit([(ids, torch.tensor([0, 1, 2, 0, 1]))])
    blend = Blend(Committee(members), naive_bayes)
    blend.weights.copy_(torch.tensor([1.5, 0.5]))
    return blend.eval()


@pytest.fixture(scope="module", params=["words", "characters", "letters"])
def runs(request: pytest.FixtureRequest) -> tuple[Run, Run]:
    """The same classifier in torch and in ONNX Runtime."""
    kind: TokenKind = "words" if request.param == "words" else "characters"
    tokenizer = learn_tokenizer(SENTENCES, kind, max_tokens=MAX_TOKENS, max_vocabulary=30, min_count=1)
    spell = HangulLetters(tokenizer.vocabulary) if request.param == "letters" else None
    network = make_network(tokenizer, spell=spell)
    return make_torch_run(network, tokenizer), make_run(open_session(export_text(network, tokenizer)))


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(ANY_TEXT, min_size=1, max_size=6))
def test_graph_equals_torch_and_the_batch_changes_nothing(runs: tuple[Run, Run], texts: list[str]) -> None:
    torch_run, onnx_run = runs
    together = onnx_run(text_tensor(texts))
    for name, expected in torch_run(text_tensor(texts)).items():
        assert np.isfinite(together[name]).all()
        np.testing.assert_allclose(together[name], expected, atol=1e-5)
        alone = np.concatenate([onnx_run(text_tensor([text]))[name] for text in texts])
        np.testing.assert_allclose(together[name], alone, atol=1e-5)


PAIRS: dict[str, object] = {"embedding_size": 6, "ngrams": 2, "buckets": 50}
NETWORKS: dict[str, dict[str, object]] = {
    "convolution": PAIRS | {"network": "convolution", "convolutions": 3},
    "convolution and GRU": PAIRS | {"network": "convolution_recurrent", "kernel": 5, "bidirectional": False},
    "reversed LSTM": PAIRS | {"cell": "lstm", "bidirectional": False, "reverse": True, "layers": 2},
    "one-hot": {"one_hot": True, "network": "convolution_recurrent"},
}


@pytest.fixture(scope="module", params=NETWORKS.values(), ids=NETWORKS)
def network_runs(request: pytest.FixtureRequest) -> tuple[Run, Run]:
    """Each kind of network in torch and in ONNX Runtime, over characters and their 2-grams, or over hashed 3-grams."""
    tokenizer = learn_tokenizer(SENTENCES, "characters", max_tokens=MAX_TOKENS, max_vocabulary=30, min_count=1)
    if "one_hot" in request.param:
        tokenizer = learn_hashing(SENTENCES, "character_ngrams", max_tokens=MAX_TOKENS, length=3, buckets=50)
    torch.manual_seed(0)
    network = TextClassifier(tokenizer.size, 4, hidden_size=5, **request.param).eval()
    return make_torch_run(network, tokenizer), make_run(open_session(export_text(network, tokenizer)))


@settings(max_examples=25, deadline=None)
@given(texts=st.lists(ANY_TEXT, min_size=1, max_size=5))
def test_every_kind_of_network_equals_torch(network_runs: tuple[Run, Run], texts: list[str]) -> None:
    torch_run, onnx_run = network_runs
    together = onnx_run(text_tensor(texts))["logits"]
    np.testing.assert_allclose(together, torch_run(text_tensor(texts))["logits"], atol=1e-5)
    alone = np.concatenate([onnx_run(text_tensor([text]))["logits"] for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(texts=st.lists(ANY_TEXT, min_size=1, max_size=5))
def test_ids_of_ngrams_are_those_of_their_letters(texts: list[str]) -> None:
    tokenizer = learn_tokenizer(
        SENTENCES, "character_ngrams", max_tokens=MAX_TOKENS, max_vocabulary=60, min_count=1, length=3
    )
    known = {token: index for index, token in enumerate(tokenizer.vocabulary, 2)}
    for tokens, ids in zip(split_texts(texts, "character_ngrams", 3), tokenizer.encode(texts), strict=True):
        assert ids.tolist() == [known.get(token, 1) for token in tokens[:MAX_TOKENS]] or [0]


@pytest.mark.parametrize("kind", ["words", "characters", "character_ngrams"])
@settings(max_examples=25, deadline=None)
@given(texts=st.lists(ANY_TEXT, min_size=1, max_size=5))
def test_a_token_has_the_same_hash_everywhere(kind: TokenKind, texts: list[str]) -> None:
    hashed, places = Tokenizer(kind, (), MAX_TOKENS, length=3, buckets=17), dict[str, int]()
    for tokens, ids in zip(split_texts(texts, kind, 3), hashed.encode(texts), strict=True):
        for token, place in zip(tokens, ids.tolist(), strict=False):
            assert places.setdefault(token, place) == place
            assert 2 <= place < hashed.size


def test_words_are_hashed_by_murmur() -> None:
    tokenizer = Tokenizer("words", (), max_tokens=4, buckets=1000)
    assert [row.tolist() for row in tokenizer.encode(["HELLO a", ""])] == [
        [2 + 613153351 % 1000, 2 + 1009084850 % 1000],
        [0],
    ]


def test_the_collision_rate_is_of_different_tokens() -> None:
    texts = ["a b c d e", "a a a"]
    ids = Tokenizer("words", (), max_tokens=9, buckets=4).encode(texts)[0].tolist()
    shared = sum(ids.count(place) > 1 for place in ids)
    assert shared
    assert collision_rate(Tokenizer("words", (), max_tokens=9, buckets=4), texts) == (shared / 5, 5)
    assert collision_rate(Tokenizer("words", (), max_tokens=9, buckets=10**6), texts) == (0, 5)


def test_texts_without_tokens_and_texts_that_are_cut(runs: tuple[Run, Run]) -> None:
    _, onnx_run = runs
    probabilities = onnx_run(text_tensor(["", "", " "]))["probabilities"]
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)
    long, longer = (onnx_run(text_tensor(["가 " * count]))["logits"] for count in (MAX_TOKENS, 5000))
    np.testing.assert_allclose(long, longer, atol=1e-6)


KNOWN = ["b a a", "a b"]


@pytest.mark.parametrize(
    "tokenizer",
    [
        learn_tokenizer([*KNOWN, "c"], "words", max_tokens=4, max_vocabulary=2, min_count=1),
        learn_hashing(KNOWN, "words", max_tokens=4, buckets=1000),
    ],
    ids=["vocabulary", "hash"],
)
def test_the_share_of_unknown_tokens(tokenizer: Tokenizer) -> None:
    network = TextClassifier(tokenizer.size, 2, embedding_size=2, hidden_size=2).eval()
    onnx_bytes = export_text(network, tokenizer)
    assert b"stack_trace" not in onnx_bytes, "no paths of the machine that exports"
    run = make_run(open_session(onnx_bytes))
    rates = run(text_tensor(["A b", "a ☃ b c", "nothing known !", " ", "a a a a, which is all that is read"]))
    assert rates["unknown_token_rate"].dtype == np.float32
    assert rates["unknown_token_rate"].tolist() == [0, 0.5, 1, 0, 0]


@pytest.mark.parametrize(
    ("kind", "text", "tokens"),
    [
        ("words", "Don't PANIC!!", ["don't", "panic", "!", "!"]),
        ("words", "'quoted' well-known", ["'", "quoted", "'", "well", "-", "known"]),
        ("words", "재밌다 ㅋㅋ 👍🏽", ["재밌다", "ㅋㅋ", "👍", "🏽"]),
        ("words", "नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("words", " \t\n", []),
        ("characters", "Ab 한\n", ["a", "b", " ", "한", "\n"]),
        ("characters", "", []),
        ("character_ngrams", "Né 한", ["n", "né", "né ", "é 한"]),
    ],
)
def test_splitting(kind: TokenKind, text: str, tokens: list[str]) -> None:
    assert next(split_texts([text, "longer than the others, so that there is padding"], kind, 3)) == tokens


def test_vocabulary_is_the_most_frequent_tokens_of_the_training_part() -> None:
    tokenizer = learn_tokenizer(["b a a", "c a b"], "words", max_tokens=4, max_vocabulary=2, min_count=1)
    assert tokenizer.vocabulary == ("a", "b")
    assert [row.tolist() for row in tokenizer.encode(["A b ?", "", "a a a a a a"])] == [[2, 3, 1], [0], [2, 2, 2, 2]]


def test_too_many_characters_for_their_ngrams_are_told() -> None:
    texts = ["".join(chr(0x4E00 + number) for number in range(6300))]
    with pytest.raises(DataError, match="6300 different characters have too many n-grams of 5"):
        learn_tokenizer(texts, "character_ngrams", max_tokens=4, max_vocabulary=9999, min_count=1, length=5)


def test_rare_tokens_are_left_out() -> None:
    tokenizer = learn_tokenizer(["b a a", "c a b"], "words", max_tokens=4, max_vocabulary=10, min_count=2)
    assert tokenizer.vocabulary == ("a", "b")


def test_each_set_of_operators_is_named_once() -> None:
    tokenizer = learn_tokenizer(SENTENCES, "words", max_tokens=MAX_TOKENS, max_vocabulary=30, min_count=1)
    model = onnx.load_from_string(export_text(TextClassifier(tokenizer.size, 2, hidden_size=3), tokenizer))
    domains = [entry.domain for entry in model.opset_import]
    assert sorted(domains) == ["", "ai.onnx.ml", "com.microsoft"]
