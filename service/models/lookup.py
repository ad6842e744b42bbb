"""Finding models: name, version -> served model, or where a version stands; and the home of a sequence."""

from __future__ import annotations

from service.errors import ModelNotFoundError, ModelNotReadyError, VersionNotFoundError
from service.models.entry import Entry, State
from service.models.former import FormerModels
from service.models.sequences import Step
from service.models.served_model import ServedModel


class ModelLookup:
    """The versions that a table has, for those who ask. Belongs to one event loop."""

    def __init__(self) -> None:
        self._entries: dict[str, dict[int, Entry]] = {}
        self._former = FormerModels()

    def entries(self) -> list[Entry]:
        """All versions, sorted by name, then number."""
        return [self._entries[name][number] for name in sorted(self._entries) for number in sorted(self._entries[name])]

    def versions(self, name: str) -> list[Entry]:
        """All versions of a model, lowest first; none for an unknown name."""
        return [entry for _, entry in sorted(self._entries.get(name, {}).items())]

    def ready(self) -> list[ServedModel]:
        """Everything that answers."""
        return [entry.model for entry in self.entries() if entry.model]

    def find(self, name: str, version: int = 0) -> Entry:
        """A version; 0: the highest that is ready, else the highest there is.

        Raises:
            ModelNotFoundError: no model has that name.
            VersionNotFoundError: the model has no such version.
        """
        versions = self._entries.get(name)
        if not versions:
            raise ModelNotFoundError(name, sorted(self._entries))
        if not version:
            return max(versions.values(), key=lambda entry: (entry.state is State.READY, entry.version))
        if version not in versions:
            raise VersionNotFoundError(name, version, sorted(versions))
        return versions[version]

    def get(self, name: str, version: int = 0) -> ServedModel:
        """The served model; 0: the highest version that is ready.

        Raises:
            ModelNotFoundError, VersionNotFoundError: as `find`.
            ModelNotReadyError: it is loading, or failed to, or was unloaded.
        """
        entry = self.find(name, version)
        if entry.model is None:
            raise ModelNotReadyError(name, entry.version, entry.state, entry.reason)
        return entry.model

    def get_for(self, step: Step, name: str, version: int = 0) -> ServedModel:
        """The served model for a step of a sequence: the one that the sequence began on, while it is alive there.

        Raises:
            ModelNotFoundError, VersionNotFoundError, ModelNotReadyError: as `get`.
            SequenceLostError: the model that it began on had to go before it ended.
        """
        entry = self.find(name, version)
        models = self._answering(entry, version)
        if not step.start:
            if home := self._former.home(step, entry.version, models):
                return home
            self._former.check_lost(step, name, version)
        current = self.get(name, version)
        if step.start:
            self._former.restart(step, current, models)
        return current

    def _answering(self, entry: Entry, version: int) -> list[ServedModel]:
        """The models that a sequence of callers who ask for this version may have begun on; 0: for any version."""
        former = [model for model in self._former if model.name == entry.name and version in (0, model.version)]
        others = [] if version else [other.model for other in self.versions(entry.name) if other is not entry]
        return [model for model in (entry.model, *former, *others) if model]
