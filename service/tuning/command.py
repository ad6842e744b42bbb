"""The command line: `python -m service tune`, also `menagerie-serve tune`."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from service import triton
from service.backend.device import choose_device
from service.errors import StartError
from service.flags import parse_settings
from service.models.catalog import look
from service.settings import Settings
from service.tuning.applying import Setup, set_up
from service.tuning.rendering import table, to_json
from service.tuning.report import Report, Tuned
from service.tuning.trials import Trial
from service.tuning.tuner import Tuner
from service.tuning.wording import explain, explain_limit
from zoo.repository import ModelVersion

LARGEST_ON_CPU, LARGEST_ON_GPU = 64, 256
"""Rows of the largest batch that is tried: on a CPU, more bring nothing."""
_INTERRUPTED = 130
"""What shells expect of a program that Ctrl-C ended."""

console = Console()
errors = Console(stderr=True)
app = typer.Typer(pretty_exceptions_enable=False, add_completion=False, rich_markup_mode="markdown")


@app.command()
def tune(
    repository: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Folder of models; repeat it for several. Default: as the server's."),
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Model to tune; repeat it for several. Default: all.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="auto, cpu, cuda or cuda:N. Default: as the server's.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, metavar="BUDGET", help="Time for all models together.")] = 45,
    write: Annotated[
        bool,
        typer.Option(
            "--write", help="Set instances and threads in the config.pbtxt of each model; all else in it stays."
        ),
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write all that was measured to this file.")
    ] = None,
) -> None:
    """Find the instances, threads and batches that serve each model fastest on this machine, and say why.

    Each model runs the first of its golden samples, with batches of 1 row to 64, as one run at a time and as several,
    on all ways to divide the cores. Of what is equally fast, within 5 %, the choice is what takes the fewest cores and
    the smallest batches. The machine should have nothing else to do meanwhile.

    The server's settings are taken from its environment variables, such as MENAGERIE_MAX_BATCH_SIZE.
    """
    if json_file and not json_file.absolute().parent.is_dir():
        raise StartError(f"--json {json_file}: there is no folder {json_file.parent}")
    settings = _settings(repository or (), device)
    report = Report()
    versions = _versions(settings.repository, model or (), report)
    chosen = choose_device(settings.device)
    largest = LARGEST_ON_CPU if chosen.kind == "cpu" else LARGEST_ON_GPU
    _announce(settings.compute_threads, chosen.name, chosen.note)
    finished = _tune(Tuner(settings, chosen, largest=largest), versions, seconds, report)
    setups = [set_up(tuned, write=write and finished) for tuned in report.tuned]
    for tuned, setup in zip(report.tuned, setups, strict=True):
        _show(tuned, setup)
    _conclude(report, settings)
    if json_file:
        json_file.write_text(json.dumps(to_json(report, settings), indent=2) + "\n")
    if not finished:
        left = ", ".join(
            sorted({version.name for version in versions} - {found.version.name for found in report.tuned})
        )
        errors.print(f"Interrupted{f'; not looked at: {escape(left)}' if left else ''}. Nothing was written.")
        raise typer.Exit(_INTERRUPTED)
    if report.skipped or any(setup.refused for setup in setups):
        raise typer.Exit(1)


def _settings(repositories: Sequence[Path], device: str | None) -> Settings:
    flags = [word for folder in repositories for word in ("--repository", str(folder))]
    return parse_settings([*flags, *(("--device", device) if device else ())])


def _versions(repositories: Sequence[Path], names: Sequence[str], report: Report) -> list[ModelVersion]:
    """The newest version of each model that is asked for; those that have none are skipped.

    Raises:
        RepositoryError: a repository cannot be read.
        StartError: there is no model, or none of that name.
    """
    folders = look(repositories, triton.scan)
    if not folders:
        raise StartError(f"no models in {', '.join(map(str, repositories))}; expected <model>/<version>/model.onnx")
    for name in names:
        if name not in folders:
            near = difflib.get_close_matches(name, folders, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(folders)}"
            raise StartError(f"--model {name!r}: there is no such model; {hint}")
    versions = []
    for name in names or folders:
        folder = folders[name]
        if folder.versions:
            versions.append(folder.versions[max(folder.versions)].version)
        else:
            report.skipped[name] = "; ".join(folder.problems.values())
    return versions


def _announce(cores: int, device: str, note: str) -> None:
    words = f"{cores} {'core' if cores == 1 else 'cores'}, device {device}{f' ({note})' if note else ''}"
    console.print(words, markup=False, highlight=False, soft_wrap=True)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > cores / 2:
        errors.print(
            f"[yellow]The machine is busy with other work (load {load:.1f}): what comes out is a rough guess.[/]"
        )


def _tune(tuner: Tuner, versions: Sequence[ModelVersion], seconds: float, report: Report) -> bool:
    """Tune with a bar of progress; whether all was done."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True) as bar:
        task = bar.add_task("", total=seconds)

        def progress(name: str, trial: Trial | None) -> None:
            what = f"{trial.combination}, {trial.rows} rows" if trial else "loading"
            bar.update(task, description=f"{escape(name)}: {what}", completed=bar.tasks[0].elapsed or 0.0)

        try:
            tuner.tune(versions, seconds, report, progress)
        except KeyboardInterrupt:
            return False
    return True


def _show(model: Tuned, setup: Setup) -> None:
    console.print()
    if model.measured:
        console.print(table(model))
    for sentence in explain(model):
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    for line in setup.lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _conclude(report: Report, settings: Settings) -> None:
    console.print()
    for name, why in report.skipped.items():
        errors.print(f"[red]{escape(name)}[/] was skipped: {escape(why)}", soft_wrap=True)
    for sentence in explain_limit(report, settings.max_batch_size):
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)
