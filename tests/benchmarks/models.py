"""The models of the benchmarks: random weights from a fixed seed, published as a training run would publish them.

    python -m tests.benchmarks.models

makes those that are missing and prints the repository, for a server that is to be measured with --target. They are kept
until a recipe, the exporter or a version of it changes. What they compute means nothing; what it costs, and that other
inputs give other answers, is as with trained ones.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks import inputs
from tests.benchmarks.inputs import FEATURES, SIDE_PX, WINDOW, photographs, pixels, readings, vocabulary
from zoo.repository import MODEL_FILE

BUILD = Path(__file__).parents[2] / "build" / "benchmarks"
NAMES = ("resnet18", "resnet18-int8", "resnet50", "resnet50-int8", "text", "forecaster", "pixel")
CLASSES = 1000
LABELS = tuple(f"class {number}" for number in range(CLASSES))
HORIZON = 24
_SEED = 0
_PACKAGES = ("torch", "torchvision", "onnx", "onnxscript", "onnxruntime-gpu")


def prepare(names: Sequence[str] = NAMES, folder: Path = BUILD / "models") -> Path:
    """A repository with these models; those that are missing are made, in a process of their own, and older ones go."""
    repository = folder / _fingerprint()
    missing = [name for name in names if not (repository / name / "1" / MODEL_FILE).is_file()]
    if missing:
        for older in folder.glob("*"):
            if older != repository:
                shutil.rmtree(older)
        subprocess.run([sys.executable, "-m", "tests.benchmarks.models", str(repository), *missing], check=True)
    return repository


def _fingerprint() -> str:
    training = Path(__file__).parents[2] / "training"
    exporter = (file for room in ("export", "models") for file in sorted((training / room).glob("*.py")))
    recipe = b"".join(Path(file).read_bytes() for file in (__file__, inputs.__file__, *exporter))
    recipe += " ".join(version(package) for package in _PACKAGES).encode()
    return hashlib.sha256(recipe).hexdigest()[:12]


def _make_image(backbone_name: str) -> tuple[bytes, Any]:
    import torch

    from training.export.golden import make_golden
    from training.export.image import export_image_classifier, torch_run
    from training.models.backbones import make_backbone
    from training.models.image import ImageClassifier
    from zoo.card import ImageTask

    backbone = make_backbone(backbone_name, CLASSES, scratch=True)
    classifier = ImageClassifier(backbone)
    _settle_batch_norm(classifier, torch.from_numpy(pixels(8, seed=900)))
    resize = backbone.preprocessing.resize
    golden = make_golden(photographs(2, seed=700), resize, torch_run(classifier.eval()), atol=1e-3, rtol=1e-2)
    task = ImageTask(labels=LABELS, resize=resize)
    return export_image_classifier(classifier, resize), _card(backbone_name, task, golden, _channels())


def _make_pixel() -> tuple[bytes, Any]:
    """A classifier that looks at one pixel only: what is left is what the server takes to be asked about pictures."""
    from onnx import TensorProto, checker, helper, numpy_helper

    from zoo.card import IMAGE_INPUT, LOGITS, PROBABILITIES, ImageTask, Resize

    weights_CK = np.random.default_rng(_SEED).normal(0, 0.01, (3, CLASSES)).astype(np.float32)
    corner, axes = np.array([[0, 0], [1, 1]]), np.array([1, 2])
    nodes = [
        helper.make_node("Slice", [IMAGE_INPUT, "start", "end", "axes"], ["corner"]),
        helper.make_node("Flatten", ["corner"], ["levels"]),
        helper.make_node("Cast", ["levels"], ["pixel"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["pixel", "weights"], [LOGITS]),
        helper.make_node("Softmax", [LOGITS], [PROBABILITIES], axis=1),
    ]
    constants = {"start": corner[0], "end": corner[1], "axes": axes, "weights": weights_CK}
    classes = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", CLASSES]) for name in (LOGITS, PROBABILITIES)
    ]
    graph = helper.make_graph(
        nodes,
        "pixel",
        [helper.make_tensor_value_info(IMAGE_INPUT, TensorProto.UINT8, ["batch", SIDE_PX, SIDE_PX, 3])],
        classes,
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    checker.check_model(model)
    task = ImageTask(labels=LABELS, resize=Resize(height_px=SIDE_PX, width_px=SIDE_PX))
    return model.SerializeToString(), _card("pixel", task, reference=_channels())


def _channels() -> dict[str, Any]:
    """What a training run writes into the card about its pictures, against which the server compares all that come."""
    from zoo.card import CHANNELS, ColumnStatistics

    pictures = pixels(32, seed=800)
    return {name: ColumnStatistics.of(pictures[..., channel]) for channel, name in enumerate(CHANNELS)}


def _settle_batch_norm(network: Any, batch: Any) -> None:
    """Statistics of some pictures, without which random weights let the values of a deep network grow for ever."""
    import torch

    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the mean of all batches, here one
    network.train()
    with torch.no_grad():
        network(batch)


def _make_int8(backbone_name: str) -> tuple[bytes, Any]:
    from training.export.golden import make_golden
    from training.export.quantize import quantize_int8
    from zoo.card import IMAGE_INPUT
    from zoo.runtime import make_run, open_session

    onnx_bytes, card = _make_image(backbone_name)
    calibration = [{IMAGE_INPUT: pixels(8, seed=seed)} for seed in (500, 600)]
    quantized = quantize_int8(onnx_bytes, calibration, float_convolutions=0)
    run = make_run(open_session(quantized))
    golden = make_golden(photographs(2, seed=700), card.task.resize, run, atol=1e-2, rtol=5e-2)
    return quantized, card.model_copy(update={"golden": golden})


def _make_text() -> tuple[bytes, Any]:
    from training.data.texts.tokens import Tokenizer
    from training.export.text import export_text
    from training.models.text import TextClassifier
    from zoo.card import UNKNOWN_TOKEN_RATE, ColumnStatistics, TextTask

    tokenizer = Tokenizer("words", vocabulary(), max_tokens=64)
    network = TextClassifier(tokenizer.size, 2, embedding_size=64, hidden_size=96, bidirectional=True)
    task = TextTask(labels=("negative", "positive"), max_tokens=64)
    reference = {UNKNOWN_TOKEN_RATE: ColumnStatistics.of([0.0, 0.05, 0.1])}
    return export_text(network, tokenizer), _card("text", task, reference=reference)


def _make_forecaster() -> tuple[bytes, Any]:
    import torch

    from training.export.series import export_series
    from training.models.series import DirectNetwork, Forecaster, RecurrentLayers, Scaler
    from zoo.card import ColumnStatistics, Quantity, SeriesTask

    features = tuple(Quantity(name=f"reading_{number}") for number in range(FEATURES))
    past = readings(32, seed=800)
    reference = {feature.name: ColumnStatistics.of(past[..., number]) for number, feature in enumerate(features)}
    mean, std = torch.full((FEATURES,), 100.0), torch.full((FEATURES,), 10.0)
    scaler = Scaler(mean, std)
    network = DirectNetwork(scaler.size, HORIZON, 1, layers=RecurrentLayers(), segment=24)
    forecaster = Forecaster(scaler, network, window=WINDOW, horizon=HORIZON, targets=1, naive_lag=24)
    task = SeriesTask(
        features=features, targets=features[:1], window_steps=WINDOW, horizon_steps=HORIZON, step_seconds=3600
    )
    return export_series(forecaster, WINDOW, FEATURES), _card("forecaster", task, reference=reference)


def _card(name: str, task: Any, golden: Any = None, reference: dict[str, Any] | None = None) -> Any:
    from training.export.provenance import now, software_versions
    from zoo.card import Card, Golden, Provenance

    labels = getattr(task, "labels", ())
    return Card(
        name=name,
        description=f"{name} with random weights, for benchmarks",
        task=task,
        licence="Apache-2.0",
        provenance=Provenance(
            created=now(),
            recipe="tests.benchmarks.models",
            data="none",
            data_sha256="",
            seed=_SEED,
            versions=software_versions(),
        ),
        golden=golden or Golden(),
        reference=reference or {},
        class_shares={label: 1 / len(labels) for label in labels},
    )


_RECIPES: dict[str, Callable[[], tuple[bytes, Any]]] = {
    "resnet18": lambda: _make_image("resnet18"),
    "resnet18-int8": lambda: _make_int8("resnet18"),
    "resnet50": lambda: _make_image("resnet50"),
    "resnet50-int8": lambda: _make_int8("resnet50"),
    "text": _make_text,
    "forecaster": _make_forecaster,
    "pixel": _make_pixel,
}


def main() -> None:
    """Make and publish models; without arguments all that are missing, and tell where they are."""
    if len(sys.argv) == 1:
        print(prepare())
        return
    import torch

    from zoo.repository import publish

    repository = Path(sys.argv[1])
    for name in sys.argv[2:]:
        print(f"making {name} ...", file=sys.stderr)
        torch.manual_seed(_SEED)
        publish(*_RECIPES[name](), repository, name)


if __name__ == "__main__":
    main()
