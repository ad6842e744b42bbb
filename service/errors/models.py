"""Models that are not there, not ready, or cannot be loaded."""

from __future__ import annotations

from collections.abc import Sequence

from service.errors.base import ServiceError


class ModelNotFoundError(ServiceError):
    """No model of the server has that name."""

    code, reason = "NOT_FOUND", "MODEL_NOT_FOUND"

    def __init__(self, name: str, available: Sequence[str]) -> None:
        there = f"the server has {', '.join(available)}" if available else "the server has no models"
        super().__init__(f"no model {name!r}; {there}", metadata={"model": name})
        self.name = name


class VersionNotFoundError(ServiceError):
    """The model has no such version."""

    code, reason = "NOT_FOUND", "VERSION_NOT_FOUND"

    def __init__(self, name: str, version: int, available: Sequence[int]) -> None:
        there = ", ".join(map(str, available)) or "none"
        super().__init__(
            f"model {name!r} has no version {version}; it has {there}; 0 chooses the highest that is ready",
            metadata={"model": name, "version": version},
        )
        self.name = name
        self.version = version


class ModelNotReadyError(ServiceError):
    """The version is being loaded, or failed to load."""

    code, reason = "UNAVAILABLE", "MODEL_NOT_READY"

    def __init__(self, name: str, version: int, state: str, why: str) -> None:
        which = f"model {name!r} version {version}" if version else f"model {name!r}"
        super().__init__(
            f"{which} is not ready ({state}): {why}", metadata={"model": name, "version": version, "state": state}
        )
        self.name, self.version = name, version
        self.state, self.why = state, why
        if state == "LOADING":
            self.retry_seconds = 1.0


class LoadError(ServiceError):
    """A model that was to be loaded does not exist, or a version of it cannot be served; the index says why."""

    code, reason = "INTERNAL", "LOAD_FAILED"

    def __init__(self, name: str) -> None:
        super().__init__(f"failed to load '{name}', failed to poll from model repository", metadata={"model": name})


class ControlError(ServiceError):
    """The server does not load and unload on request."""

    code, reason = "FAILED_PRECONDITION", "CONTROL_MODE"

    def __init__(self, mode: str) -> None:
        super().__init__(
            "explicit model load / unload is not allowed if polling is enabled, or models are not controlled at all "
            f"(--control-mode {mode}); start the server with --control-mode explicit",
            metadata={"control_mode": mode},
        )
