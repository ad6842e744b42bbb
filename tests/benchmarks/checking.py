"""Whether the answers are right, before, during and after a load, by a client that reads them."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Self
from urllib.request import urlopen

import grpc
from prometheus_client.parser import text_string_to_metric_families

from tests.benchmarks.questions import Question, Verdict

_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
_TIMEOUT_SECONDS = 60.0
_PAUSE_SECONDS = 0.25
_PAUSES = 10
"""The pause between two questions is at least so many times what the last one took: the client must not be a load."""


class Client:
    """A connection of its own to a server."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._channel = grpc.insecure_channel(address, options=_OPTIONS)

    def judge(self, question: Question) -> Verdict:
        """Ask, and read the answer; an error is a wrong answer."""
        try:
            return question.judge(self.ask(question))
        except grpc.RpcError as exc:
            return Verdict(f"{exc.code().name}: {exc.details()}")
        except (OSError, http.client.HTTPException) as exc:
            return Verdict(f"{type(exc).__name__}: {exc}")
        except Exception as exc:  # whatever another server sends in place of an answer
            return Verdict(f"not an answer: {type(exc).__name__}: {exc}")

    def ask(self, question: Question) -> bytes:
        """The answer."""
        if question.http:
            return self._post(question)
        answer: bytes = self._channel.unary_unary(question.path)(question.message, timeout=_TIMEOUT_SECONDS)
        return answer

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def _post(self, question: Question) -> bytes:
        connection = http.client.HTTPConnection(self._address, timeout=_TIMEOUT_SECONDS)
        try:
            connection.request("POST", question.path, question.message, question.headers)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise http.client.HTTPException(f"{response.status} {body[:200]!r}")
        return body


class Checker:
    """Asks now and then, each time another question, while it is open."""

    def __init__(self, address: str, make: Callable[[int], Question]) -> None:
        """Args:
        address: HOST:PORT.
        make: a question by its number.
        """
        self.right = 0
        self.wrong: list[str] = []
        self._client = Client(address)
        self._make = make
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        number, pause = 0, _PAUSE_SECONDS
        while not self._over.wait(pause):
            number += 1
            start = time.monotonic()
            wrong = self._client.judge(self._make(number)).wrong
            pause = max(_PAUSE_SECONDS, _PAUSES * (time.monotonic() - start))
            if wrong:
                self.wrong.append(wrong)
            else:
                self.right += 1


def answered(metrics_url: str) -> Counter[str]:
    """Requests that a Menagerie server has answered so far, by status."""
    with urlopen(metrics_url, timeout=_TIMEOUT_SECONDS) as response:
        text = response.read().decode()
    counts: Counter[str] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "menagerie_requests_total":
                counts[sample.labels["code"]] += int(sample.value)
    return counts
