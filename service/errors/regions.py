"""Shared memory that is not there, or cannot be used."""

from __future__ import annotations

from service.errors.base import ServiceError
from service.errors.requests import RequestError


class RegionNotFoundError(ServiceError):
    """No shared memory is registered under that name."""

    code, reason = "NOT_FOUND", "REGION_NOT_FOUND"

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"Unable to find {kind} shared memory region: '{name}'", metadata={"region": name})


class RegionExistsError(ServiceError):
    """There is shared memory of that name already."""

    code, reason = "ALREADY_EXISTS", "REGION_EXISTS"

    def __init__(self, name: str) -> None:
        super().__init__(f"shared memory region '{name}' already in manager", metadata={"region": name})


class TooManyRegionsError(ServiceError):
    """As many regions of shared memory are registered as may be."""

    code, reason = "RESOURCE_EXHAUSTED", "TOO_MANY_REGIONS"

    def __init__(self, limit: int) -> None:
        text = f"{limit} regions are registered, which is the limit; unregister one, or put more tensors into each"
        super().__init__(text, metadata={"limit": limit})


class InvalidRegionError(RequestError):
    """The memory cannot be opened, or a tensor does not fit into it."""

    reason = "INVALID_REGION"
