"""CUB-200-2011 as published: five text files beside a folder of images; with its own split and bounding boxes.

http://www.vision.caltech.edu/datasets/cub_200_2011/
"""

from __future__ import annotations

from pathlib import Path

from training.data.images.items import ImageItem, ImageListing
from training.data.utf8 import read_utf8
from training.errors import DataError

_NEEDED = ("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt")


def is_cub200(data: Path) -> bool:
    """Whether a folder holds the lists of CUB-200-2011."""
    return all((data / name).is_file() for name in _NEEDED[:3])


def read_cub200(data: Path) -> ImageListing:
    """Read the lists; the class names lose their numbers (`001.Black_footed_Albatross`).

    Raises:
        DataError: a list is missing, lacks an image or is damaged.
    """
    try:
        return _read(data)
    except DataError:
        raise
    except ValueError as exc:  # no number, or too few of them in a line
        raise DataError(f"{data}: a list is not as it was published ({exc}); unpack the whole archive again") from exc


def _read(data: Path) -> ImageListing:
    names, labels, split, class_names = (_read_list(data / name) for name in _NEEDED)
    boxes = _read_list(data / "bounding_boxes.txt") if (data / "bounding_boxes.txt").is_file() else {}
    order = {number: index for index, number in enumerate(sorted(class_names, key=int))}
    items = []
    for number, name in names.items():
        if number not in labels or number not in split or labels[number] not in order:
            raise DataError(f"{data}: image {number} ({name}) has no class or no part in the lists")
        left, top, width, height = (round(float(value)) for value in boxes.get(number, "0 0 0 0").split())
        items.append(
            ImageItem(
                name,
                order[labels[number]],
                data / "images" / name,
                "train" if split[number] == "1" else "test",
                (left, top, left + width, top + height) if number in boxes else None,
            )
        )
    return ImageListing(tuple(items), tuple(_plain(class_names[number]) for number in order))


def _read_list(path: Path) -> dict[str, str]:
    """The lines `number rest`, by number."""
    if not path.is_file():
        raise DataError(f"{path} is missing; unpack the whole archive")
    pairs = (line.partition(" ") for line in read_utf8(path).splitlines() if line.strip())
    return {number: rest.strip() for number, _, rest in pairs}


def _plain(name: str) -> str:
    return name.partition(".")[2].replace("_", " ") or name
