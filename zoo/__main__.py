"""`python -m zoo`: what is in a repository, and does it still work?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from zoo import BUNDLED
from zoo.card import Card, ImageTask, Quantity, SeriesTask, TextTask
from zoo.catalog import find_entries, read_catalog
from zoo.errors import GoldenError, RepositoryError, ZooError
from zoo.package import read_card
from zoo.repository import ModelVersion, Problem, scan

app = typer.Typer(
    help="Look into a model repository: what it holds, what a model says about itself, whether it still works.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Repository = Annotated[
    Path, typer.Option("--repository", "-r", help="Folder of models. Default: the bundled zoo.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="Name of a model.")]
Version = Annotated[int | None, typer.Option("--version", "-v", help="Version. Default: the highest.")]

console = Console()
errors = Console(stderr=True)


@app.command("list")
def list_models(repository: Repository = BUNDLED, as_json: AsJson = False) -> None:
    """List the models of a repository."""
    found = scan(repository)
    rows = [_list_row(version) for version in found.versions] + [_problem_row(problem) for problem in found.problems]
    if as_json:
        console.print_json(json.dumps(rows))
        return
    table = Table("model", "task", "test", "MiB", box=None, pad_edge=False)
    table.add_column("description", overflow="fold")
    for row in rows:
        task = str(row["task"]).partition("_")[0]  # image, text, forecast: what is left of 80 columns is for the rest
        cells = (f"{row['model']} {row['version']}", task, row["test"], row["mib"], row["description"])
        table.add_row(*(escape(str(cell)) for cell in cells))
    console.print(table if rows else f"no models in {escape(str(repository))}")


@app.command()
def show(model: ModelName, repository: Repository = BUNDLED, version: Version = None, as_json: AsJson = False) -> None:
    """Show what a model says about itself: task, input, labels, preprocessing, metrics, licence, provenance."""
    chosen = _choose(repository, model, version)[-1]
    card = read_card(chosen.path)
    if as_json:
        console.print_json(card.model_dump_json(exclude={"golden": {"samples"}}) if card else "null")
        return
    if card is None:
        errors.print(f"{escape(str(chosen.path))} has no card: an ONNX file of another exporter.", soft_wrap=True)
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in _describe(chosen, card):
        table.add_row(key, escape(value))
    console.print(table)


@app.command()
def verify(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="Name of a model. Default: all.")] = None,
    repository: Repository = BUNDLED,
    version: Version = None,
) -> None:
    """Run the golden samples again on this machine's CPU; exit 1 if a model does not reproduce them."""
    failed = 0
    for chosen in _choose(repository, model, version):
        try:
            result, style = _verify(chosen), "green"
        except ZooError as exc:
            result, style, failed = str(exc), "red", failed + 1
        console.print(f"[{style}]{escape(f'{chosen.name} {chosen.version}')}[/]: {escape(result)}", soft_wrap=True)
    problems = scan(repository).problems if model is None and version is None else ()
    for problem in problems:
        console.print(f"[red]{escape(problem.name)}[/]: {escape(problem.reason)}", soft_wrap=True)
    if failed or problems:
        raise typer.Exit(1)


@app.command()
def catalog(
    words: Annotated[list[str] | None, typer.Argument(metavar="[WORD]...", help="Words to find, e.g. resnet.")] = None,
    max_gflops: Annotated[float | None, typer.Option(help="Leave out what costs more, in 1e9 multiply-adds.")] = None,
    as_json: AsJson = False,
) -> None:
    """List backbones for `python -m training image --backbone`, the most accurate first.

    Accuracy is the published top-1 on ImageNet-1K; * marks the weights that --weights pretrained takes.
    """
    found = find_entries(read_catalog(), words or (), max_gflops)
    if as_json:
        console.print_json(json.dumps([asdict(entry) for entry in found]))
        return
    table = Table("backbone", "weights", "family", box=None, pad_edge=False)
    for heading in ("top-1 %", "at px", "input px", "params M", "GFLOPs"):
        table.add_column(heading, justify="right")
    table.add_column("licence")
    for entry in found:
        numbers = (entry.top1, entry.measured_px, entry.input_px, entry.parameters_millions, entry.gflops)
        mark = " *" if entry.default else ""
        table.add_row(entry.backbone, entry.weights + mark, entry.family, *map(str, numbers), entry.licence)
    console.print(table if found else "no backbone that is listed fits; timm has more than these")


def _verify(chosen: ModelVersion) -> str:
    from zoo.golden import check_golden
    from zoo.runtime import make_run, open_session

    card = read_card(chosen.path)
    session = open_session(chosen.path)
    if card is None or not card.golden.samples:
        return "opens, but has no golden samples to check"
    try:
        worst = check_golden(card, make_run(session))
    except ZooError:
        raise
    except Exception as exc:  # ONNX Runtime's exceptions have no common base of their own
        raise GoldenError(f"the graph does not run as the card says: {exc}") from exc
    return f"{len(card.golden.samples)} golden samples reproduced (largest error {worst:.1%} of the tolerance)"


def _choose(repository: Path, model: str | None, version: int | None) -> list[ModelVersion]:
    """The versions that are meant, at least one; all that can be used, where none is named."""
    found = scan(repository)
    chosen = [item for item in found.versions if model in (None, item.name) and version in (None, item.version)]
    if chosen or (model is None and version is None and found.problems):
        return chosen
    for problem in found.problems:
        if problem.name == model and version in (None, problem.version):
            raise RepositoryError(f"{model} cannot be used: {problem.reason}")
    there = ", ".join(f"{item.name} {item.version}" for item in found.versions) or "nothing"
    wanted = "model" if model is None else f"model {model}"
    wanted += "" if version is None else f" version {version}"
    raise RepositoryError(f"no {wanted} in {repository}; it has {there}")


def _list_row(version: ModelVersion) -> dict[str, object]:
    row: dict[str, object] = {"model": version.name, "version": version.version, "task": "", "test": ""}
    row["mib"] = round(version.path.stat().st_size / 2**20, 1)
    try:
        card = read_card(version.path)
    except ZooError as exc:
        return row | {"task": "unusable", "description": str(exc)}
    if card is None:
        return row | {"task": "tensors", "description": "(no card)"}
    return row | {"task": card.task.kind, "test": card.headline(), "description": card.description}


def _problem_row(problem: Problem) -> dict[str, object]:
    version = "" if problem.version is None else problem.version
    return {
        "model": problem.name,
        "version": version,
        "task": "unusable",
        "test": "",
        "mib": "",
        "description": problem.reason,
    }


def _describe(chosen: ModelVersion, card: Card) -> Iterator[tuple[str, str]]:
    yield "model", f"{chosen.name} version {chosen.version}"
    yield "file", str(chosen.path)
    if card.description:
        yield "description", card.description
    yield from _describe_task(card)
    for name, value in card.test_metrics.items():
        yield f"test {name}", f"{value:.5g}"
    if card.calibration:
        yield "calibration", str(card.calibration)
    for name, tried in card.tried.items():
        yield f"tried {name}", ", ".join(f"{key} {_plain(value)}" for key, value in tried.items())
    yield "licence", card.licence
    yield from _describe_provenance(card)
    tolerance = f"within {card.golden.atol:g} + {card.golden.rtol:g} x value"
    yield "golden", f"{len(card.golden.samples)} samples, reproduced {tolerance}"


def _describe_task(card: Card) -> Iterator[tuple[str, str]]:
    yield "task", card.task.kind.replace("_", " ")
    match card.task:
        case ImageTask(labels=labels, resize=resize):
            yield "input", f"image uint8 [N, {resize.height_px}, {resize.width_px}, 3], RGB"
            yield "preprocessing", str(resize)
            yield f"{len(labels)} labels", _listed(labels)
        case TextTask(labels=labels, max_tokens=max_tokens, language=language):
            yield "input", "text string [N], Unicode NFC"
            yield "max tokens", str(max_tokens)
            yield "language", language or "unknown"
            yield f"{len(labels)} labels", _listed(labels)
        case SeriesTask() as task:
            yield "input", f"history float32 [N, {task.window_steps}, {len(task.features)}], physical units"
            yield "features", _listed([_with_unit(item) for item in task.features])
            yield "targets", _listed([_with_unit(item) for item in task.targets])
            yield "horizon", f"{task.horizon_steps} steps of {task.step_seconds} s"
            if task.interval:
                yield "intervals", f"around each value, to cover {task.interval.coverage:.0%} of what comes"
    if card.state:
        yield "state", _listed([f"{part.input} {part.dtype} [N, {_dims(part.shape)}]" for part in card.state])


def _describe_provenance(card: Card) -> Iterator[tuple[str, str]]:
    origin = card.provenance
    yield "created", f"{origin.created:%Y-%m-%d %H:%M} by {origin.recipe}"
    yield "data", f"{origin.data} (sha256 {origin.data_sha256[:16] or 'unknown'})"
    yield "split", origin.split or "none"
    if origin.test_uses:
        yield "test part", f"looked at {_times(origin.test_uses)}"
    yield "seed", str(origin.seed)
    yield "weights from", origin.weights_source or "training from scratch"
    yield "made with", ", ".join(f"{name} {version}" for name, version in origin.versions.items())


def _with_unit(quantity: Quantity) -> str:
    return f"{quantity.name} ({quantity.unit})" if quantity.unit else quantity.name


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _dims(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))


def _listed(items: tuple[str, ...] | list[str]) -> str:
    shown = ", ".join(items[:12])
    return shown if len(items) <= 12 else f"{shown}, ... ({len(items) - 12} more)"


def _plain(value: float | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Run the command line; errors that are the user's are one line and exit code 2."""
    try:
        app()
    except ZooError as exc:
        _fail(str(exc))
    except OSError as exc:  # the disk of the output is full, or a file went away while it was looked at
        _fail(f"{exc.filename}: {exc.strerror}" if exc.filename else str(exc.strerror))


def _fail(error: str) -> NoReturn:
    errors.print(f"[red]error:[/] {escape(error)}", soft_wrap=True)
    raise SystemExit(2)


if __name__ == "__main__":
    main()
