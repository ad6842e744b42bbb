"""What the command line names, as jobs for the client."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from menagerie.v1 import model_pb2
from service.client.batches import Item, Job
from service.client.client import Client, History
from service.client.errors import UsageError
from zoo.errors import InputError
from zoo.tables import read_table


@dataclass(frozen=True)
class Target:
    """The model to ask; version 0 is the newest."""

    model: str
    version: int = 0


def image_job(client: Client, target: Target, paths: Iterable[Path], top_k: int) -> Job[bytes]:
    """Image files; they are sent as they are."""
    items = [Item(str(path), partial(_read, path)) for path in paths]
    return Job(items, partial(client.classify_images, target.model, version=target.version, top_k=top_k), len)


def text_job(client: Client, target: Target, texts: Iterable[str], top_k: int) -> Job[str]:
    """Texts."""
    items = [Item(text, partial(str, text)) for text in texts]
    call = partial(client.classify_texts, target.model, version=target.version, top_k=top_k)
    return Job(items, call, lambda text: len(text.encode()))


def series_job(client: Client, target: Target, paths: Iterable[Path]) -> Job[History]:
    """CSV files; the model says which columns to read, on which time grid, and how many of the newest rows to send.

    Raises:
        PredictionError: the server does not know the model.
        UsageError: it is not a forecaster.
    """
    description = client.get_model(target.model, version=target.version)
    if not description.HasField("forecast"):
        raise UsageError("TASK_MISMATCH", f"model {target.model} is no forecaster; --series needs one")
    wanted = description.forecast
    items = [Item(str(path), partial(_read_history, path, wanted)) for path in paths]
    row_bytes = 4 * wanted.window_steps * len(wanted.features)
    return Job(items, partial(client.forecast, target.model, version=target.version), lambda _: row_bytes)


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, one text each; "-" is standard input.

    Raises:
        UsageError: it cannot be read as UTF-8.
    """
    data = sys.stdin.buffer.read() if str(path) == "-" else _read(path)
    try:
        lines = io.StringIO(data.decode("utf-8-sig"), newline=None)
    except UnicodeDecodeError as exc:
        raise UsageError(
            "FILE_UNREADABLE", f"{path}: not UTF-8 at byte {exc.start}; convert the file to UTF-8"
        ) from exc
    return [line.removesuffix("\n") for line in lines]  # splitlines would cut at U+2028 and the like, too


def _read_history(path: Path, wanted: model_pb2.ForecastDetails) -> History:
    names = [feature.name for feature in wanted.features]
    try:
        table = read_table(path, names, step_seconds=wanted.step_seconds)
    except InputError as exc:
        raise UsageError(exc.reason, str(exc)) from exc
    newest = table.values[-wanted.window_steps :]
    columns = {name: newest[:, index] for index, name in enumerate(names)}
    return History(columns, table.times[-1] if table.times else None)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise UsageError("FILE_UNREADABLE", f"{path}: {exc.strerror}") from exc
