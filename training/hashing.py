"""Hashes that say which data and weights a model was made from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def manifest_hash(digests: Iterable[tuple[str, str]]) -> str:
    """SHA-256 over the names and contents of items, independent of their order.

    It is taken over the lines `<sha256 of an item>  <its name>`, sorted by name, so `sha256sum` can check it.

    Args:
        digests: name of an item, free of machine paths (`train/daisy/1.jpg`), and the SHA-256 of its content.
    """
    lines = [f"{digest}  {name}\n" for name, digest in sorted(digests)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
