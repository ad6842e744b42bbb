"""Models that another one took the place of, and that live on for the sequences that began on them.

A sequence carries the state of one session, which means nothing to another one. So its steps go on to the model that it
began on, until it ends, is idle for too long, or lasts longer than the operator lets a former model stay. In the last
case the next step is told so: nothing ever goes on from another state than the one that it left.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator

from service.errors import SequenceLostError
from service.models.sequences import Step
from service.models.served_model import ServedModel

MAX_LOST = 10_000
"""Sequences that were given up and are remembered as such; beyond that the oldest is just unknown."""


class FormerModels:
    """Models that take no new sequences any more. Belongs to one event loop."""

    def __init__(self) -> None:
        self._models: set[ServedModel] = set()
        self._lost: OrderedDict[tuple[str, Hashable], int] = OrderedDict()
        """Name of the model and id of a sequence that was given up -> version of the model."""

    def __len__(self) -> int:
        return len(self._models)

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models)

    def add(self, model: ServedModel) -> None:
        """A model takes no new sequences from now on: in the same step as another one takes its place, so that no
        caller looks for it in vain."""
        self._models.add(model)

    async def retire(self, model: ServedModel, sequence_seconds: float) -> None:
        """Close a model that was added, when its requests and sequences have ended, the latter no later than this."""
        try:
            for key in await model.conversations.finish(sequence_seconds):
                self._lost[model.name, key] = model.version
            while len(self._lost) > MAX_LOST:
                self._lost.popitem(last=False)
            await model.retire()
        finally:
            self._models.discard(model)

    def home(self, step: Step, version: int, models: Iterable[ServedModel]) -> ServedModel | None:
        """The model that the sequence of a step is alive on.

        Args:
            step: not the start of a sequence.
            version: that would answer the caller now.
            models: that may have been the one to answer when the sequence began, the best first.
        """
        for model in models:
            # A sequence that asked for another version by its number is none of a caller who asks for any.
            if model.conversations.has(step.id, any_version=model.version != version):
                return model
        return None

    def check_lost(self, step: Step, name: str, version: int) -> None:
        """Say so where a sequence was given up.

        Raises:
            SequenceLostError: it was, on this version; 0: on any.
        """
        lost = self._lost.get((name, step.id))
        if lost is not None and version in (0, lost):
            raise SequenceLostError(name, lost, step.id)

    def restart(self, step: Step, current: ServedModel, models: Iterable[ServedModel]) -> None:
        """A sequence begins on the current model: what is left of its namesake on others must not be found again."""
        self._lost.pop((current.name, step.id), None)
        for model in models:
            if model is not current and model.conversations.has(step.id, any_version=model.version != current.version):
                model.conversations.forget(step.id)
