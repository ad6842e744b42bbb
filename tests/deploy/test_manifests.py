"""The files for compose, Kubernetes and Prometheus are valid, and name what the server and the image really have."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

import kubernetes_validate
import pytest
import yaml

from service.flags import parse_settings
from service.settings import Settings
from tests.conftest import ROOT

DEPLOY = ROOT / "deploy"
KUBERNETES_VERSION = "1.33"


def kubernetes_objects() -> list[dict[str, Any]]:
    files = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    return [item for file in files for item in yaml.safe_load_all(file.read_text())]


@pytest.mark.parametrize("manifest", kubernetes_objects(), ids=lambda item: item["kind"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_kubernetes_objects_fit_the_published_schema(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, KUBERNETES_VERSION, strict=True)


def test_probes_and_services_name_the_ports_of_the_server() -> None:
    deployment, service = kubernetes_objects()
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    assert ports == {"grpc": defaults["port"], "metrics": defaults["metrics_port"]}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["grpc"]["port"] == ports["grpc"]
    assert {port["targetPort"] for port in service["spec"]["ports"]} == set(ports)
    grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > defaults["drain_seconds"]


def test_the_flags_of_the_container_are_those_of_the_server() -> None:
    entry = json.loads(re.search(r"^ENTRYPOINT (.+)$", (ROOT / "Dockerfile").read_text(), re.M)[1])  # type: ignore[index]
    (container,) = kubernetes_objects()[0]["spec"]["template"]["spec"]["containers"]
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["menagerie"]
    for flags in (container["args"], compose["command"]):
        settings = parse_settings([*entry[1:], *flags])
        assert (settings.host, settings.insecure) == ("0.0.0.0", True)


def test_compose_builds_this_repository_and_outlasts_the_drain() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    server = compose["services"]["menagerie"]
    assert (DEPLOY / server["build"] / "Dockerfile").is_file()
    assert int(server["stop_grace_period"].rstrip("s")) > Settings.model_fields["drain_seconds"].default
    exposed = set(re.findall(r"\d+", re.search(r"^EXPOSE (.+)$", (ROOT / "Dockerfile").read_text(), re.M)[1]))  # type: ignore[index]
    assert {port.rpartition(":")[2] for port in server["ports"]} == exposed
    mounted = [volume.split(":")[0] for volume in compose["services"]["prometheus"]["volumes"]]
    assert mounted == ["./prometheus.yaml", "./alerts.yaml"]
    assert all((DEPLOY / file).is_file() for file in mounted)


def test_prometheus_reads_its_configuration() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    command = [promtool, "check", "config", DEPLOY / "prometheus.yaml"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
