"""A record is one line of the log, whatever a caller put into it."""

from __future__ import annotations

import logging

import pytest

from service.telemetry.logs import JsonFormatter, TextFormatter


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()], ids=["text", "json"])
@pytest.mark.parametrize("sign", ["\n", "\r", "\x00", "\x1b", "\x85"])
def test_nobody_can_forge_a_line(formatter: logging.Formatter, sign: str) -> None:
    record = logging.LogRecord("service", logging.WARNING, "", 0, "field %s", (f"a{sign}2026-01-01 INFO forged",), None)
    assert len(formatter.format(record).splitlines()) == 1


def test_a_traceback_keeps_its_lines() -> None:
    try:
        raise ValueError("broken")
    except ValueError as exc:
        caught = (type(exc), exc, exc.__traceback__)
    record = logging.LogRecord("service", logging.ERROR, "", 0, "unexpected", (), caught)
    assert TextFormatter().format(record).splitlines()[-1] == "ValueError: broken"
