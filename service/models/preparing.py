"""Prepares the items of a request in threads, and names every one that cannot be used."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, TypeVar

from service.errors import InvalidItemsError, Violation
from zoo.errors import InputError

Item = TypeVar("Item")


async def call_each(pool: Executor, field: str, count: int, prepare: Callable[[int], None]) -> None:
    """Call `prepare` for every index, in as many threads as there are.

    Raises:
        InvalidItemsError: `prepare` raised InputError; `field`, with "{}" for the index, says where.
    """
    loop = asyncio.get_running_loop()
    jobs = [loop.run_in_executor(pool, prepare, index) for index in range(count)]
    _raise_violations(field, await asyncio.gather(*jobs, return_exceptions=True))


async def prepare_all(
    pool: Executor | None, field: str, items: Sequence[Item], prepare: Callable[[Item], Any]
) -> list[Any]:
    """Prepare all items one after the other, in a thread; None: here, where that is quick. Errors as `call_each`."""

    def one(item: Item) -> Any:
        try:
            return prepare(item)
        except InputError as exc:
            return exc

    def every() -> list[Any]:
        return [one(item) for item in items]

    results = every() if pool is None else await asyncio.get_running_loop().run_in_executor(pool, every)
    _raise_violations(field, results)
    return results


def _raise_violations(field: str, results: Sequence[Any]) -> None:
    """Raise InvalidItemsError over all InputErrors; any other exception is a bug and goes up as it is."""
    violations = []
    for index, result in enumerate(results):
        if isinstance(result, InputError):
            violations.append(Violation(field.format(index), result.reason, str(result)))
        elif isinstance(result, BaseException):
            raise result
    if violations:
        raise InvalidItemsError(violations, item_count=len(results))
