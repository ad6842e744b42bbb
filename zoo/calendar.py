"""What a clock and a calendar say about a time, as columns that a forecaster may read; all of it in UTC."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_DAY_SECONDS = 86_400
_FIRST_WEEKDAY = 3  # 1970-01-01 was a Thursday


def _yearday(stamps: NDArray[np.float64]) -> NDArray[np.float64]:
    days = (stamps // _DAY_SECONDS).astype("datetime64[D]")
    return np.asarray((days - days.astype("datetime64[Y]")).astype(np.float64))


_COLUMNS: dict[str, tuple[float, Callable[[NDArray[np.float64]], NDArray[np.float64]]]] = {
    "time:hour": (24.0, lambda stamps: stamps % _DAY_SECONDS / 3600),
    "time:weekday": (7.0, lambda stamps: (stamps // _DAY_SECONDS + _FIRST_WEEKDAY) % 7),
    "time:yearday": (365.25, _yearday),
}
PERIODS = {name: period for name, (period, _) in _COLUMNS.items()}
"""Name of each column, and where it begins again: hours 0 to 24, days 0 (Monday) to 7, days of the year 0 to 365.25."""


def calendar_column(name: str, stamps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of a column of `PERIODS` at times in seconds since 1970."""
    return _COLUMNS[name][1](stamps)
