"""The table of a run: which columns the graph will take, on which grid of time, and what was found on the way there."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from training.data.split import Split, chronological_split
from training.errors import DataError
from training.settings.series import SeriesSettings
from zoo.tables import TableFile, open_table, read_table

_MOST_WORDS = 50
"""Of a column of categories; more of them are names or free text, of which little is learned."""


@dataclass(frozen=True)
class Readings:
    """The readings of a run."""

    columns: tuple[str, ...]
    """Names: targets, features, those of the calendar, then an indicator `COLUMN=WORD` for each word."""
    values: NDArray[np.float32]
    """[T, F], finite."""
    times: list[datetime] | None
    step_seconds: int
    split: Split
    rows: int
    """In the file."""
    findings: tuple[tuple[str, str], ...]
    """What was found in the file, and what was done about it."""


def read_readings(settings: SeriesSettings) -> Readings:
    """Read the table of a run, mend it and split it by time.

    Raises:
        InputError: the table cannot be read, or a column is missing.
        DataError: the time step is not to be found, or a column of categories has none to learn from.
    """
    file = open_table(settings.data)
    words = {name: _words(file, name) for name in settings.category}
    indicators = {f"{name}={word}": name for name in words for word in words[name]}
    columns = [*settings.target, *settings.feature, *settings.calendar_columns, *indicators]
    step = settings.step_seconds or _usual_step(settings, file)
    table = read_table(
        file,
        columns,
        time_column=settings.time_column,
        time_format=settings.time_format,
        step_seconds=step,
        sentinels=settings.sentinel_values,
        fill=settings.fill,
    )
    values = table.values[: settings.rows].astype(np.float32)
    split = chronological_split(len(values), validation=settings.validation_share, test=settings.test_share)
    changes = np.ptp(values[: len(split.train)], axis=0) > 0
    kept = [bool(change) or name not in indicators for name, change in zip(columns, changes, strict=True)]
    findings = table.report.findings()
    for name, of_column in words.items():
        learned = [word for word in of_column if kept[columns.index(f"{name}={word}")]]
        if not learned:
            raise DataError(f"category {name!r} never changes in the training part; leave it out")
        findings.append(_category_finding(name, of_column, learned))
    return Readings(
        columns=tuple(name for name, keep in zip(columns, kept, strict=True) if keep),
        values=np.ascontiguousarray(values[:, np.array(kept)]),
        times=table.times,
        step_seconds=step,
        split=split,
        rows=table.report.rows,
        findings=tuple(findings),
    )


def _words(file: TableFile, name: str) -> list[str]:
    words = sorted(file.words(name))
    if len(words) > _MOST_WORDS:
        raise DataError(
            f"category {name!r} has {len(words)} different words, such as {words[0]!r}; at most {_MOST_WORDS} can be "
            "told apart; leave it out"
        )
    return words


def _category_finding(name: str, words: list[str], learned: list[str]) -> tuple[str, str]:
    unknown = [word for word in words if word not in learned]
    left_out = f"; not in the training part and left out: {', '.join(unknown)}" if unknown else ""
    return f"{len(words)} words in {name}", f"one input each: {', '.join(learned)}{left_out}"


def _usual_step(settings: SeriesSettings, file: TableFile) -> int:
    stamps = file.stamps(settings.time_column, settings.time_format)
    if stamps is None:
        raise DataError(
            f"{settings.data} has no column of times; name it with --time-column or give --step-seconds; "
            "of times that are not ISO 8601, say the form with --time-format"
        )
    times = np.unique(stamps[~np.isnan(stamps)]).tolist()
    gaps = Counter(round(later - earlier) for earlier, later in pairwise(times))
    step = max(gaps, key=lambda gap: gaps[gap], default=0)
    if step < 1:
        raise DataError(f"{settings.data} has {len(times)} time(s), no time step to be seen; give --step-seconds")
    return step
