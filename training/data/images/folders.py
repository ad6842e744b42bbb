"""Images in class folders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from training.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
_TRAIN, _VALIDATION = "train", "val"


@dataclass(frozen=True)
class ImageFile:
    """An image on disk."""

    path: Path
    name: str
    """Path below the data folder, with forward slashes."""
    label: int
    for_validation: bool
    """It lies in a val folder."""


def list_images(root: Path) -> tuple[list[ImageFile], tuple[str, ...]]:
    """The images below `root/<class>/`, or below `root/train/<class>/` and `root/val/<class>/`, and the classes.

    Raises:
        DataError: there is no such folder, or fewer than two classes, or a class without images.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a folder; give a folder with one folder of images per class")
    parts = [part for part in (root / _TRAIN, root / _VALIDATION) if part.is_dir()]
    if parts and not (root / _TRAIN).is_dir():
        raise DataError(f"{root} has a folder {_VALIDATION} but none named {_TRAIN}")
    parts = parts or [root]
    classes = _class_names(parts[0])
    files = [file for part in parts for file in _list_part(root, part, classes)]
    return files, classes


def _class_names(folder: Path) -> tuple[str, ...]:
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if len(names) < 2:
        found = f"only the class {names[0]!r}" if names else "no class folders"
        raise DataError(f"{folder} has {found}; give at least two folders of images, one per class")
    return tuple(names)


def _list_part(root: Path, part: Path, classes: tuple[str, ...]) -> Iterator[ImageFile]:
    extra = [name for name in _class_names(part) if name not in classes]
    if extra:
        raise DataError(f"{part} has the class {extra[0]!r}, which {root / _TRAIN} has not")
    for label, name in enumerate(classes):
        paths = sorted(path for path in (part / name).glob("**/*") if _is_image(path))
        if not paths:
            raise DataError(f"{part / name} has no images ({', '.join(SUFFIXES)}); fill it or remove it")
        for path in paths:
            yield ImageFile(path, path.relative_to(root).as_posix(), label, part.name == _VALIDATION and part != root)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
