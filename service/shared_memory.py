"""System shared memory: regions that callers register by a name, to leave inputs there and to find outputs there.

The memory is theirs, and they may shorten it at any time. A process that touches mapped memory which is gone is killed,
so nothing is mapped here: the kernel copies what is there, and what is not there is an error of that caller's.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from weakref import finalize

import numpy as np

from service.errors import InvalidRegionError, RegionExistsError, RegionNotFoundError, TooManyRegionsError

MAX_REGIONS = 256
"""Each of them keeps a file open, of which a process commonly has 1024, for its connections too."""
MAX_NAME = 1024
"""Characters of a region's name."""

_FOLDER = b"/dev/shm/"
# No link is followed, and nothing is waited for: a pipe, or a file that another process has a lease on.
_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor is, or where a caller wants it."""

    tensor: str
    field: str
    """Of the request, to blame."""
    region: str
    offset: int
    """In the region."""
    size: int
    """In bytes."""


class Region:
    """Memory that a caller named. Its file is closed when nobody has it any more, neither the table nor a request: a
    thread that still copied would otherwise do so with whatever file gets the number next."""

    def __init__(self, name: str, key: str, offset: int, size: int, file: int) -> None:
        self.name, self.key, self.offset, self.size, self.file = name, key, offset, size, file
        finalize(self, os.close, file)

    def file_size(self) -> int:
        """Bytes of the memory as it is now."""
        return os.fstat(self.file).st_size


@dataclass(frozen=True, slots=True)
class Space:
    """A place in a region that was there when the request came."""

    region: Region
    place: Place

    def read(self) -> memoryview:
        """Copy what is there.

        Raises:
            InvalidRegionError: the memory is shorter than it was.
        """
        data = np.empty(self.place.size, np.uint8).data
        try:
            count = os.preadv(self.region.file, [data], self._start)
        except OSError as exc:
            raise self._failure(str(exc.strerror)) from exc
        if count < self.place.size:
            raise self._failure(f"{count} of {self.place.size} bytes are there")
        return data

    def write(self, data: bytes) -> None:
        """Copy values to it.

        Raises:
            InvalidRegionError: they are more than it takes, or the memory is shorter than it was.
        """
        tensor, size = self.place.tensor, self.place.size
        if len(data) > size:
            text = f"shared memory size specified with the request for output '{tensor}' ({size} bytes)"
            text = f"{text} should be at least {len(data)} bytes to hold the results"
            raise InvalidRegionError(self.place.field, text)
        if self._start + len(data) > self.region.file_size():  # writing would make it longer
            raise self._failure(f"there is no room for {len(data)} bytes")
        try:
            count = os.pwrite(self.region.file, data, self._start)
        except OSError as exc:
            raise self._failure(str(exc.strerror)) from exc
        if count < len(data):
            raise self._failure(f"{count} of {len(data)} bytes were taken")

    @property
    def _start(self) -> int:
        return self.region.offset + self.place.offset

    def _failure(self, why: str) -> InvalidRegionError:
        text = f"shared memory region '{self.region.name}' is not what it was when it was registered: {why}"
        return InvalidRegionError(self.place.field, text)


class Regions:
    """All that is registered."""

    def __init__(self) -> None:
        self._regions: dict[str, Region] = {}

    def register(self, name: str, key: str, offset: int, size: int) -> None:
        """Open memory under a name.

        Args:
            name: that requests will use.
            key: of POSIX shared memory, as for `shm_open`.
            offset: in that memory, where the region begins, in bytes.
            size: in bytes.

        Raises:
            RegionExistsError: the name is taken.
            TooManyRegionsError: there are as many as there may be.
            InvalidRegionError: there is no such memory, or less of it, or the name is not usable.
        """
        if not 0 < len(name) <= MAX_NAME:
            raise InvalidRegionError("name", f"the name of a region has 1 to {MAX_NAME} characters, got {len(name)}")
        if name in self._regions:
            raise RegionExistsError(name)
        if len(self._regions) >= MAX_REGIONS:
            raise TooManyRegionsError(MAX_REGIONS)
        file = _open(key)
        length = os.fstat(file).st_size
        if not size or offset + size > length:
            os.close(file)
            text = f"failed to register shared memory region '{name}': invalid args: offset {offset} + byte size {size}"
            raise InvalidRegionError("byte_size", f"{text} of {length} bytes")
        self._regions[name] = Region(name, key, offset, size, file)

    def unregister(self, name: str = "") -> None:
        """Forget a region, known or not; without a name, all of them. Requests that are being answered keep theirs."""
        if name:
            self._regions.pop(name, None)
        else:
            self._regions.clear()

    def listed(self, name: str = "") -> list[Region]:
        """One region; without a name, all of them.

        Raises:
            RegionNotFoundError: there is none of that name.
        """
        return [self._find(name)] if name else list(self._regions.values())

    def space(self, place: Place) -> Space:
        """Find a place.

        Raises:
            RegionNotFoundError: there is none of that name.
            InvalidRegionError: it ends before the place does.
        """
        region = self._find(place.region)
        if place.offset + place.size > region.size:
            text = f"Invalid offset + byte size for shared memory region: '{region.name}'"
            text = f"{text}: {place.offset} + {place.size} for '{place.tensor}', the region has {region.size}"
            raise InvalidRegionError(place.field, text)
        return Space(region, place)

    def _find(self, name: str) -> Region:
        if name not in self._regions:
            raise RegionNotFoundError("system", name)
        return self._regions[name]


def _open(key: str) -> int:
    name = key.removeprefix("/")
    unable = f"Unable to open shared memory region: '{key}'"
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise InvalidRegionError("key", f"{unable}: a key is a name, which may begin with the only '/' in it")
    try:
        file = os.open(_FOLDER + name.encode(), _FLAGS)
    except OSError as exc:
        raise InvalidRegionError("key", f"{unable}: {exc.strerror}") from exc
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise InvalidRegionError("key", f"{unable}: it is no memory")
    return file
