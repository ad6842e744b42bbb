"""How much callers may ask for at once: requests in a second, open streams, bytes in flight."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from service.errors import RateLimitedError, TooManyBytesError, TooManyStreamsError

MAX_CLIENTS = 10_000
"""Clients whose rate is remembered; beyond that the one that was quiet for longest is forgotten."""


class RateLimit:
    """Token buckets, one for each client; a full bucket holds the requests of one second."""

    def __init__(self, requests_per_second: float, *, clock: Callable[[], float] = monotonic) -> None:
        """Take the rate; 0: no limit."""
        self._rate = requests_per_second
        self._size = max(requests_per_second, 1.0)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Client to (requests left, time of that)."""

    @property
    def limited(self) -> bool:
        """Whether there is a rate at all."""
        return self._rate > 0

    def take(self, client: str) -> None:
        """Count a request.

        Raises:
            RateLimitedError: it is one too many; the error says when it would not be.
        """
        wait = self._take(client, may_owe=False)
        if wait:
            raise RateLimitedError(self._rate, retry_seconds=wait)

    def reserve(self, client: str) -> float:
        """Count a request that can wait: the seconds that it has to."""
        return self._take(client, may_owe=True)

    def _take(self, client: str, *, may_owe: bool) -> float:
        if not self._rate:
            return 0.0
        now = self._clock()
        left, then = self._buckets.pop(client, (self._size, now))
        left = min(self._size, left + (now - then) * self._rate)
        wait = max(0.0, (1 - left) / self._rate)
        if not wait or may_owe:
            left -= 1
        self._buckets[client] = left, now
        if len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return wait


class Quota:
    """What is open now, over all callers."""

    def __init__(self, *, max_streams: int, max_bytes: int) -> None:
        self._max_streams = max_streams
        self._max_bytes = max_bytes
        self.streams = 0
        self.bytes = 0

    @contextmanager
    def stream(self) -> Iterator[None]:
        """A stream is open.

        Raises:
            TooManyStreamsError: there are as many as there may be.
        """
        if self.streams >= self._max_streams:
            raise TooManyStreamsError(self._max_streams)
        self.streams += 1
        try:
            yield
        finally:
            self.streams -= 1

    def request(self, size: int) -> _Held:
        """`with` this a request of `size` bytes is being answered; entering raises as `take`."""
        return _Held(self, size)

    def take(self, size: int) -> None:
        """A request of `size` bytes is here.

        Raises:
            TooManyBytesError: with those that are being answered already it would be too much.
        """
        if self.bytes + size > self._max_bytes:
            raise TooManyBytesError(size, self.bytes, self._max_bytes)
        self.bytes += size

    def give_back(self, size: int) -> None:
        """It is answered."""
        self.bytes -= size


class _Held:
    """Stands around every request, where a generator with `contextmanager` takes three times as long."""

    __slots__ = ("_quota", "_size")

    def __init__(self, quota: Quota, size: int) -> None:
        self._quota, self._size = quota, size

    def __enter__(self) -> None:
        self._quota.take(self._size)

    def __exit__(self, *error: object) -> None:
        self._quota.give_back(self._size)
