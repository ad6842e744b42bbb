"""Log lines on standard error: for people, or as JSON for those who collect them."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

FIELDS = "fields"
"""Under this key of `extra`, a record carries values that JSON shows by name: log.info(..., extra={FIELDS: {...}})."""


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
        return json.dumps(line, ensure_ascii=False, default=str)


def configure_logging(level: str, line_format: str) -> None:
    """Log from this level on ("info", ...), as "text" or "json"."""
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    handler.setFormatter(JsonFormatter() if line_format == "json" else text)
    logging.basicConfig(level=level.upper(), handlers=[handler])
