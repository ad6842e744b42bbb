"""Log lines on standard error: for people, or as JSON for those who collect them."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime

FIELDS = "fields"
"""Under this key of `extra`, a record carries values that JSON shows by name: log.info(..., extra={FIELDS: {...}})."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class TextFormatter(logging.Formatter):
    """One line a record, whatever names callers chose; only a traceback has more."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """Escape what would break the line, so that nobody can forge another one."""
        record.message = _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), record.message)
        return super().formatMessage(record)


class JsonFormatter(logging.Formatter):
    """One object a line: time (RFC 3339, UTC), level, message, and the record's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Make the line."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {"time": time, "level": record.levelname, "logger": record.name}
        line["message"] = record.getMessage()
        line |= getattr(record, FIELDS, {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure_logging(level: str, line_format: str) -> None:
    """Log from this level on ("info", ...), as "text" or "json"."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if line_format == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler])
