"""Labels of data in the order of a published model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from training.data.images import LabelledImages
from training.errors import DataError


def relabelled(images: LabelledImages, labels: Sequence[str], model: str) -> LabelledImages:
    """The same images, their classes in the order of a model."""
    classes = known_classes([images.classes[item.label] for item in images.items], labels, "", model)
    items = tuple(replace(item, label=label) for item, label in zip(images.items, classes, strict=True))
    return replace(images, items=items, classes=tuple(labels))


def known_classes(found: Sequence[str], labels: Sequence[str], names: str, model: str) -> tuple[int, ...]:
    """The class of each item in the order of a model; `names` are those of the labels as its run published them."""
    places = {label: place for place, label in enumerate(labels)}
    distinct = sorted(set(found), key=_by_value)
    if names and not places.keys() >= set(distinct) and len(distinct) == len(labels):
        places = dict(zip(distinct, range(len(labels)), strict=True))
    if unknown := [label for label in distinct if label not in places]:
        raise DataError(f"the data have the label {unknown[0]!r}; {model!r} knows {', '.join(labels)}")
    return tuple(places[label] for label in found)


def _by_value(label: str) -> tuple[float, str]:
    """Numbers by their value, before words, as in training."""
    try:
        return float(label), label
    except ValueError:
        return float("inf"), label
