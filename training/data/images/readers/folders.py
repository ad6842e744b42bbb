"""Images in class folders: `DATA/<class>/*.jpg`, or with train, val and test folders above the classes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from training.data.images.items import GivenPart, ImageItem, ImageListing
from training.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
_PARTS: dict[str, GivenPart] = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


def read_folders(root: Path) -> ImageListing:
    """The images below `root/<class>/`, or below `root/train/<class>/`, `root/val/<class>/` and `root/test/<class>/`.

    Raises:
        DataError: there is no such folder, or fewer than two classes, or a class without images.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a folder; give a folder with one folder of images per class, or a table (.csv)")
    parts = [root / name for name in _PARTS if (root / name).is_dir()]
    if parts and not (root / "train").is_dir():
        raise DataError(f"{root} has a folder {parts[0].name} but none named train")
    classes = _class_names(parts[0] if parts else root)
    items = [item for part in parts or [root] for item in _list_part(root, part, classes)]
    return ImageListing(tuple(items), classes)


def _class_names(folder: Path) -> tuple[str, ...]:
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if len(names) < 2:
        found = f"only the class {names[0]!r}" if names else "no class folders"
        raise DataError(f"{folder} has {found}; give at least two folders of images, one per class")
    return tuple(names)


def _list_part(root: Path, part: Path, classes: tuple[str, ...]) -> Iterator[ImageItem]:
    given = None if part == root else _PARTS[part.name]
    extra = [name for name in _class_names(part) if name not in classes]
    if extra:
        raise DataError(f"{part} has the class {extra[0]!r}, which {root / 'train'} has not")
    for label, name in enumerate(classes):
        paths = sorted(path for path in (part / name).glob("**/*") if _is_image(path))
        if not paths:
            raise DataError(f"{part / name} has no images ({', '.join(SUFFIXES)}); fill it or remove it")
        for path in paths:
            yield ImageItem(path.relative_to(root).as_posix(), label, path, given)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
