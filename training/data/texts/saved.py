"""A tokenizer in a run folder, for a run that goes on from there."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from training.data.texts.tokens import Tokenizer
from training.errors import DataError

TOKENIZER_FILE = "tokenizer.json"


def write_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    """Write `tokenizer.json`."""
    (folder / TOKENIZER_FILE).write_text(json.dumps(asdict(tokenizer), ensure_ascii=False), encoding="utf-8")


def read_tokenizer(folder: Path) -> Tokenizer:
    """Read it.

    Raises:
        DataError: there is none.
    """
    file = folder / TOKENIZER_FILE
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except OSError as exc:
        raise DataError(f"the tokenizer of that run cannot be read: {file}: {exc.strerror}") from exc
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    return Tokenizer(**fields)
