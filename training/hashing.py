"""Hashes that say which data and weights a model was made from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path


def manifest_hash(digests: Iterable[tuple[str, str]]) -> str:
    """SHA-256 over the names and contents of items, independent of their order.

    It is taken over the lines `<sha256 of an item>  <its name>`, sorted by name, so `sha256sum` can check it.

    Args:
        digests: name of an item, free of machine paths (`train/daisy/1.jpg`), and the SHA-256 of its content.
    """
    lines = [f"{digest}  {name}\n" for name, digest in sorted(digests)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def files_hash(paths: Sequence[Path], validation_file: Path | None = None) -> str:
    """SHA-256 of the data in some files: over their contents, in their order, which decides the split; whatever their
    names.

    Args:
        paths: of the data.
        validation_file: the validation part, where it is a file of its own.
    """
    named = [(f"data {place}", file_sha256(path)) for place, path in enumerate(paths, 1)]
    if validation_file is not None:
        named.append(("validation", file_sha256(validation_file)))
    return named[0][1] if len(named) == 1 else manifest_hash(named)


def named_files_hash(paths: Sequence[Path], validation_file: Path | None = None) -> str:
    """The same with the names of the files, as the cards of earlier models have it."""
    data = manifest_hash((path.name, file_sha256(path)) for path in paths)
    if validation_file is None:
        return data
    held_out = manifest_hash([(validation_file.name, file_sha256(validation_file))])
    return manifest_hash([("data", data), ("validation", held_out)])


def file_sha256(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
