"""The run: read, train, calibrate, measure beside the simple answers, publish."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from training.data.texts.parts import read_text_parts
from training.evaluation.calibration import describe_calibration
from training.evaluation.classification import ClassificationReport
from training.export.gate import check_metric, publish_checked
from training.export.provenance import class_shares, describe_run
from training.export.text import export_text, make_torch_run
from training.fit import FitResult
from training.models.calibrated import Calibrated
from training.pipelines.duplicates import Duplicates, treat_text_duplicates
from training.pipelines.origin import Origin
from training.pipelines.text.measure import (
    check_graph,
    find_temperature,
    make_golden,
    report_on,
    simple_answers,
    token_statistics,
)
from training.pipelines.text.network import train_classifier
from training.runs import TrainingRun, run_name
from training.settings.text import TextSettings
from zoo.card import Card, TextTask
from zoo.repository import ModelVersion
from zoo.runtime import make_run, open_session


@dataclass(frozen=True)
class TextOutcome:
    """What a run gave."""

    published: ModelVersion
    card: Card
    fit: FitResult
    test: ClassificationReport
    """Of the published graph, through ONNX Runtime."""
    validation: ClassificationReport
    """The same on the part that chose the best epoch."""
    baselines: dict[str, float]
    """Test accuracy of the simple answers, by name."""
    duplicates: Duplicates
    parity: float
    """Largest relative error between torch and ONNX Runtime."""
    run_folder: Path


def train_text(
    settings: TextSettings,
    *,
    recipe: str = "python -m training text",
    data_name: str = "",
    console: Console | None = None,
) -> TextOutcome:
    """Train, evaluate, export, gate and publish.

    Args:
        settings: of the run.
        recipe: what the card names as its maker.
        data_name: what the card calls the data; default: the names of their files.
        console: for progress; default: standard error.

    Raises:
        TrainingError: see `training.errors`.
        ZooError: the name cannot name a model, or the graph fails its golden samples.
    """
    run = TrainingRun.to_publish(settings, console)
    data = read_text_parts(settings)
    run.say(f"{data.summary}; {data.split}; sha256 {data.sha256[:12]}")
    data, duplicates = treat_text_duplicates(data, settings.duplicates)
    run.say(duplicates.summary(), style="yellow" if duplicates.found else "")
    trained = train_classifier(settings, data, run)
    network, tokenizer = trained.network, trained.tokenizer
    duplicates.write(run.folder)
    uses = run.look_at_test(data.sha256, data.split)
    run.say("evaluating and exporting")
    temperature = find_temperature(network, tokenizer, data.validation) if settings.calibrate else None
    if temperature is not None:
        network = Calibrated(network, temperature).eval()
    onnx_bytes = export_text(network, tokenizer)
    expected, exported = make_torch_run(network, tokenizer), make_run(open_session(onnx_bytes))
    parity = check_graph(expected, exported, data, settings.max_tokens)
    test = report_on(exported, data.test)
    check_metric("accuracy", report_on(expected, data.test).accuracy, test.accuracy)
    baselines = simple_answers(settings, data)
    card = Card(
        name=settings.name,
        description=settings.description or f"{len(data.labels)} classes of texts, {_describe(settings)}",
        task=TextTask(labels=data.labels, max_tokens=settings.max_tokens, language=settings.language),
        licence=settings.licence,
        provenance=describe_run(
            settings,
            recipe=recipe,
            data=data_name or ", ".join(path.name for path in settings.data),
            data_sha256=data.sha256,
            split=data.split,
            run=run_name(run.folder),
            test_uses=uses,
            weights_source=_weights_source(settings, trained.origin),
        ),
        test_metrics=test.metrics()
        | duplicates.metrics(test)
        | {f"{name}_accuracy": round(value, 5) for name, value in baselines.items()}
        | trained.facts,
        calibration=None if temperature is None else describe_calibration(temperature, test),
        reference=token_statistics(trained.train, trained.validation),
        class_shares=class_shares(data.train.classes, data.labels),
        golden=make_golden(expected, data.test),
    )
    published = publish_checked(onnx_bytes, card, settings.output, settings.name, settings.version)
    validation = report_on(exported, data.validation)
    return TextOutcome(published, card, trained.fit, test, validation, baselines, duplicates, parity, run.folder)


def _weights_source(settings: TextSettings, origin: Origin | None) -> str:
    if origin:
        return origin.source
    return "" if settings.vectors is None else f"word vectors {settings.vectors.name}"


def _describe(settings: TextSettings) -> str:
    if settings.network == "convolution":
        return f"convolutions over {_describe_tokens(settings)}"
    direction = "bidirectional " if settings.bidirectional else "reversed " if settings.reverse else ""
    below = "convolutions over " if settings.network == "convolution_recurrent" else ""
    return f"{direction}{settings.cell.upper()} over {below}{_describe_tokens(settings)}"


def _describe_tokens(settings: TextSettings) -> str:
    kind = f"{settings.token_length}-grams of characters" if settings.tokens == "character_ngrams" else settings.tokens
    return kind if settings.encoding == "embedding" else f"{settings.encoding.replace('_', '-')} {kind}"
