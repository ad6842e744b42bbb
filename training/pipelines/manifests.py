"""The split of a run, item by item, as its folder keeps it."""

from __future__ import annotations

import hashlib

from training.data.images import LabelledImages
from training.data.series.windows import SeriesParts
from training.data.split import Split
from training.data.texts.parts import TextParts
from training.runs import ManifestRow


def image_rows(images: LabelledImages, split: Split) -> list[ManifestRow]:
    """One row per image."""
    return [
        ManifestRow(part, images.items[index].name, images.classes[images.items[index].label], images.digests[index])
        for part, indexes in split.parts().items()
        for index in indexes
    ]


def text_rows(parts: TextParts) -> list[ManifestRow]:
    """One row per text, named by its place in its part."""
    named = {"train": parts.train, "validation": parts.validation, "test": parts.test}
    return [
        ManifestRow(name, f"{name}/{place}", parts.labels[label], hashlib.sha256(text.encode()).hexdigest())
        for name, part in named.items()
        for place, (text, label) in enumerate(zip(part.texts, part.classes, strict=True))
    ]


def series_rows(parts: SeriesParts) -> list[ManifestRow]:
    """One row per part: its readings, those before it that its first window looks back to included."""
    named = {"train": parts.train, "validation": parts.validation, "test": parts.test}
    return [
        ManifestRow(name, name, f"{len(part)} windows", hashlib.sha256(part.values.tobytes()).hexdigest())
        for name, part in named.items()
    ]
