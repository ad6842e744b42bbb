"""`python -m training ensemble`: several published models in one file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from inference import grpc_service_pb2 as pb
from tests.service.conftest import serving
from tests.training.conftest import Result
from tests.training.test_tune import count_calls
from training.errors import GateError
from training.evaluation.weights import fit_class_weights, fit_forecast_weights
from training.export.gate import check_parity
from training.export.joined import join_graphs, mean_run
from zoo.card import Card, SeriesTask
from zoo.golden import golden_inputs, output_name
from zoo.package import read_card
from zoo.repository import MODEL_FILE, publish
from zoo.runtime import make_run, open_session

Train = Callable[..., Result]


def join(menagerie_train: Train, folder: Path, out: Path, name: str, data: str, *options: object) -> Result:
    models = [option for version in (1, 2) for option in ("--model", folder / "zoo" / name / str(version))]
    return menagerie_train("ensemble", folder / data, *models, "--output", out, "--name", f"both-{name}", *options)


def card_of(path: Path) -> Card:
    card = read_card(path)
    assert card is not None
    return card


@pytest.mark.parametrize(
    ("name", "data", "options", "weights"),
    [
        ("colours", "colours", ("--weight", 3, "--weight", 1), (0.75, 0.25)),
        ("moods", "moods.tsv", (), (0.5, 0.5)),
    ],
)
async def test_the_mean_of_two_classifiers_is_served(
    menagerie_train: Train,
    published_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    data: str,
    options: tuple[object, ...],
    weights: tuple[float, float],
) -> None:
    reads = count_calls(monkeypatch, "training.pipelines.published.examples.read_images")
    result = join(menagerie_train, published_folder, tmp_path, name, data, *options)
    assert result.exit_code == 0, result.stderr
    assert f"published both-{name} version 1" in result.stdout
    assert len(reads) == (name == "colours"), "decoded once for both parts"
    path = tmp_path / f"both-{name}" / "1" / MODEL_FILE
    card, first = card_of(path), card_of(published_folder / "zoo" / name / "1" / MODEL_FILE)
    inputs = golden_inputs(card)
    members = [published_folder / "zoo" / name / str(version) / MODEL_FILE for version in (1, 2)]
    answers = [make_run(open_session(member))(inputs) for member in members]
    got = make_run(open_session(path))(inputs)
    expected = sum(w * answer["probabilities"] for w, answer in zip(weights, answers, strict=True))
    np.testing.assert_allclose(got["probabilities"], expected, rtol=1e-5)
    np.testing.assert_allclose(np.exp(got["logits"]), expected, rtol=1e-5)
    assert got.keys() == answers[0].keys()  # those beside the answer are carried, too
    if name == "moods":
        rates = [answer["unknown_token_rate"] for answer in answers]
        np.testing.assert_allclose(got["unknown_token_rate"], np.mean(rates, axis=0), rtol=1e-5)
        assert set(card.reference) == {"unknown_token_rate"}
    assert card.provenance.weights_source.endswith(f" + {weights[1]:.4g} x {name} 2 (sha256 {_hash(members[1])})")
    assert card.test_metrics["test_items"] == first.test_metrics["test_items"]
    row = next(line for line in result.stdout.splitlines() if line.startswith("│ ensemble"))
    assert f"{card.test_metrics['accuracy']:.4f}" in row
    again = menagerie_train("evaluate", path, published_folder / data, "--against", members[0])
    assert "on the test part of the data that" in again.stdout, again.stderr
    assert "another split" not in again.stderr
    async with serving(tmp_path) as calls:
        metadata = await calls.inference.ModelMetadata(pb.ModelMetadataRequest(name=f"both-{name}"))
        assert [output.name for output in metadata.outputs][:2] == ["probabilities", "logits"]
        sample = card.golden.samples[0]
        if sample.image:
            (answer,) = (await calls.classify_images(sample.image, model=f"both-{name}")).results
        else:
            (answer,) = (await calls.classify_texts(sample.text, model=f"both-{name}")).results
    served = {item.index: item.probability for item in answer.classes}
    assert [served[index] for index in range(2)] == pytest.approx(list(sample.expected), abs=1e-3)


def test_an_output_that_one_model_lacks_is_told_by_name(
    menagerie_train: Train, published_folder: Path, tmp_path: Path
) -> None:
    first, second = (published_folder / "zoo" / "colours" / number / MODEL_FILE for number in "12")
    without = onnx.load(second)
    (place,) = (at for at, output in enumerate(without.graph.output) if output.name == "class_activation")
    del without.graph.output[place]
    publish(without.SerializeToString(), card_of(second), tmp_path / "zoo", "plain")
    options = ("--model", tmp_path / "zoo" / "plain", "--output", tmp_path / "out", "--name", "both")
    result = menagerie_train("ensemble", published_folder / "colours", "--model", first, *options)
    assert result.exit_code == 0, result.stderr
    told = "the ensemble has no output class_activation: plain 1 did not publish it"
    assert told in " ".join(result.stderr.split())


MEMBER = """
<ir_version: 9, opset_import: ["": 20]>
member (uint8[N,2,2,3] image) => (float[N,2] probabilities, float[N,2] logits, float[N,2,2] class_activation)
<int64[2] sides = {1, 2}, int64[2] kept = {KEPT}, int64 map = {MAP}>
{
    pixels = Cast <to = 1> (image)
    means = ReduceMean <keepdims = 0> (pixels, sides)
    logits = Gather <axis = 1> (means, kept)
    probabilities = Softmax <axis = 1> (logits)
    class_activation = Gather <axis = 3> (pixels, map)
}
"""


def test_the_map_of_an_ensemble_is_that_of_the_models_that_name_its_class() -> None:
    """Each member compares two of three colours, and its map is one of them."""
    texts = [MEMBER.replace("KEPT", kept).replace("MAP", number) for kept, number in (("0, 1", "0"), ("1, 2", "1"))]
    members, weights = [onnx.parser.parse_model(text).SerializeToString() for text in texts], [0.6, 0.4]
    pixels = np.random.default_rng(0).integers(0, 4, (40, 2, 2, 3)).astype(np.uint8)
    outputs = ["probabilities", "class_activation"]
    got = make_run(open_session(join_graphs(members, weights, outputs)))({"image": pixels})
    singles = [make_run(open_session(member)) for member in members]
    assert check_parity(mean_run(singles, weights, outputs), lambda _: got, [{"image": pixels}]) < 1e-5
    answers = [single({"image": pixels}) for single in singles]
    agreeing = []
    for item, chosen in enumerate(got["probabilities"].argmax(1)):
        pairs = [
            (w, a["class_activation"][item])
            for w, a in zip(weights, answers, strict=True)
            if a["logits"][item].argmax() == chosen
        ]
        expected = sum(w * found for w, found in pairs) / sum(w for w, _ in pairs)
        np.testing.assert_allclose(got["class_activation"][item], expected, rtol=1e-5)
        agreeing.append(len(pairs))
    assert set(agreeing) == {1, 2}


def test_forecasts_with_fitted_weights(menagerie_train: Train, published_folder: Path, tmp_path: Path) -> None:
    folder = published_folder
    models = [folder / "zoo" / "weather" / number for number in ("1", "2")]
    options = ["--output", tmp_path / "zoo", "--name", "both", "--fit-weights"]
    result = menagerie_train("ensemble", folder / "weather.csv", "--model", models[0], "--model", models[1], *options)
    assert result.exit_code == 0, result.stderr
    assert "finding weights on the validation part of the data that weather was trained on" in result.stderr
    card = card_of(tmp_path / "zoo" / "both" / "1" / MODEL_FILE)
    assert isinstance(card.task, SeriesTask)
    assert card.task.interval
    single = card_of(models[0] / MODEL_FILE)
    assert single.test_metrics["linear_mae"] == card.test_metrics["linear_mae"]
    assert 0.6 < card.test_metrics["interval_coverage"] <= 1
    weight = float(card.provenance.weights_source.split()[0])
    assert 0.5 < weight < 1
    run = make_run(open_session(tmp_path / "zoo" / "both" / "1" / MODEL_FILE))
    inputs = golden_inputs(card)
    parts = [make_run(open_session(model / MODEL_FILE))(inputs)[output_name(card.task)] for model in models]
    np.testing.assert_allclose(
        run(inputs)["forecast"], weight * parts[0] + (1 - weight) * parts[1], rtol=1e-3, atol=1e-3
    )


def test_models_that_do_not_go_together_are_told_by_name(
    menagerie_train: Train, published_folder: Path, tmp_path: Path
) -> None:
    zoo = published_folder / "zoo"
    card = card_of(zoo / "colours" / "1" / MODEL_FILE)
    data = (zoo / "colours" / "1" / MODEL_FILE).read_bytes()
    seeded = card.provenance.model_copy(update={"settings": card.provenance.settings | {"split_seed": 7}})
    larger = card.task.model_copy(update={"resize": card.task.resize.model_copy(update={"height_px": 20})})
    changed = {
        "seeded": {"provenance": seeded},
        "larger": {"task": larger.model_copy(update={"resize": larger.resize.model_copy(update={"width_px": 20})})},
        "named": {"task": card.task.model_copy(update={"labels": ("blue", "rot")})},
    }
    if card.task.resize.shorter_side_px is not None:
        sizes = {"shorter_side_px": 24, "height_px": 20, "width_px": 20}
        changed["larger"] = {"task": card.task.model_copy(update={"resize": card.task.resize.model_copy(update=sizes)})}
    for name, update in changed.items():
        publish(data, card.model_copy(update=update | {"class_shares": {}}), tmp_path / "zoo", name)
    for name, message in {
        tmp_path / "zoo" / "seeded": "seeded 1 has another split than colours 2: seed 7",
        tmp_path / "zoo" / "larger": "larger 1 has another resize policy than colours 2: ",
        tmp_path / "zoo" / "named": "another list of labels than colours 2: blue, rot instead of blue, red",
        zoo / "moods": "moods 2 has another task than colours 2: text_classification instead of image_classification",
        zoo / "stream": "stream 1 keeps state from step to step",
        zoo / "colours" / "2": "is given twice; say how much it counts with --weight",
    }.items():
        models = ["--model", zoo / "colours", "--model", name]
        options = ["--output", tmp_path / "out", "--name", "both"]
        result = menagerie_train("ensemble", published_folder / "colours", *models, *options)
        assert result.exit_code == 2, message
        assert message in " ".join(result.stderr.split())
    models = ["--model", zoo / "colours" / "1", "--model", zoo / "colours" / "2"]
    result = menagerie_train("ensemble", published_folder / "colours", *models, *options, "--weight", 1)
    assert "there are 2 models and 1 weights; give one for each" in " ".join(result.stderr.split())
    assert not (tmp_path / "out").exists()


def test_weights_of_classifiers_minimise_the_log_loss() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.01, 1, (2, 500)) ** np.array([[1], [2]])
    weights = fit_class_weights(truth)
    losses = {first: -np.log(first * truth[0] + (1 - first) * truth[1]).mean() for first in np.linspace(0, 1, 101)}
    assert weights[0] == pytest.approx(min(losses, key=losses.__getitem__), abs=0.011)
    assert weights.sum() == pytest.approx(1)


def test_weights_of_forecasters_minimise_the_squared_error() -> None:
    rng = np.random.default_rng(0)
    errors = rng.normal(0, np.array([[1.0], [2.0], [2.0]]), (3, 20_000))
    assert fit_forecast_weights(errors) == pytest.approx([2 / 3, 1 / 6, 1 / 6], abs=0.02)


def test_graphs_of_other_operators_are_refused(published_folder: Path) -> None:
    first = (published_folder / "zoo" / "weather" / "1" / MODEL_FILE).read_bytes()
    model = onnx.load_from_string(first)
    model.opset_import[0].version += 1
    with pytest.raises(GateError, match=r"model 2 for version \d+; export both anew"):
        join_graphs([first, model.SerializeToString()], [0.5, 0.5], ["forecast"])


def _hash(path: Path) -> str:
    from training.hashing import file_sha256

    return file_sha256(path)[:12]
