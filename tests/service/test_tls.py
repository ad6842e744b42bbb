"""TLS and mTLS with real certificates, on gRPC and on the metrics."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.client import Client, Credentials, PredictionError, UsageError
from service.client.health import is_serving
from service.errors import StartError
from service.server import Server
from service.settings import Settings
from tests.service.conftest import serving
from tests.service.test_access import TOKENS, Role, tokens

__all__ = ["tokens"]


@dataclass(frozen=True)
class Authority:
    """A certificate authority, and what it signed: one certificate for a server, one for a client."""

    folder: Path

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def server(self) -> dict[str, Path]:
        return {"tls_certificate": self.folder / "server.pem", "tls_key": self.folder / "server.key"}

    @property
    def client(self) -> dict[str, Path]:
        return {"certificate": self.folder / "client.pem", "key": self.folder / "client.key"}


def authority(folder: Path) -> Authority:
    """Make one, with the openssl command."""
    if shutil.which("openssl") is None:
        pytest.skip("the openssl command is not installed (Debian: apt-get install openssl)")
    folder.mkdir()
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", "req", "-x509", *curve, *arguments], cwd=folder, check=True, capture_output=True)

    openssl("-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem")
    for name in ("server", "client"):
        signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE"]
        names = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1,DNS:models.example"]
        openssl(*signed, *names, "-keyout", f"{name}.key", "-out", f"{name}.pem")
    return Authority(folder)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("tls") / "theirs")


def ask(address: str, **credentials: Path | str) -> str:
    """The best label for a text; or the reason why there is none."""
    try:
        with Client(address, timeout_seconds=10, credentials=Credentials(**credentials)) as client:  # type: ignore[arg-type]
            return client.classify_texts("moods", ["good"])[0].classes[0].label
    except PredictionError as exc:
        return exc.reason


def scrape(url: str, ca: Path, client: Authority | None = None) -> str:
    context = ssl.create_default_context(cafile=str(ca))
    if client:
        context.load_cert_chain(client.client["certificate"], client.client["key"])
    with urllib.request.urlopen(url, timeout=5, context=context) as response:
        text: str = response.read().decode()
    return text


async def test_tls(repository: Path, ours: Authority, theirs: Authority) -> None:
    async with serving(repository, **ours.server) as calls:
        address, url = calls.server.address, calls.server.metrics_url
        assert await asyncio.to_thread(ask, address, tls_ca=ours.ca) == "glad"
        assert await asyncio.to_thread(ask, address) == "SERVER_UNREACHABLE"
        assert await asyncio.to_thread(ask, address, tls_ca=theirs.ca) == "SERVER_UNREACHABLE"
        assert await asyncio.to_thread(ask, address, tls_ca=ours.ca, server_name="models.example") == "glad"
        assert await asyncio.to_thread(ask, address, tls_ca=ours.ca, server_name="other.example") != "glad"
        assert await asyncio.to_thread(is_serving, address, credentials=Credentials(tls_ca=ours.ca))
        assert not await asyncio.to_thread(is_serving, address, timeout_seconds=1)
        assert url.startswith("https://")
        assert "menagerie_build_info" in await asyncio.to_thread(scrape, url, ours.ca)
        with pytest.raises(urllib.error.URLError, match="certificate verify failed"):
            await asyncio.to_thread(scrape, url, theirs.ca)


async def test_mutual_tls(repository: Path, ours: Authority, theirs: Authority) -> None:
    async with serving(repository, **ours.server, tls_client_ca=ours.ca) as calls:
        address, url = calls.server.address, calls.server.metrics_url
        assert await asyncio.to_thread(ask, address, tls_ca=ours.ca, **ours.client) == "glad"
        assert await asyncio.to_thread(ask, address, tls_ca=ours.ca) == "SERVER_UNREACHABLE"
        assert await asyncio.to_thread(ask, address, tls_ca=ours.ca, **theirs.client) == "SERVER_UNREACHABLE"
        assert "menagerie_build_info" in await asyncio.to_thread(scrape, url, ours.ca, ours)
        with pytest.raises(OSError):  # noqa: PT011  # reset or alert, whichever comes first
            await asyncio.to_thread(scrape, url, ours.ca)


async def test_a_new_certificate_is_taken_and_a_broken_one_is_not(
    repository: Path, ours: Authority, theirs: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = {"tls_certificate": tmp_path / "tls.crt", "tls_key": tmp_path / "tls.key"}

    def install(authority: Authority, *names: str) -> None:
        for name in names:
            shutil.copy(authority.server[name], files[name].with_suffix(".new"))
            files[name].with_suffix(".new").replace(files[name])

    install(ours, *files)
    async with serving(repository, **files) as calls:
        address, url = calls.server.address, calls.server.metrics_url
        assert await asyncio.to_thread(ask, address, tls_ca=ours.ca) == "glad"
        install(theirs, "tls_certificate")  # the key is still the old one
        assert await asyncio.to_thread(ask, address, tls_ca=ours.ca) == "glad"
        assert "the certificate from before stays" in caplog.text
        install(theirs, "tls_key")
        assert await asyncio.to_thread(ask, address, tls_ca=theirs.ca) == "glad"
        assert await asyncio.to_thread(ask, address, tls_ca=ours.ca) == "SERVER_UNREACHABLE"
        assert "menagerie_build_info" in await asyncio.to_thread(scrape, url, theirs.ca)


async def test_a_broken_authority_leaves_rpcs_and_metrics_as_they_were(
    repository: Path, ours: Authority, theirs: Authority, tmp_path: Path
) -> None:
    files = {"tls_certificate": tmp_path / "tls.crt", "tls_key": tmp_path / "tls.key", "tls_client_ca": tmp_path / "ca"}
    for name, source in (ours.server | {"tls_client_ca": ours.ca}).items():
        shutil.copy(source, files[name])
    async with serving(repository, **files) as calls:
        for name, source in theirs.server.items():
            shutil.copy(source, files[name])
        files["tls_client_ca"].write_text("not yet written")
        address, url = calls.server.address, calls.server.metrics_url
        assert await asyncio.to_thread(ask, address, tls_ca=ours.ca, **ours.client) == "glad"
        assert "menagerie_build_info" in await asyncio.to_thread(scrape, url, ours.ca, ours)


async def test_a_client_that_says_nothing_keeps_nobody_from_the_metrics(repository: Path, ours: Authority) -> None:
    async with serving(repository, **ours.server) as calls:
        _, silent = await asyncio.open_connection("127.0.0.1", calls.server.metrics_port)
        assert "menagerie_build_info" in await asyncio.to_thread(scrape, calls.server.metrics_url, ours.ca)
        silent.close()
        await silent.wait_closed()


async def test_the_command_shows_token_and_certificate(repository: Path, ours: Authority, tokens: Path) -> None:
    command = [sys.executable, "-m", "service.client", "--model", "moods", "--text", "good", "--json"]
    async with serving(repository, **ours.server, tls_client_ca=ours.ca, tokens=tokens) as calls:
        environment = os.environ | {
            "MENAGERIE_ADDRESS": calls.server.address,
            "MENAGERIE_TLS_CA": str(ours.ca),
            "MENAGERIE_CLIENT_CERTIFICATE": str(ours.client["certificate"]),
            "MENAGERIE_CLIENT_KEY": str(ours.client["key"]),
        }

        def run(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
            every = environment | more
            return subprocess.run(words, env=every, capture_output=True, text=True, timeout=30, check=False)

        done = await asyncio.to_thread(run, *command, MENAGERIE_TOKEN=TOKENS[Role.PREDICT])
        assert done.returncode == 0, done.stderr
        assert '"label": "glad"' in done.stdout
        done = await asyncio.to_thread(run, *command)
        assert done.returncode == 1
        assert '"reason": "TOKEN_MISSING"' in done.stdout + done.stderr
        health = [sys.executable, "-m", "service.client.health", calls.server.address]
        assert (await asyncio.to_thread(run, *health)).returncode == 0


def test_what_is_no_certificate_is_named(ours: Authority, theirs: Authority, tmp_path: Path) -> None:
    def refused(**settings: Path) -> str:
        with pytest.raises(StartError) as caught:
            Server(Settings(device="cpu", **settings))  # type: ignore[arg-type]
        return str(caught.value)

    key = theirs.server["tls_key"]
    text = refused(tls_certificate=ours.server["tls_certificate"], tls_key=key)
    assert str(key) in text
    assert "KEY_VALUES_MISMATCH" in text
    assert "cannot be read" in refused(tls_certificate=tmp_path / "nowhere", tls_key=key)
    assert "--tls-client-ca" in refused(**ours.server, tls_client_ca=key)


def test_half_a_certificate_is_named_by_the_client(ours: Authority) -> None:
    with pytest.raises(UsageError, match="go together"):
        Client(credentials=Credentials(certificate=ours.client["certificate"]))
    with pytest.raises(UsageError, match="nowhere cannot be read"):
        Client(credentials=Credentials(tls_ca=Path("nowhere")))
