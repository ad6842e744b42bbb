"""`python -m zoo catalog`: published numbers of backbones."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from zoo.__main__ import app
from zoo.catalog import CatalogEntry, find_entries, read_catalog


@pytest.fixture(scope="module")
def entries() -> list[CatalogEntry]:
    return read_catalog()


@pytest.mark.parametrize(
    ("backbone", "weights", "top1"),
    [
        ("vgg16", "IMAGENET1K_V1", 71.592),
        ("vgg16_bn", "IMAGENET1K_V1", 73.360),
        ("googlenet", "IMAGENET1K_V1", 69.778),
        ("inception_v3", "IMAGENET1K_V1", 77.294),
        ("resnet18", "IMAGENET1K_V1", 69.758),
        ("resnet34", "IMAGENET1K_V1", 73.314),
        ("resnet50", "IMAGENET1K_V1", 76.130),
        ("resnet50", "IMAGENET1K_V2", 80.858),
        ("timm/inception_v4.tf_in1k", "tf_in1k", 80.156),
    ],
)
def test_published_accuracies(entries: list[CatalogEntry], backbone: str, weights: str, top1: float) -> None:
    (found,) = [entry for entry in entries if (entry.backbone, entry.weights) == (backbone, weights)]
    assert found.top1 == top1
    assert found.licence != "unknown"


def test_the_families_that_people_ask_for_are_there(entries: list[CatalogEntry]) -> None:
    names = {entry.backbone.removeprefix("timm/").partition(".")[0] for entry in entries}
    assert names >= {f"vgg{depth}{suffix}" for depth in (11, 13, 16, 19) for suffix in ("", "_bn")}
    assert names >= {f"resnet{depth}" for depth in (18, 34, 50, 101, 152)}
    assert names >= {"googlenet", "inception_v3", "inception_v4", "inception_resnet_v2", "resnetv2_50"}
    assert names >= {"wide_resnet50_2", "resnext50_32x4d", "mobilenet_v2", "mobilenet_v3_large", "squeezenet1_1"}
    assert all(entry.default for entry in entries if entry.backbone.startswith("timm/"))
    assert all(50 < entry.top1 < 95 and entry.parameters_millions > 1 and entry.gflops > 0 for entry in entries)


def test_words_and_cost_narrow_the_list(entries: list[CatalogEntry]) -> None:
    small = find_entries(entries, ["mobilenet"], max_gflops=0.3)
    assert small
    assert all("mobilenet" in entry.family and entry.gflops <= 0.3 for entry in small)
    assert [entry.top1 for entry in small] == sorted((entry.top1 for entry in small), reverse=True)


def test_the_command() -> None:
    result = CliRunner().invoke(app, ["catalog", "resnet18"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "69.758" in result.stdout
    rows = json.loads(CliRunner().invoke(app, ["catalog", "squeezenet", "--json"]).stdout)
    assert {row["backbone"] for row in rows} == {"squeezenet1_0", "squeezenet1_1"}
    assert "no backbone that is listed fits" in CliRunner().invoke(app, ["catalog", "nothingness"]).stdout
