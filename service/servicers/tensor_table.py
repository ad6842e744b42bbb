"""What the parts of inference.GRPCInferenceService share: the models, and the words for those that are not there."""

from __future__ import annotations

from inference import grpc_service_pb2_grpc
from service.convert.tensor_reader import Limits
from service.convert.tensor_requests import read_version
from service.errors import (
    ModelNotFoundError,
    ModelNotReadyError,
    SequenceLostError,
    ServiceError,
    VersionNotFoundError,
)
from service.models.entry import Entry
from service.models.model_table import ModelTable
from service.models.readiness import Readiness
from service.models.sequences import Step
from service.models.served_model import ServedModel
from service.servicers.context import announce, blame
from service.servicers.shared_tensors import SharedTensors
from service.settings import Settings

_UNKNOWN = "Request for unknown model:"


class TableServicer(grpc_service_pb2_grpc.GRPCInferenceServiceServicer):
    """A part of the service; the parts have one RPC or another in common, so they are joined by inheritance."""

    def __init__(
        self, table: ModelTable, readiness: Readiness, memory: SharedTensors, settings: Settings, *, version: str
    ) -> None:
        self._table = table
        self._readiness = readiness
        self._memory = memory
        self._settings = settings
        self._version = version
        self._limits = Limits.of(settings)

    def _find(self, name: str, version_text: str, step: Step | None = None) -> ServedModel:
        """The model that answers, or that a step of a sequence belongs to.

        Raises:
            ServiceError: it is not there, or not ready; with the texts that existing clients know.
        """
        try:
            number = _number(name, version_text)
            if step:
                return announce(self._table.get_for(step, name, number))
            return announce(self._table.get(name, number))
        except SequenceLostError as exc:
            blame(exc.name, exc.version)
            raise
        except (ModelNotFoundError, VersionNotFoundError) as exc:
            raise reworded(exc) from None
        except ModelNotReadyError as exc:
            raise _reworded_not_ready(exc, any_version=not version_text) from None

    def _entry(self, name: str, version_text: str) -> Entry:
        """The version that a request names, ready or not.

        Raises:
            ModelNotFoundError, VersionNotFoundError: there is none.
        """
        return self._table.find(name, _number(name, version_text))

    def _find_all(self, name: str, version_text: str) -> list[Entry]:
        """All versions of all models, or those of one model, or one version.

        Raises:
            ServiceError: there is none; as `_find`.
        """
        try:
            number = _number(name, version_text)
            if not name:
                return self._table.entries()
            return [self._table.find(name, number)] if number else self._known_versions(name)
        except (ModelNotFoundError, VersionNotFoundError) as exc:
            raise reworded(exc) from None

    def _known_versions(self, name: str) -> list[Entry]:
        self._table.find(name)
        return self._table.versions(name)


def _number(name: str, version_text: str) -> int:
    """The version of a model that a request names; 0: it leaves that to the server.

    Raises:
        VersionNotFoundError: it names version 0, which there never is.
    """
    number = read_version(version_text)
    if number == 0:
        raise VersionNotFoundError(name, 0, [])
    return number or 0


def reworded(error: ModelNotFoundError | VersionNotFoundError) -> ServiceError:
    """The error with the text that existing clients match."""
    version = f" version {error.version}" if isinstance(error, VersionNotFoundError) else ""
    error.reword(f"{_UNKNOWN} '{error.name}'{version} is not found")
    return error


def _reworded_not_ready(error: ModelNotReadyError, *, any_version: bool) -> ServiceError:
    """The same for a model of which no version, or not the one that was asked for, answers."""
    found = "has no available versions" if any_version else f"version {error.version} is not at ready state"
    error.reword(f"{_UNKNOWN} '{error.name}' {found} ({error.state}: {error.why})")
    return error
