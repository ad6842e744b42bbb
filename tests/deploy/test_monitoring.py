"""A real Prometheus scrapes a real server: its alerts and the dashboard ask for metrics that are there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.client import Client, History, PredictionError
from service.telemetry.gpu import GpuCollector
from service.telemetry.metrics import Metrics
from tests.cards import forecast_card, image_card, text_card
from tests.client.conftest import start_server
from tests.conftest import ROOT, free_port
from tests.graphs import forecast_graph, image_graph, text_graph
from tests.service.test_gpu_metrics import FakeGpu
from zoo.card import Card, ColumnStatistics
from zoo.repository import publish

DEPLOY = ROOT / "deploy"
ALERTS = [rule for group in yaml.safe_load((DEPLOY / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((DEPLOY / "grafana" / "menagerie.json").read_text())
TARGETS = [target for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
QUERIES = [target["expr"].replace("$__rate_interval", "10s").replace("$model", ".*") for target in TARGETS]
LEGENDS = [target["legendFormat"] for target in TARGETS]
SECONDS = 30


def command(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: apt-get install prometheus)")
    return found


class Prometheus:
    """A running Prometheus, and questions to it."""

    def __init__(self, url: str) -> None:
        self._url = url

    def get(self, path: str, **parameters: str) -> Any:
        url = f"{self._url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=5) as response:
            return json.load(response)["data"]

    def ask(self, query: str) -> list[tuple[dict[str, str], float]]:
        """The samples of an instant query."""
        found = self.get("query", query=query)["result"]
        return [(item["metric"], float(item["value"][1])) for item in found]

    def wait_for(self, query: str) -> list[tuple[dict[str, str], float]]:
        """The samples, once there are some."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            try:
                if found := self.ask(query):
                    return found
            except OSError:
                pass  # it is starting
            time.sleep(0.1)
        raise AssertionError(f"no answer to {query}")


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus with the deployment's configuration, on a server that has answered some questions."""
    program, folder, port = command("prometheus"), tmp_path_factory.mktemp("prometheus"), free_port()
    models = folder / "models"
    publish(image_graph(), image_card(), models, "shades")
    publish(text_graph(), text_card(), models, "moods")
    reference = {"load": ColumnStatistics(mean=100, std=10, min=80, max=120)}
    publish(
        forecast_graph(), Card.model_validate(forecast_card().model_dump() | {"reference": reference}), models, "load"
    )
    with start_server(models) as (address, metrics_url):
        configuration = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text())
        configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        configuration["scrape_configs"][0]["static_configs"][0]["targets"] = [urllib.parse.urlsplit(metrics_url).netloc]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
        shutil.copy(DEPLOY / "alerts.yaml", folder)
        flags = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        flags.append(f"--web.listen-address=127.0.0.1:{port}")
        with subprocess.Popen([program, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                found = Prometheus(f"http://127.0.0.1:{port}")
                found.wait_for("menagerie_build_info")
                talk(address)
                found.wait_for('sum(menagerie_errors_total{reason="IMAGE_INVALID"}) == 6')  # the last question
                found.wait_for('rate(menagerie_requests_total{code="OK", model="load"}[10s]) > 0')
                yield found
            finally:
                process.terminate()


def talk(address: str) -> None:
    """Questions of every kind, some of which fail, for longer than two scrapes."""
    with Client(address) as client:
        for _ in range(6):
            client.classify_texts("moods", ["good", "bad", "other"])
            client.forecast("load", [History({"load": [100, 500, 100], "temperature": [1, 2, 3]})])
            for model in "nothing", "shades":
                with pytest.raises(PredictionError):
                    client.classify_images(model, [b"not an image"])
            time.sleep(0.5)


def test_promql(prometheus: Prometheus) -> None:
    assert prometheus.ask("sum(menagerie_models_ready)") == [({}, 3.0)]
    assert prometheus.ask('up{job="menagerie"}')[0][1] == 1
    (answered,) = prometheus.ask('sum(menagerie_requests_total{method=~".*ClassifyTexts", code="OK"})')
    assert answered[1] == 6
    ((_, p99),) = prometheus.ask(
        'histogram_quantile(0.99, sum by (le) (menagerie_phase_seconds_bucket{model="moods", phase="total"}))'
    )
    assert 0 < p99 < 5
    reasons = {labels["reason"] for labels, _ in prometheus.ask("menagerie_errors_total")}
    assert {"MODEL_NOT_FOUND", "IMAGE_INVALID"} <= reasons
    assert prometheus.ask('sum by (label) (menagerie_predicted_classes_total{label="glad"})') == [
        ({"label": "glad"}, 6.0)
    ]
    ((_, share),) = prometheus.ask("sum(menagerie_out_of_range_inputs_total) / sum(menagerie_measured_inputs_total)")
    assert share == 1
    assert prometheus.ask("sum(nv_inference_count)") == [({}, 6.0 * (3 + 1))]


@pytest.mark.parametrize(("query", "legend"), [*zip(QUERIES, LEGENDS, strict=True)])
def test_every_query_of_the_dashboard_is_answered(prometheus: Prometheus, query: str, legend: str) -> None:
    found = prometheus.ask(query)
    quiet = ("menagerie_drift_psi", "menagerie_sequences", "menagerie_dropped", "nv_gpu_")  # nothing to tell here
    assert found or any(name in query for name in quiet), query
    named = set(re.findall(r"{{(\w+)}}", legend))
    assert all(named <= labels.keys() for labels, _ in found)


def test_alerts_are_loaded_and_quiet(prometheus: Prometheus) -> None:
    rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert [rule["name"] for rule in rules] == [alert["alert"] for alert in ALERTS]
    assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
    assert prometheus.ask('ALERTS{alertstate="firing"}') == []


def test_every_alert_fires_where_it_should(tmp_path: Path) -> None:
    promtool = command("promtool")
    cases = tmp_path / "alerts_test.yaml"
    text = (Path(__file__).parent / "alerts_test.yaml").read_text()
    cases.write_text(text.replace("RULES", str(DEPLOY / "alerts.yaml")))
    result = subprocess.run([promtool, "test", "rules", cases], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert all(alert["alert"] in text for alert in ALERTS)
    result = subprocess.run([promtool, "check", "rules", DEPLOY / "alerts.yaml"], capture_output=True, check=False)
    assert result.returncode == 0


def test_alerts_and_dashboard_name_metrics_that_exist() -> None:
    families = [*Metrics().registry.collect(), *GpuCollector(FakeGpu()).collect()]
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
    known = {family.name + suffix for family in families for suffix in suffixes.get(family.type, ("",))}
    asked = [alert["expr"] for alert in ALERTS] + QUERIES
    names = {name for query in asked for name in re.findall(r"\b(?:menagerie|nv|process)_\w+", query)}
    assert names <= known, names - known
    assert len(names) > 20


def test_the_dashboard_is_whole() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    assert all(panel["targets"] and panel["title"] for panel in DASHBOARD["panels"] if panel["type"] != "row")
