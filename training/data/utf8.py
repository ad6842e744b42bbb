"""Files of text."""

from __future__ import annotations

from pathlib import Path

from training.errors import DataError


def read_utf8(path: Path, usual_encoding: str = "CP1252") -> str:
    """The text of a file, without a byte order mark.

    Args:
        path: the file.
        usual_encoding: that such files often have instead, for the advice.

    Raises:
        DataError: it cannot be read, or is not UTF-8; the text names the line.
    """
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise DataError(f"{path} cannot be read: {exc.strerror}") from exc
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data[: exc.start].count(b"\n") + 1
        raise DataError(
            f"{path}, line {line}: byte 0x{data[exc.start]:02x} is not UTF-8; "
            f"convert the file, for example with: iconv -f {usual_encoding} -t UTF-8 {path.name}"
        ) from exc
