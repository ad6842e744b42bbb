"""A trained text model on the server: what it says of texts that its vocabulary does not know reaches the metrics."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference import grpc_service_pb2 as pb
from tests.service.conftest import serving
from tests.training.published import QUIET, places
from training.pipelines.text import TextOutcome, train_text
from training.settings.text import TextSettings

TEXTS = ("a lovely film", "a boring film", "a lovely film number {}", "a boring film number {}")
"""Half of them with a number that no other text has, which is a fifth of the words."""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> TextOutcome:
    """A run that published the model `films`."""
    folder = tmp_path_factory.mktemp("films")
    rows = [f"{TEXTS[number % 4].format(number)}\t{number % 2}\n" for number in range(120)]
    (folder / "films.txt").write_text("".join(rows))
    settings = TextSettings(
        data=[folder / "films.txt"],
        name="films",
        min_count=1,
        embedding_size=4,
        hidden_size=4,
        epochs=1,
        validation_share=0.3,
        **places(folder),
    )
    return train_text(settings, console=QUIET)


@pytest.fixture
def repository(outcome: TextOutcome) -> Path:
    return outcome.published.path.parents[2]


def test_the_reference_is_of_texts_that_the_vocabulary_is_not_made_of(outcome: TextOutcome) -> None:
    reference = outcome.card.reference["unknown_token_rate"]
    assert (reference.min, reference.max) == (0, pytest.approx(0.2))
    assert reference.distribution
    assert reference.distribution.edges == (reference.max,)


async def test_unknown_words_are_out_of_range(repository: Path) -> None:
    async with serving(repository) as calls:

        async def out_of_range(*texts: str) -> float:
            await calls.classify_texts(*texts, model="films")
            quantity = {"model": "films", "quantity": "unknown_token_rate"}
            return await calls.metric("menagerie_out_of_range_inputs_total", **quantity)

        assert await out_of_range("A boring film number 1000", "film") == 0
        assert await out_of_range("Colourless green ideas", "a lovely film", "sleep furiously") == 2


async def test_the_tensor_api_shows_the_output(repository: Path) -> None:
    async with serving(repository) as calls:
        metadata = await calls.inference.ModelMetadata(pb.ModelMetadataRequest(name="films"))
        config = (await calls.inference.ModelConfig(pb.ModelConfigRequest(name="films"))).config
    assert [output.name for output in metadata.outputs] == ["probabilities", "logits", "unknown_token_rate"]
    assert (metadata.outputs[2].datatype, list(metadata.outputs[2].shape)) == ("FP32", [-1])
    assert (config.output[2].name, list(config.output[2].dims)) == ("unknown_token_rate", [])


async def test_three_classes_by_convolutions_and_a_reversed_gru_over_hashed_ngrams(tmp_path: Path) -> None:
    words = {"sport": "match goal team", "food": "soup bread salt", "music": "song band tune"}
    rows = [f"{words[label].split()[number % 3]} {number}\t{label}\n" for number in range(40) for label in words]
    (tmp_path / "subjects.txt").write_text("".join(rows))
    settings = TextSettings(
        data=[tmp_path / "subjects.txt"],
        name="subjects",
        tokens="character_ngrams",
        encoding="hashed_one_hot",
        one_hot_size=256,
        network="convolution_recurrent",
        bidirectional=False,
        reverse=True,
        recurrent_dropout=0.2,
        embedding_size=8,
        hidden_size=8,
        epochs=6,
        learning_rate=0.02,
        batch_size=16,
        **places(tmp_path),
    )
    outcome = train_text(settings, console=QUIET)
    assert outcome.test.accuracy > 0.9
    golden = outcome.card.golden.samples
    texts = [sample.text or "" for sample in golden]
    async with serving(tmp_path / "zoo") as calls:
        results = (await calls.classify_texts(*texts, model="subjects")).results
    for result, sample in zip(results, golden, strict=True):
        got = {item.index: item.probability for item in result.classes}
        assert [got[index] for index in range(3)] == pytest.approx(list(sample.expected), abs=1e-3)
