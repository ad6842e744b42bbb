"""Texts as models see them. Everything else (case, tokens, vocabulary) is inside the graph."""

import unicodedata

from zoo.errors import InputError

MAX_CHARACTERS = 100_000


def prepare_text(text: str, *, max_characters: int = MAX_CHARACTERS) -> str:
    """Return `text` in Unicode normal form C, which no ONNX operator computes.

    Raises:
        InputError: TEXT_EMPTY where there is nothing but white space, TEXT_TOO_LONG beyond `max_characters`.
    """
    if len(text) > max_characters:
        raise InputError(
            "TEXT_TOO_LONG",
            f"the text has {len(text)} characters, the limit is {max_characters}; send a shorter part of it",
        )
    if not text.strip():
        raise InputError("TEXT_EMPTY", f"the text {text[:20]!r} is empty; send at least one visible character")
    return unicodedata.normalize("NFC", text)
