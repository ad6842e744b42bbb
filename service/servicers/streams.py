"""Streams of requests: answered side by side, each answer in the place of its request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TypeVar

from service.errors import DrainingError

Request = TypeVar("Request")
Response = TypeVar("Response")

WINDOW = 64
"""Requests of one stream that are being answered, or whose answers wait to be sent; the next are not read before."""


async def in_order(
    requests: AsyncIterator[Request],
    answer: Callable[[Request], Awaitable[Response]],
    stopping: asyncio.Event,
    *,
    window: int = WINDOW,
) -> AsyncGenerator[Response, None]:
    """Answer the requests of a stream at the same time, `window` at most; yield the answers in order.

    Args:
        requests: the stream.
        answer: called in the order of the requests, each call in a task of its own; what it raises ends the stream.
        stopping: when it is set no more requests are read; those that were read are answered.
        window: how many requests may be on their way.

    Raises:
        DrainingError: the server is stopping; everything that was read is answered.
        Exception: what reading the stream raised, after the answers to what was read before.
    """
    room = asyncio.Semaphore(window - 1)  # beside the one that was read last: what was read is answered at once
    answers: asyncio.Queue[asyncio.Task[Response] | None] = asyncio.Queue()
    tasks: set[asyncio.Task[Response]] = set()

    async def read() -> None:
        try:
            async for request in requests:
                task = asyncio.ensure_future(answer(request))
                tasks.add(task)
                answers.put_nowait(task)
                await room.acquire()
        finally:
            answers.put_nowait(None)

    reader = asyncio.create_task(read())
    stopper = asyncio.create_task(_cancel_when(stopping, reader))
    try:
        while (task := await answers.get()) is not None:
            response = await task
            tasks.discard(task)
            room.release()
            yield response
        await asyncio.wait([reader])
        if reader.cancelled():
            raise DrainingError
        reader.result()
    finally:
        for job in (reader, stopper, *tasks):
            job.cancel()
        await asyncio.gather(reader, stopper, *tasks, return_exceptions=True)


async def _cancel_when(event: asyncio.Event, task: asyncio.Task[None]) -> None:
    await event.wait()
    task.cancel()
