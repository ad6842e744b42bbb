"""How evenly the machine runs while something else is measured.

Of a virtual machine a neighbour may take half of a core for a tenth of a second, of which the system tells nothing: the
same work then takes twice the processor time, and what waits behind it waits longer still.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

_BYTES = bytes(256 * 1024)
_EVERY_SECONDS = 0.02


class Canary:
    """Does the same small piece of work again and again, some 1 % of a core."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        """Of processor time, for each piece."""

    @property
    def unevenness(self) -> float:
        """The p99 of a piece over its p50: 1 where the machine is even."""
        return float(np.percentile(self.seconds, 99) / np.percentile(self.seconds, 50))

    @contextmanager
    def singing(self) -> Iterator[None]:
        """Work until the end of the `with`."""
        over = threading.Event()
        thread = threading.Thread(target=self._work, args=(over,))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _work(self, over: threading.Event) -> None:
        while True:
            start = time.thread_time()
            hashlib.sha256(_BYTES).digest()
            self.seconds.append(time.thread_time() - start)
            if over.wait(_EVERY_SECONDS):
                return
