"""Runs of one session side by side: the first has all cores, those beside it have one each."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from queue import SimpleQueue
from threading import Semaphore
from typing import Any

from service.backend.contract import Tensors


class SideBySide:
    """Runs a session on a CPU, from any number of threads.

    A run that begins in a thread of ours is shared out among that thread and the pool of the session. Two of those at a
    time have one core more than there is, and take each other's caches: ResNet-18 falls from 59 to 51 images/s on two
    cores. So a run beside others is one of the pool itself: a pool whose threads all have a run shares nothing out, and
    each run has a core (61 images/s). It has all again as soon as the others end, if it is the one in our thread.
    """

    def __init__(self, session: Any, runs: int = 1) -> None:
        """Take a session.

        Args:
            session: an `InferenceSession` with a pool, that is of two threads at least.
            runs: that may begin in threads of ours at a time.
        """
        self._session = session
        self._ours = Semaphore(runs)

    def __call__(self, names: Sequence[str], inputs: Tensors, options: Any) -> list[Any]:
        """As `InferenceSession.run`."""
        if not self._ours.acquire(blocking=False):
            return self._run_in_pool(names, inputs, options)
        try:
            outputs: list[Any] = self._session.run(names, inputs, options)
            return outputs
        finally:
            self._ours.release()

    def _run_in_pool(self, names: Sequence[str], inputs: Tensors, options: Any) -> list[Any]:
        values: list[Any] = []
        errors: list[str] = []

        def end(outputs: list[Any], _guard: _Guard, error: str) -> None:
            values.extend(outputs)
            if error:
                errors.append(error)

        # The thread of the pool goes through Python's lock after `end`, too. Whoever waits here may be the last user of
        # the session, or of the process, which aborts where an interpreter ends under such a thread. So the end is when
        # the thread drops the guard: from then on it runs no line of Python, and keeps the lock until it needs it no
        # more.
        ended: SimpleQueue[Any] = SimpleQueue()
        guard = _Guard()
        _watch = weakref.ref(guard, ended.put)
        self._session.run_async(names, inputs, end, guard, options)
        del guard
        ended.get()
        if errors:
            raise RuntimeError(errors[0])
        return values


class _Guard:
    """Something to hold on to."""
