"""Requests that have tensors in shared memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from dataclasses import dataclass

from service.convert.tensor_places import Places
from service.errors import InvalidTensorError, MessageTooLargeError
from service.security.quota import Quota
from service.settings import Settings
from service.shared_memory import Place, Regions, Space

SHARED_MEMORY_IS_OFF = (
    "shared memory is not supported, as this server was started without --system-shared-memory; send the values in the "
    "request"
)
_INSTANT_BYTES = 512 * 1024
"""What the event loop copies itself, in less than 0.1 ms, which handing it to a thread would take, too."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """The tensors of one request that are in shared memory, by their names."""

    inputs: Mapping[str, memoryview]
    """As raw contents."""
    outputs: Mapping[str, Space]


NOTHING_SHARED = Exchange({}, {})


class SharedTensors:
    """Finds and reads what requests have in shared memory, if the operator lets them."""

    def __init__(self, regions: Regions, threads: Executor, quota: Quota, settings: Settings) -> None:
        self.regions = regions
        self._threads = threads
        self._quota = quota
        self._enabled = settings.system_shared_memory
        self._max_bytes = settings.max_message_bytes

    @asynccontextmanager
    async def exchange(self, places: Places, *, at_once: bool) -> AsyncIterator[Exchange]:
        """Read the inputs of a request; until the end of the `with` they count among the bytes in flight.

        Args:
            places: where they are.
            at_once: whether the next request must not overtake it, as steps of a sequence must not.

        Raises:
            InvalidTensorError: the operator does not let them.
            RegionNotFoundError, InvalidRegionError: as `Regions.space` and `Space.read`.
            MessageTooLargeError, TooManyBytesError: as if the inputs had come with the request.
        """
        if not self._enabled:
            raise InvalidTensorError(places.first.field, SHARED_MEMORY_IS_OFF)
        inputs, outputs = self._spaces(places.inputs), self._spaces(places.outputs)
        size = sum(place.size for place in places.inputs.values())
        if size > self._max_bytes:
            raise MessageTooLargeError(size, self._max_bytes)
        with self._quota.request(size):
            if at_once or size <= _INSTANT_BYTES:
                values = _read(inputs)
            else:
                values = await asyncio.get_running_loop().run_in_executor(self._threads, _read, inputs)
            yield Exchange(values, outputs)

    def _spaces(self, places: Mapping[str, Place]) -> dict[str, Space]:
        return {name: self.regions.space(place) for name, place in places.items()}


def _read(spaces: Mapping[str, Space]) -> dict[str, memoryview]:
    return {name: space.read() for name, space in spaces.items()}
