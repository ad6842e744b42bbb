"""Whether published models can be one: the same question, the same answers, and the same items held out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from training.errors import SettingsError
from training.pipelines.published.evaluate import Published
from training.pipelines.published.of_card import split_of
from zoo.card import Card, ImageTask, SeriesTask, TextTask


class _Facet(NamedTuple):
    """Something that must be the same."""

    what: str
    value: object
    way_out: str = "join models that agree"


def check_together(first: Published, other: Published) -> None:
    """Compare two models by their cards.

    Raises:
        SettingsError: they cannot be joined; the text names what differs.
    """
    for published in (first, other):
        if published.card.state:
            raise SettingsError(f"{published.label} keeps state from step to step; an ensemble cannot")
        if not published.card.provenance.data_sha256:
            raise SettingsError(f"{published.label} was published ready-made, without data to measure it on")
    for mine, others in zip(_facets(first.card), _facets(other.card), strict=False):
        if mine.what != others.what or mine.value != others.value:
            raise SettingsError(
                f"{other.label} has another {mine.what} than {first.label}: {others.value} instead of {mine.value}; "
                f"{mine.way_out}"
            )


def _facets(card: Card) -> Iterator[_Facet]:
    """From the general to the special: models of another task are told by that, not by their data."""
    yield _Facet("task", card.task.kind)
    match card.task:
        case ImageTask(labels=labels, resize=resize):
            yield _Facet("list of labels", ", ".join(labels))
            yield _Facet("resize policy", str(resize), "train with the same --image-size, or a backbone of that size")
        case TextTask(labels=labels):
            yield _Facet("list of labels", ", ".join(labels))
        case SeriesTask() as task:
            yield _Facet("list of columns", ", ".join(feature.name for feature in task.features))
            yield _Facet("list of targets", ", ".join(target.name for target in task.targets))
            yield _Facet("window", task.window_steps, "train it with --window of the other")
            yield _Facet("horizon", task.horizon_steps, "train it with --horizon of the other")
            yield _Facet("step in seconds", task.step_seconds)
    yield _Facet("data hash", card.provenance.data_sha256[:12], "train all on the same data")
    yield _Facet("split", split_of(card), "train it on the split of the other (--split-seed, and the same shares)")
