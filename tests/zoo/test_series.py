"""Tables as they are found in real life, and the window that a forecaster takes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from zoo.card import Quantity, SeriesTask
from zoo.errors import InputError
from zoo.series import prepare_history
from zoo.tables import read_table

TASK = SeriesTask(
    features=(Quantity(name="load", unit="MW"), Quantity(name="temp", unit="C")),
    targets=(Quantity(name="load", unit="MW"),),
    window_steps=3,
    horizon_steps=2,
    step_seconds=3600,
)


def write(folder: Path, text: str) -> Path:
    path = folder / "table.csv"
    path.write_text(text)
    return path


def test_rows_are_sorted_averaged_and_filled_and_the_report_says_so(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "time,load,place\n2020-01-01 03:00,30,a\n2020-01-01 00:00,NA,a\n2020-01-01 01:00,10,b\n2020-01-01 01:00,14,b\n",
    )
    table = read_table(path, ["load"], step_seconds=3600)
    assert table.times is not None
    assert [time.hour for time in table.times] == [0, 1, 2, 3]
    np.testing.assert_allclose(table.values[:, 0], [12, 12, 21, 30])
    expected = "4 rows, sorted by time, 1 duplicated times averaged, 1 missing times interpolated"
    assert str(table.report) == f"{expected}, 1 missing values of load interpolated"


def test_several_readings_within_a_step_are_averaged_and_told(tmp_path: Path) -> None:
    rows = "00:00,1 00:20,NA 00:40,3 01:10,7 01:25,9 02:00,5".replace(" ", "\n2020-01-01 ")
    table = read_table(write(tmp_path, f"time,load\n2020-01-01 {rows}\n"), ["load"], step_seconds=3600)
    np.testing.assert_allclose(table.values[:, 0], [1, (3 + 7 + 9) / 3, 5])
    assert "4 times between two steps moved to the nearer step, 3 times more than one at a step averaged" in str(
        table.report
    )


def test_without_a_time_column_rows_stay_as_they_are(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "a;b\r\n1;2\r\n3;\r\n5;6\r\n"), ["b", "a"])
    assert table.times is None
    np.testing.assert_array_equal(table.values, [[2, 1], [4, 3], [6, 5]])


def test_times_without_a_zone_are_utc(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "t,v\n2020-01-01T00:00:00,1\n2020-01-01T02:00:00+01:00,2\n"), ["v"])
    assert table.times == [datetime(2020, 1, 1, hour, tzinfo=UTC) for hour in (0, 1)]


def test_sentinels_and_words_and_other_times_are_read(tmp_path: Path) -> None:
    rows = ["day,hour,wind,load", "3/1/20,7,NW,1", "3/1/20,8,,-999", "3/1/20,9,SE,3", "NA,NA,SE,4", "3/1/20,12,SE,5"]
    path = write(tmp_path, "\n".join(rows))
    names, times = ["load", "wind=NW", "wind=SE"], {"time_column": "day,hour", "time_format": "%m/%d/%y,%H"}
    table = read_table(path, names, **times, step_seconds=3600, sentinels=[-999], fill="last")
    assert table.times is not None
    assert table.times[0] == datetime(2020, 3, 1, 7, tzinfo=UTC)
    expected = [[1, 1, 0], [1, 1, 0], [3, 0, 1], [3, 0, 1], [3, 0, 1], [5, 0, 1]]
    np.testing.assert_array_equal(table.values, expected)
    filled = "filled with the last value"
    assert table.report.findings() == [
        ("1 rows without a time", "left out"),
        ("2 missing times, 2 in one go at most", filled),
        ("1 missing values of wind=NW", filled),
        ("1 missing values of wind=SE", filled),
        ("1 sentinel values of load", filled),
    ]


def test_a_value_that_looks_like_a_sentinel_is_kept_and_told(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "load\n1\n-999\n3\n-999\n"), ["load"])
    assert table.values.min() == -999
    assert table.report.findings() == [
        ("-999 in 2 rows of load, far from all others", "kept; is it a sentinel?"),
    ]


def test_the_calendar_is_made_from_the_times(tmp_path: Path) -> None:
    path = write(tmp_path, "t,v\n2024-02-29 23:30,1\n2024-12-31 12:00,2\n1969-12-31 00:00,3\n")
    table = read_table(path, ["time:weekday", "v", "time:hour", "time:yearday"])
    np.testing.assert_array_equal(table.values, [[2, 3, 0, 364], [3, 1, 23.5, 59], [1, 2, 12, 365]])
    with pytest.raises(InputError, match=r"'time:hour' is made from times, and the file has none"):
        read_table(write(tmp_path, "v\n1\n2\n"), ["v", "time:hour"])


def test_the_real_weather_file_has_missing_values_and_words(shared_data: Path) -> None:
    path = shared_data / "ts_beijing_pm25" / "pollution.csv"
    times = {"time_column": "year,month,day,hour", "time_format": "%Y,%m,%d,%H"}
    table = read_table(path, ["pm2.5", "cbwd=NW"], **times, step_seconds=3600)
    assert table.report.findings() == [("2067 missing values of pm2.5", "interpolated")]
    assert len(table.values) == 43_824
    assert set(np.unique(table.values[:, 1])) == {0, 1}


def test_the_real_load_file_is_mended(shared_data: Path) -> None:
    table = read_table(shared_data / "ts_pjm_hourly" / "PJME_hourly.csv", ["PJME_MW"], step_seconds=3600)
    assert (table.report.unsorted, table.report.duplicates, table.report.missing_steps) == (True, 4, 30)
    assert table.times is not None
    assert {(b - a).total_seconds() for a, b in zip(table.times, table.times[1:], strict=False)} == {3600}


@pytest.mark.parametrize(
    ("text", "reason", "words"),
    [
        ("", "TABLE_UNREADABLE", "header line"),
        ("load\n", "TABLE_UNREADABLE", "at least one row"),
        ("time,temp\n1,2\n", "TABLE_COLUMN_MISSING", "no column 'load'; it has 'time', 'temp'"),
        ("load\n1\nabc\n", "TABLE_VALUE_INVALID", "line 3: load is 'abc'"),
        ("load\n1\ninf\n", "TABLE_VALUE_INVALID", "line 3: load is 'inf'"),
        ("load,time,load\n1,2020-01-01,2\n", "TABLE_UNREADABLE", "2 columns are called 'load'"),
        ("load\nNA\n", "TABLE_VALUE_INVALID", "'load' has no values"),
        ("load,temp\n1\n", "TABLE_UNREADABLE", "line 2: 1 cells where the header has 2"),
        ("t,load\n2020-01-01,1\nyesterday,2\n", "TABLE_VALUE_INVALID", "line 3: t is 'yesterday'"),
        ("t,load\n1000-01-01,1\n2020-01-01,2\n", "TABLE_UNREADABLE", "span"),
    ],
)
def test_a_bad_table_is_named_with_line_and_column(tmp_path: Path, text: str, reason: str, words: str) -> None:
    with pytest.raises(InputError, match="table.csv") as error:
        read_table(write(tmp_path, text), ["load"], step_seconds=3600)
    assert error.value.reason == reason
    assert words in str(error.value)


def test_a_form_of_times_that_names_the_year_twice_fits_no_time(tmp_path: Path) -> None:
    path = write(tmp_path, "time,load\n2020 2020,1\n")
    with pytest.raises(InputError, match="not a time of the form"):
        read_table(path, ["load"], time_column="time", time_format="%Y %Y")


def test_a_file_that_is_not_text_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    with pytest.raises(InputError, match="No such file"):
        read_table(path, ["load"])
    path.write_bytes(b"load\n\xff\xfe\n")
    with pytest.raises(InputError, match=r"line 2: byte 0xff is not UTF-8; convert the file, .*iconv"):
        read_table(path, ["load"])


def test_the_newest_window_is_cut_in_the_order_of_the_features() -> None:
    history = prepare_history({"temp": [9, 8, 7, 6], "load": [1, 2, 3, 4]}, TASK)
    np.testing.assert_array_equal(history, np.array([[2, 8], [3, 7], [4, 6]], np.float32))
    assert history.dtype == np.float32


@pytest.mark.parametrize(
    ("columns", "reason", "words"),
    [
        ({"load": [1, 2, 3]}, "SERIES_COLUMN_MISSING", "no column 'temp'; the model reads 'load', 'temp'"),
        ({"load": [1, 2, 3], "temp": [1, 2, 3], "wind": [1]}, "SERIES_COLUMN_UNKNOWN", "'wind'"),
        ({"load": [1, 2], "temp": [1, 2]}, "SERIES_TOO_SHORT", "2 rows, the model needs 3"),
        ({"load": [1, 2, 3], "temp": [1, 2]}, "SERIES_LENGTHS_DIFFER", "load 3, temp 2"),
        ({"load": [1, 2, 3, 4], "temp": [1, 2, 3, np.nan]}, "SERIES_NOT_FINITE", "temp[3] is nan"),
        ({"load": [1, 2, 1e39], "temp": [1, 2, 3]}, "SERIES_NOT_FINITE", "load[2] is inf"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_a_bad_history_is_named(columns: dict[str, list[float]], reason: str, words: str) -> None:
    with pytest.raises(InputError) as error:
        prepare_history(columns, TASK)
    assert error.value.reason == reason
    assert words in str(error.value)
