"""tritonclient[grpc] as it comes from the package index works with the server: synchronous, asyncio, streaming."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from inference import grpc_service_pb2, model_config_pb2
from tests.conftest import ROOT
from tests.service import plain_graphs
from tests.service.conftest import Serve, add_plain
from tests.service.stateful_graphs import accumulator
from tests.service.test_access import TOKENS, Role, tokens
from tests.service.test_tls import authority
from tests.service.triton_clients.descriptors import describe
from tests.service.triton_layout import ACCUMULATOR, add_model
from zoo import BUNDLED
from zoo.repository import MODEL_FILE

__all__ = ["tokens"]

SCRIPTS = Path(__file__).parent / "triton_clients"
SECONDS = 60


@pytest.fixture(scope="module")
def python() -> str:
    """An interpreter that has tritonclient."""
    chosen = os.environ.get("MENAGERIE_TRITONCLIENT_PYTHON", "")
    if not chosen and importlib.util.find_spec("tritonclient") is None:
        pytest.skip("tritonclient is not installed (MENAGERIE_TRITONCLIENT_PYTHON names an interpreter that has it)")
    return chosen or sys.executable


async def run(python: str, script: str, *arguments: str) -> str:
    """Run a script to its end while the server of this event loop answers it."""
    process = await asyncio.create_subprocess_exec(
        python, SCRIPTS / script, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(SECONDS):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


@pytest.fixture
def models(repository: Path, tmp_path: Path) -> Path:
    """The session's repository and models that only these clients ask for."""
    for folder in repository.iterdir():
        (tmp_path / folder.name).symlink_to(folder)
    for name, data in {
        "single": plain_graphs.affine(),
        "halves": plain_graphs.echo("FP16"),
        "brains": plain_graphs.bfloat16(),
    }.items():
        add_plain(tmp_path, name, data)
    return tmp_path


async def test_the_synchronous_client(serve: Serve, models: Path, python: str) -> None:
    calls = await serve(models, server_name="triton")
    await run(python, "synchronous.py", calls.server.address)


async def test_the_asyncio_client(serve: Serve, python: str) -> None:
    calls = await serve()
    await run(python, "asynchronous.py", calls.server.address)


async def test_the_streaming_client(serve: Serve, python: str) -> None:
    calls = await serve()
    await run(python, "streaming.py", calls.server.address)


async def test_shared_memory(serve: Serve, python: str) -> None:
    calls = await serve(system_shared_memory=True)
    await run(python, "shared_memory.py", calls.server.address)


async def test_loading_and_unloading(serve: Serve, tmp_path: Path, python: str) -> None:
    add_plain(tmp_path, "affine", plain_graphs.affine())
    broken = tmp_path / "broken" / "1" / MODEL_FILE
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"not a model")
    calls = await serve(tmp_path, control_mode="explicit", admin=True)
    await run(python, "repository.py", calls.server.address)


async def test_sequences_of_a_repository_made_for_triton(serve: Serve, tmp_path: Path, python: str) -> None:
    add_model(tmp_path, "accumulate", ACCUMULATOR, accumulator())
    calls = await serve(tmp_path)
    await run(python, "sequences.py", calls.server.address)


async def test_mutual_tls_tokens_and_compression(
    serve: Serve, tmp_path: Path, repository: Path, tokens: Path, python: str
) -> None:
    ours = authority(tmp_path / "tls")
    calls = await serve(repository, tokens=tokens, tls_client_ca=ours.ca, **ours.server)
    await run(python, "secured.py", calls.server.address, str(ours.folder), TOKENS[Role.PREDICT])


async def test_the_example_of_the_documentation(serve: Serve, tmp_path: Path, python: str) -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/protocol.md").read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "sentiment-ko").symlink_to(BUNDLED / "sentiment-ko")
    calls = await serve(tmp_path)
    script = tmp_path / "example.py"
    script.write_text(block.replace("127.0.0.1:8001", calls.server.address))
    assert "positive" in await run(python, str(script))


async def test_names_and_numbers_on_the_wire_are_those_of_the_client(python: str) -> None:
    theirs = _by_name((await run(python, "descriptors.py")).splitlines())
    ours = _by_name(describe([grpc_service_pb2.DESCRIPTOR, model_config_pb2.DESCRIPTOR]))
    common = theirs.keys() & ours.keys()
    assert {name: theirs[name] for name in common} == {name: ours[name] for name in common}
    # Another version of the client may know a few fields more or less, but not other RPCs.
    assert len(theirs.keys() ^ ours.keys()) < 20 < len(common)
    assert {name for name in theirs if name.startswith("rpc ")} == {name for name in ours if name.startswith("rpc ")}


def _by_name(lines: Iterable[str]) -> dict[str, str]:
    return {name: rest for name, _, rest in (line.partition(" = ") for line in lines)}
