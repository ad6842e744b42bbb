"""Both transports do what `grpc.aio` promises, seen from real channels."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from service.transport.handlers import Metadata
from service.transport.opening import Transport, open_transport

OPTIONS = [("grpc.max_receive_message_length", 1000), ("grpc.so_reuseport", 0)]


class Servicer:
    """Handlers that do one thing each, and remember how they ended."""

    def __init__(self) -> None:
        self.started, self.cancelled = asyncio.Event(), asyncio.Event()
        self.go = asyncio.Event()
        self.remaining: float | None = None

    async def echo(self, data: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("peer", context.peer()), ("raw-bin", b"\0\xff")))
        return dict(context.invocation_metadata()).get("prefix", "").encode() + data

    async def refuse(self, data: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too much ü", (("detail-bin", data),))
        raise AssertionError("abort raises")

    async def fail(self, data: bytes, context: Any) -> bytes:
        raise ValueError("secret")

    async def wait(self, data: bytes, context: Any) -> bytes:
        self.remaining = context.time_remaining()
        self.started.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return data

    async def count(self, data: bytes, context: Any) -> AsyncIterator[bytes]:
        for number in range(int(data)):
            yield b"%d" % number

    async def double(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for data in requests:
            if data == b"stop":
                await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as asked")
            yield 2 * data

    async def hang(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        yield b"first"
        yield await self.wait(b"", context)

    def route(self, method: str, metadata: Metadata) -> Any:
        """The handler."""
        kinds: dict[str, Callable[..., Any]] = {
            **dict.fromkeys(("echo", "refuse", "fail", "wait"), grpc.unary_unary_rpc_method_handler),
            "count": grpc.unary_stream_rpc_method_handler,
            **dict.fromkeys(("double", "hang"), grpc.stream_stream_rpc_method_handler),
        }
        name = method.removeprefix("/t.T/")
        return kinds[name](getattr(self, name), None, bytes) if name in kinds else None


class Bench:
    """A server of one servicer, and a channel to it."""

    def __init__(self, kind: str) -> None:
        self.servicer = Servicer()
        self.server: Transport = open_transport(kind, self.servicer.route, OPTIONS)
        port = self.server.add_port("127.0.0.1:0")
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")

    def unary(self, name: str, data: bytes = b"data", **kwargs: Any) -> Any:
        """Call an RPC without streams."""
        return self.channel.unary_unary(f"/t.T/{name}")(data, timeout=kwargs.pop("timeout", 20), **kwargs)

    def stream(self, name: str) -> Any:
        """Call an RPC of two streams."""
        return self.channel.stream_stream(f"/t.T/{name}")(timeout=20)


@pytest.fixture(params=["core", "aio"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    bench = Bench(request.param)
    await bench.server.start()
    yield bench
    await bench.channel.close()
    await bench.server.stop(0)


async def code_of(call: Any) -> tuple[grpc.StatusCode, str]:
    return await call.code(), await call.details()


async def test_unary_calls_with_metadata_both_ways(bench: Bench) -> None:
    call = bench.unary("echo", metadata=(("prefix", "say "),))
    assert await call == b"say data"
    trailing = dict(await call.trailing_metadata())
    assert trailing["raw-bin"] == b"\0\xff"
    assert trailing["peer"].startswith("ipv4:127.0.0.1:")


async def test_an_empty_message_is_a_message(bench: Bench) -> None:
    assert await bench.unary("echo", b"") == b""


async def test_hundreds_of_calls_at_a_time(bench: Bench) -> None:
    answers = await asyncio.gather(*(bench.unary("echo", b"%d" % number) for number in range(300)))
    assert answers == [b"%d" % number for number in range(300)]


async def test_an_abort_has_its_code_text_and_metadata(bench: Bench) -> None:
    call = bench.unary("refuse", b"\1\2")
    assert await code_of(call) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "too much ü")
    assert dict(await call.trailing_metadata())["detail-bin"] == b"\1\2"


async def test_what_goes_wrong_unexpectedly_is_no_secret_of_the_client(bench: Bench) -> None:
    code, details = await code_of(bench.unary("fail"))
    assert code is grpc.StatusCode.UNKNOWN
    if bench.server.__class__.__name__ == "CoreServer":
        assert "secret" not in details


async def test_a_method_that_is_not_there(bench: Bench) -> None:
    assert (await code_of(bench.unary("nothing")))[0] is grpc.StatusCode.UNIMPLEMENTED


async def test_a_message_beyond_the_limit(bench: Bench) -> None:
    assert (await code_of(bench.unary("echo", bytes(2000))))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await bench.unary("echo", bytes(900)) == bytes(900)


async def test_the_deadline_reaches_the_handler_and_ends_it(bench: Bench) -> None:
    call = bench.unary("wait", timeout=0.3)
    assert (await code_of(call))[0] is grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(bench.servicer.cancelled.wait(), 5)
    assert bench.servicer.remaining is not None
    assert 0 < bench.servicer.remaining < 0.31, "gRPC rounds up"


async def test_without_a_deadline_nothing_remains_to_be_told(bench: Bench) -> None:
    bench.servicer.go.set()
    assert await bench.channel.unary_unary("/t.T/wait")(b"x") == b"x"
    assert bench.servicer.remaining is None


async def test_a_caller_who_leaves_cancels_the_handler(bench: Bench) -> None:
    call = bench.unary("wait")
    await asyncio.wait_for(bench.servicer.started.wait(), 5)
    call.cancel()
    await asyncio.wait_for(bench.servicer.cancelled.wait(), 5)
    assert await bench.unary("echo") == b"data"


async def test_a_stream_of_answers(bench: Bench) -> None:
    call = bench.channel.unary_stream("/t.T/count")(b"50", timeout=20)
    assert [int(data) async for data in call] == list(range(50))
    assert (await code_of(call))[0] is grpc.StatusCode.OK


async def test_streams_both_ways_turn_by_turn(bench: Bench) -> None:
    call = bench.stream("double")
    for data in (b"a", b"", b"c"):
        await call.write(data)
        assert await call.read() == 2 * data
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert (await code_of(call))[0] is grpc.StatusCode.OK


async def test_a_stream_that_is_aborted(bench: Bench) -> None:
    call = bench.stream("double")
    await call.write(b"a")
    assert await call.read() == b"aa"
    await call.write(b"stop")
    assert await code_of(call) == (grpc.StatusCode.FAILED_PRECONDITION, "as asked")


async def test_a_caller_who_leaves_a_stream_cancels_the_handler(bench: Bench) -> None:
    call = bench.stream("hang")
    assert await call.read() == b"first"
    await asyncio.wait_for(bench.servicer.started.wait(), 5)
    call.cancel()
    await asyncio.wait_for(bench.servicer.cancelled.wait(), 5)


async def test_a_stop_waits_for_its_grace_and_then_cancels(bench: Bench) -> None:
    served, cut = bench.unary("wait"), bench.unary("wait")
    await asyncio.wait_for(bench.servicer.started.wait(), 5)
    stop = asyncio.create_task(bench.server.stop(0.3))
    await asyncio.sleep(0.1)
    assert not stop.done()
    await asyncio.wait_for(stop, 5)
    assert {(await code_of(call))[0] for call in (served, cut)} <= {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNAVAILABLE,
    }
    await bench.server.stop(0)  # once more does no harm


async def test_calls_that_end_within_the_grace_are_answered(bench: Bench) -> None:
    call = bench.unary("wait")
    await asyncio.wait_for(bench.servicer.started.wait(), 5)
    stop = asyncio.create_task(bench.server.stop(10))
    await asyncio.sleep(0.05)
    bench.servicer.go.set()
    assert await call == b"data"
    await asyncio.wait_for(stop, 5)


@pytest.mark.parametrize("kind", ["core", "aio"])
async def test_a_server_that_never_started_stops(kind: str) -> None:
    bench = Bench(kind)
    await bench.server.stop(0)
    await bench.channel.close()


async def test_a_grpcio_that_has_changed_inside_is_served_by_its_public_part(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from grpc._cython import cygrpc

    monkeypatch.delattr(cygrpc, "CompletionQueue")
    bench = Bench("auto")
    await bench.server.start()
    assert await bench.unary("echo") == b"data"
    assert "--transport aio" in caplog.text
    await bench.channel.close()
    await bench.server.stop(0)
