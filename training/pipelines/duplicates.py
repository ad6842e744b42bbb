"""Near-duplicates across the parts of a run: told, left out of training, or refused."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

from training.data.duplicates import Overlap, image_overlap, text_overlap
from training.data.images import LabelledImages
from training.data.split import Split
from training.data.texts.parts import TextPart, TextParts
from training.errors import DataError
from training.evaluation.classification import ClassificationReport
from training.settings.classifier import DuplicatePolicy

DUPLICATES_FILE = "duplicates.csv"
ACCURACY_WITHOUT_DUPLICATES = "accuracy_without_near_duplicates"
_PAIRS = (("test", "train"), ("test", "validation"), ("validation", "train"))
"""Parts that should share nothing; of a pair it is the second that loses items."""
_SHOWN_CHARACTERS = 80

Value = TypeVar("Value")


class Item(NamedTuple):
    """An item as people see it."""

    name: str
    """Of a file; or the beginning of a text."""
    label: str


class NearDuplicate(NamedTuple):
    """An item, and the one of another part that is nearest to it."""

    part: str
    place: int
    """In its part, from 0."""
    item: Item
    other_part: str
    other_place: int
    other: Item
    similarity: float
    """From 0 to 1, which is the same."""


@dataclass(frozen=True)
class Duplicates:
    """Near-duplicates across the parts."""

    found: tuple[NearDuplicate, ...]
    """Per item and other part the nearest; before any was left out."""
    left_out: Mapping[str, frozenset[int]]
    """Places of what is not used, by part."""

    @property
    def seen(self) -> frozenset[int]:
        """Places of the test items that are nearly the same as one that the model was made with."""
        return frozenset() if self.left_out else frozenset(row.place for row in self.found if row.part == "test")

    def summary(self) -> str:
        """One line."""
        if not self.found:
            return "no near-duplicates across training, validation and test part"
        counts = Counter((row.part, row.other_part) for row in self.found)
        told = [f"{count} {part} items in the {other} part" for (part, other), count in counts.items()]
        text = f"near-duplicates of {', '.join(told)}; such as {_pair(self.found[0])}"
        return f"{text}; left out: {self.describe_left_out()}" if self.left_out else text

    def describe_left_out(self) -> str:
        """How many of which part."""
        return ", ".join(f"{len(places)} of {part}" for part, places in self.left_out.items())

    def metrics(self, test: ClassificationReport) -> dict[str, float]:
        """For a card: how many test items the model may have seen, and its accuracy without them."""
        numbers = {"near_duplicates": float(len(self.seen))}
        others = [place for place in range(len(test.targets)) if place not in self.seen]
        if self.seen and others:
            numbers[ACCURACY_WITHOUT_DUPLICATES] = round(float(test.correct[others].mean()), 5)
        return numbers

    def write(self, folder: Path) -> None:
        """Write `duplicates.csv`, where there are any."""
        if not self.found:
            return
        names = ("part", "item", "label", "other_part", "other_item", "other_label", "similarity")
        with (folder / DUPLICATES_FILE).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(
                [
                    names,
                    *((row.part, *row.item, row.other_part, *row.other, f"{row.similarity:.3f}") for row in self.found),
                ]
            )


def treat_image_duplicates(images: LabelledImages, split: Split, policy: DuplicatePolicy) -> tuple[Split, Duplicates]:
    """Look for near-duplicates across the parts of a split; the test part stays as it is.

    Returns:
        The split, without what was left out, and what was found.

    Raises:
        DataError: there are any, and the policy is error; or a class has nothing else to train on.
    """
    signatures = images.signatures
    parts = split.parts()
    items = {
        part: [Item(images.items[index].name, images.classes[images.items[index].label]) for index in indexes]
        for part, indexes in parts.items()
    }
    duplicates = _treat(
        items, lambda one, other: image_overlap(signatures.part(parts[one]), signatures.part(parts[other])), policy
    )
    if not duplicates.left_out:
        return split, duplicates
    kept = {part: _without(indexes, duplicates.left_out.get(part, frozenset())) for part, indexes in parts.items()}
    return Split(**kept, description=f"{split.description}; {_note(duplicates)}"), duplicates


def treat_text_duplicates(parts: TextParts, policy: DuplicatePolicy) -> tuple[TextParts, Duplicates]:
    """As for images."""
    named = {"train": parts.train, "validation": parts.validation, "test": parts.test}
    items = {
        name: [
            Item(_shortened(text), parts.labels[label]) for text, label in zip(part.texts, part.classes, strict=True)
        ]
        for name, part in named.items()
    }
    duplicates = _treat(items, lambda one, other: text_overlap(named[one].texts, named[other].texts), policy)
    if not duplicates.left_out:
        return parts, duplicates
    none: frozenset[int] = frozenset()
    train, validation = (
        TextPart(_without(part.texts, places), _without(part.classes, places))
        for part, places in (
            (parts.train, duplicates.left_out.get("train", none)),
            (parts.validation, duplicates.left_out.get("validation", none)),
        )
    )
    return replace(parts, train=train, validation=validation, split=f"{parts.split}; {_note(duplicates)}"), duplicates


def check_validation(items: Sequence[object]) -> None:
    """Check that there is a validation part; near-duplicates may have been all of it.

    Raises:
        DataError: there is none.
    """
    if not items:
        raise DataError(
            "there is no validation part, which chooses the best epoch; give --validation a share, or keep "
            "near-duplicates with --duplicates report"
        )


def _treat(
    items: Mapping[str, Sequence[Item]], overlap: Callable[[str, str], Overlap], policy: DuplicatePolicy
) -> Duplicates:
    found: list[NearDuplicate] = []
    left_out: dict[str, frozenset[int]] = {}
    for part, other in _PAIRS:
        if not (items[part] and items[other]):
            continue
        both = overlap(part, other)
        found += [
            NearDuplicate(part, place, items[part][place], other, near.item, items[other][near.item], near.similarity)
            for place, near in both.nearest.items()
        ]
        if both.others:
            left_out[other] = left_out.get(other, frozenset()) | both.others
    if policy != "drop":
        left_out = {}
    duplicates = Duplicates(tuple(found), left_out)
    if found and policy == "error":
        raise DataError(
            f"{duplicates.summary()}; pass --duplicates drop to train without these, or report to go on with them"
        )
    _check_classes(items["train"], left_out.get("train", frozenset()))
    return duplicates


def _check_classes(items: Sequence[Item], left_out: frozenset[int]) -> None:
    left = {item.label for place, item in enumerate(items) if place not in left_out}
    for item in items:
        if item.label not in left:
            raise DataError(
                f"all training items of the class {item.label!r} are near-duplicates of held-out ones; "
                f"collect others, or pass --duplicates report"
            )


def _without(values: Sequence[Value], places: frozenset[int]) -> tuple[Value, ...]:
    return tuple(value for place, value in enumerate(values) if place not in places)


def _note(duplicates: Duplicates) -> str:
    return f"near-duplicates of held-out items left out: {duplicates.describe_left_out()}"


def _pair(row: NearDuplicate) -> str:
    return f"{row.item.name!r} ({row.part}) and {row.other.name!r} ({row.other_part})"


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}.."
