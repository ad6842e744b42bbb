"""Who may call what: every RPC of the running server demands its role, and nothing answers without one."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from service.errors import ServiceError, StartError
from service.security.access import ROLES, Gate
from service.security.tokens import LOOK_SECONDS, Role, TokenFile, read_tokens
from tests.service.calls import Calls, Failure, failure, read_failure
from tests.service.conftest import Serve

TOKENS = {Role.PREDICT: "the-token-to-predict", Role.READ: "the-token-to-read", Role.ADMIN: "the-token-of-admins"}


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    """A file with one token for each role; the admins' is hashed."""
    digest = hashlib.sha256(TOKENS[Role.ADMIN].encode()).hexdigest()
    lines = ["# who", f"shop predict {TOKENS[Role.PREDICT]}", f"desk read {TOKENS[Role.READ]}", "",
             f"operations admin sha256:{digest}"]  # fmt: skip
    file = tmp_path / "tokens"
    file.write_text("\n".join(lines))
    return file


def bearer(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")]


async def outcome(calls: Calls, method: str, token: str = "") -> Failure | None:
    """What an empty message gets: a failure, or None for an answer. On the wire every kind of RPC looks the same."""
    call = calls.channel.unary_stream(method)(b"", metadata=bearer(token) if token else None)
    try:
        await call.read()
    except grpc.aio.AioRpcError as exc:
        return read_failure(exc)
    if call.done() and await call.code() is not grpc.StatusCode.OK:
        code, text, trailing = await call.code(), await call.details(), await call.trailing_metadata()
        return read_failure(grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, text))
    call.cancel()
    return None


async def methods_of(calls: Calls, token: str) -> list[str]:
    """Every RPC of the server, asked of its reflection."""
    stub = reflection_pb2_grpc.ServerReflectionStub(calls.channel)

    async def ask(**request: Any) -> Any:
        stream = stub.ServerReflectionInfo(metadata=bearer(token))
        await stream.write(reflection_pb2.ServerReflectionRequest(**request))
        answer = await stream.read()
        stream.cancel()
        return answer

    found = []
    for service in (await ask(list_services="")).list_services_response.service:
        answer = await ask(file_containing_symbol=service.name)
        for data in answer.file_descriptor_response.file_descriptor_proto:
            file = FileDescriptorProto.FromString(data)
            for described in file.service:
                if f"{file.package}.{described.name}" == service.name:
                    found += [f"/{service.name}/{method.name}" for method in described.method]
    return found


async def test_every_rpc_demands_its_role(serve: Serve, tokens: Path) -> None:
    calls = await serve(tokens=tokens, admin=True, public_health=False)
    methods = await methods_of(calls, TOKENS[Role.READ])
    assert set(methods) == ROLES.keys(), "an RPC without a role, or a role without its RPC"
    for method in methods:
        nobody = await outcome(calls, method)
        assert nobody
        assert (nobody.code, nobody.info.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING"), method
        stranger = await outcome(calls, method, "a-token-that-is-unknown")
        assert stranger
        assert (stranger.code, stranger.info.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_UNKNOWN"), method
        for role, token in TOKENS.items():
            got = await outcome(calls, method, token)
            denied = got is not None and got.code is grpc.StatusCode.PERMISSION_DENIED
            assert denied == (role is not ROLES[method]), (method, role)
            if got and denied:
                assert got.info.reason == "ROLE_MISSING"
                assert got.info.metadata["role"] == ROLES[method]


async def test_without_tokens_everything_answers_but_what_changes_the_server(calls: Calls) -> None:
    for method in await methods_of(calls, "none is asked for"):
        role = ROLES[method]
        got = await outcome(calls, method)
        reason = got.info.reason if got else ""
        disabled = role is Role.ADMIN and "SharedMemory" not in method  # which has a setting of its own
        assert (reason == "ADMIN_DISABLED") == disabled, method
        if got and disabled:
            assert got.code is grpc.StatusCode.PERMISSION_DENIED
            assert "--admin" in got.message


async def test_rpcs_that_do_not_exist(serve: Serve, tokens: Path) -> None:
    calls = await serve(tokens=tokens)
    for number in range(3):
        got = await outcome(calls, f"/menagerie.v1.PredictionService/Conjure{number}")
        assert got
        assert got.code is grpc.StatusCode.UNAUTHENTICATED
    # Names that callers make up are no labels.
    assert await calls.metric("menagerie_errors_total", method="unknown", reason="TOKEN_MISSING") == 3
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await calls.channel.unary_unary("/no.Such/Thing")(b"", metadata=bearer(TOKENS[Role.READ]))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_health_is_open_to_probes_and_reflection_is_not(serve: Serve, tokens: Path) -> None:
    calls = await serve(tokens=tokens)
    assert await calls.status() == "SERVING"
    for name in ("ServerLive", "ServerReady"):
        assert await outcome(calls, f"/inference.GRPCInferenceService/{name}") is None
    reflection = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    got = await outcome(calls, reflection)
    assert got
    assert got.code is grpc.StatusCode.UNAUTHENTICATED
    public = await serve(tokens=tokens, public_reflection=True)
    assert await outcome(public, reflection) is None


@pytest.mark.parametrize(
    "metadata",
    [
        [("authorization", TOKENS[Role.PREDICT])],
        [("authorization", f"Basic {TOKENS[Role.PREDICT]}")],
        [("authorization", "Bearer ")],
        [*bearer(TOKENS[Role.PREDICT]), *bearer("another-token-of-some-length")],
    ],
)
async def test_what_is_no_bearer_token(serve: Serve, tokens: Path, metadata: list[tuple[str, str]]) -> None:
    calls = await serve(tokens=tokens)
    got = await failure(calls.channel.unary_unary("/menagerie.v1.PredictionService/Forecast")(b"", metadata=metadata))
    assert got.info.reason == "TOKEN_MISSING"


async def test_a_refusal_says_nothing_of_the_token(
    serve: Serve, tokens: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calls = await serve(tokens=tokens)
    with caplog.at_level(logging.DEBUG):
        await outcome(calls, "/menagerie.v1.PredictionService/Forecast", "hunter2-hunter2-hunter2")
        await outcome(calls, "/menagerie.v1.PredictionService/Forecast", TOKENS[Role.READ])
    assert "TOKEN_UNKNOWN" in caplog.text
    assert "ROLE_MISSING" in caplog.text
    assert "hunter2" not in caplog.text
    assert TOKENS[Role.READ] not in caplog.text


def test_new_tokens_are_taken_and_broken_ones_are_not(tokens: Path, caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    file = TokenFile(tokens, clock=lambda: now)
    gate = Gate(file, admin=False)
    list_models = "/menagerie.v1.ModelService/ListModels"
    assert gate.check(list_models, f"Bearer {TOKENS[Role.READ]}") == "desk"

    replacement = tokens.with_name("new")
    replacement.write_text("night read another-token-of-some-length")
    replacement.replace(tokens)
    now += LOOK_SECONDS
    assert gate.check(list_models, "bearer another-token-of-some-length") == "night"
    with pytest.raises(ServiceError, match="unknown"):
        gate.check(list_models, f"Bearer {TOKENS[Role.READ]}")

    tokens.write_text("half a li")
    now += LOOK_SECONDS
    assert gate.check(list_models, "Bearer another-token-of-some-length") == "night"
    assert "the tokens from before stay" in caplog.text
    tokens.unlink()
    now += LOOK_SECONDS
    assert gate.check(list_models, "Bearer another-token-of-some-length") == "night"


def test_json_is_read_too(tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    file.write_text(json.dumps([{"name": "shop", "roles": ["predict", "read"], "token": "0123456789abcdef"}]))
    (token,) = read_tokens(file)
    assert token.name == "shop"
    assert token.roles == {Role.PREDICT, Role.READ}
    assert token.digest == hashlib.sha256(b"0123456789abcdef").digest()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no tokens"),
        ("shop predict", "line 1 has 2 words; write NAME ROLE"),
        ("# a\nshop master 0123456789abcdef", "line 2: unknown role 'master'; there are predict, read, admin"),
        ("shop predict short-secret", "shorter than 16 characters"),
        ("shop predict sha256:abc", "64 hexadecimal digits"),
        ("sh/op predict 0123456789abcdef", "the name 'sh/op'"),
        ("a predict 0123456789abcdef\na read 0123456789abcdeg", "the name a is there twice"),
        ("[{]", "line 1 is not JSON"),
        ('[{"name": "a"}]', "entry 1 needs name, roles and token"),
        ('[{"name": "a", "roles": "read", "token": "0123456789abcdef"}]', "roles is a list"),
        ('[{"name": "a", "roles": [], "token": "0123456789abcdef"}]', "a has no role"),
    ],
)
def test_a_file_that_is_not_right(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "tokens"
    file.write_text(text)
    with pytest.raises(StartError) as caught:
        read_tokens(file)
    assert words in str(caught.value)
    assert "short-secret" not in str(caught.value)
    with pytest.raises(StartError, match="cannot be read"):
        read_tokens(tmp_path / "nowhere")
