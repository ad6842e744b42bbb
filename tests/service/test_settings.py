"""Settings from flags and environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.errors import StartError
from service.flags import parse_settings
from service.settings import Settings
from zoo import BUNDLED


def test_defaults() -> None:
    settings = parse_settings([])
    assert settings.repository == (BUNDLED,)
    assert (settings.host, settings.port, settings.metrics_port) == ("127.0.0.1", 8001, 8002)
    assert settings.decode_threads >= 1
    assert settings.max_message_bytes == 64 * 2**20


def test_flags_can_be_repeated_and_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MENAGERIE_REPOSITORY", "/a:/b")
    monkeypatch.setenv("MENAGERIE_MAX_BATCH_SIZE", "7")
    assert parse_settings([]).repository == (Path("/a"), Path("/b"))
    settings = parse_settings(["--repository", "/c, d", "--repository", "/e", "--max-batch-size", "8"])
    assert settings.repository == (Path("/c, d"), Path("/e"))
    assert settings.max_batch_size == 8


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--port", "x"], "--port 'x': Input should be a valid integer"),
        (["--port", "70000"], "--port '70000': Input should be less than or equal to 65535"),
        (["--device", "gpu"], "--device 'gpu': use auto, cpu, cuda or cuda:N"),
        (["--max-queue-rows", "3"], "max_queue_rows=3 is less than max_items_per_request=256"),
        (["--log-level", "loud"], "--log-level 'loud'"),
        (["--nonsense"], "--nonsense"),
        (["--host", "0.0.0.0"], "--host 0.0.0.0 is open to the network: give --tls-certificate and --tls-key, or say"),
        (["--host", "::"], "--host :: is open to the network"),
        (["--host", "models.example"], "--host models.example is open to the network"),
        (["--tls-certificate", "a.pem"], "--tls-certificate and --tls-key go together"),
        (["--tls-client-ca", "a.pem"], "--tls-client-ca needs --tls-certificate"),
        (["--max-inflight-mib", "1"], "max_inflight_mib=1 is less than max_message_mib=64"),
    ],
)
def test_what_is_not_valid_is_named_with_its_value(flags: list[str], words: str) -> None:
    with pytest.raises(StartError) as caught:
        parse_settings(flags)
    assert words in str(caught.value)


def test_environment_errors_name_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MENAGERIE_DRAIN_SECONDS", "soon")
    with pytest.raises(StartError, match=r"--drain-seconds 'soon'"):
        parse_settings([])


def test_every_field_has_a_help_text() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name


@pytest.mark.parametrize("flags", [["--insecure"], ["--tls-certificate", "a.pem", "--tls-key", "b.pem"]])
def test_the_network_is_open_to_those_who_say_how_it_is_safe(flags: list[str]) -> None:
    assert parse_settings(["--host", "0.0.0.0", *flags]).host == "0.0.0.0"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_the_loopback_needs_no_words(host: str) -> None:
    assert parse_settings(["--host", host]).host == host


def test_switches_are_flags_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MENAGERIE_ADMIN", "true")
    assert parse_settings([]).admin
    assert not parse_settings(["--no-admin"]).admin


def test_help_shows_every_flag_under_a_title(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_settings(["--help"])
    text = capsys.readouterr().out
    assert all(f"--{name.replace('_', '-')}" in text for name in Settings.model_fields)
    assert "security:" in text
    assert "more:" not in text, "a new field has no title in service.flags"
