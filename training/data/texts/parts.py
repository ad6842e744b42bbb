"""Labelled texts, split into training, validation and test part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.data.groups import split_classes
from training.data.texts.files import LabelledTexts, read_texts
from training.errors import SettingsError
from training.hashing import files_hash
from training.settings.text import TextSettings


@dataclass(frozen=True)
class TextPart:
    """Texts and the index of each one's class."""

    texts: tuple[str, ...]
    classes: tuple[int, ...]
    groups: tuple[str, ...] = ()
    """What belongs together, where anybody asked."""


@dataclass(frozen=True)
class TextParts:
    """The data of a run, and what its card says about them."""

    labels: tuple[str, ...]
    train: TextPart
    validation: TextPart
    test: TextPart
    split: str
    sha256: str
    summary: str
    """One line for people."""


def read_text_parts(settings: TextSettings) -> TextParts:
    """Read the files of a run and split them, stratified by class.

    Raises:
        DataError: a file cannot be understood, or a class is too small.
        SettingsError: label_names does not fit the labels.
    """
    texts = _read(settings, settings.data)
    found = texts.class_names()
    labels = _publish_names(settings.label_names, found)
    classes = texts.classes(found)
    given = None if settings.validation_file is None else _read(settings, [settings.validation_file])
    split = split_classes(
        classes,
        texts.groups,
        validation=settings.validation_share if given is None else 0.0,
        test=settings.test_share,
        seed=settings.seed_of_split,
        names=labels,
    )
    parts = {name: _take(texts, classes, rows) for name, rows in split.parts().items()}
    description = split.description
    if given is not None and settings.validation_file is not None:
        parts["validation"] = TextPart(given.texts, given.classes(found), given.groups)
        description += f"; {len(given.texts)} validation from {settings.validation_file.name}"
    sha256 = files_hash(settings.data, settings.validation_file)
    return TextParts(labels, **parts, split=description, sha256=sha256, summary=_summary(texts, labels, classes))


def _read(settings: TextSettings, paths: Sequence[Path]) -> LabelledTexts:
    return read_texts(
        paths, text_column=settings.text_column, label_column=settings.label_column, group_column=settings.group
    )


def _take(texts: LabelledTexts, classes: Sequence[int], rows: Sequence[int]) -> TextPart:
    groups = tuple(texts.groups[row] for row in rows) if texts.groups else ()
    return TextPart(tuple(texts.texts[row] for row in rows), tuple(classes[row] for row in rows), groups)


def _publish_names(label_names: str, found: tuple[str, ...]) -> tuple[str, ...]:
    if not label_names:
        return found
    names = tuple(name.strip() for name in label_names.split(","))
    if len(names) != len(found) or not all(names):
        raise SettingsError(
            f"label_names {label_names!r} has {len(names)} names, the data have {len(found)} labels: {', '.join(found)}"
        )
    return names


def _summary(texts: LabelledTexts, labels: tuple[str, ...], classes: tuple[int, ...]) -> str:
    counts = Counter(classes)
    shares = ", ".join(f"{counts[index]} {label}" for index, label in enumerate(labels))
    skipped = f"; {texts.skipped} empty ones left out" if texts.skipped else ""
    return f"{len(texts.texts)} texts: {shares}{skipped}"
