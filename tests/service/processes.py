"""A server as a process of its own, as operators run it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

SECONDS = 60
"""How long anything may take on a busy machine."""


class Process:
    """A running server and what it writes to standard error."""

    def __init__(self, *flags: str) -> None:
        self.start = time.monotonic()
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "service", "--port", "0", "--metrics-port", "0", "--device", "cpu", *flags],
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first line that matches."""
        give_up = time.monotonic() + SECONDS
        while time.monotonic() < give_up:
            for line in list(self.lines):
                if match := re.search(pattern, line):
                    return match
            assert self.process.poll() is None, "".join(self.lines)
            time.sleep(0.01)
        raise AssertionError(f"no line like {pattern!r} in\n{''.join(self.lines)}")

    @property
    def address(self) -> str:
        """HOST:PORT of gRPC."""
        return self.wait_for(r"serving gRPC on (\S+),")[1]

    def end(self, number: signal.Signals) -> int:
        """Send a signal and wait; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(SECONDS)

    def close(self) -> None:
        """Make sure that it is gone."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(SECONDS)
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(self.process.stderr)


@contextmanager
def running(*flags: str) -> Iterator[Process]:
    """A server process, gone afterwards."""
    process = Process(*flags)
    try:
        yield process
    finally:
        process.close()
