"""Backbones to choose from, and what was published about their weights; made by `training.recipes.catalog`."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

CATALOG_FILE = Path(__file__).with_name("catalog.csv")


@dataclass(frozen=True)
class CatalogEntry:
    """A network with a set of weights."""

    backbone: str
    """What `--backbone` takes."""
    weights: str
    """The library's name of the weights; `--weights pretrained` takes the ones that are marked as default."""
    default: bool
    family: str
    top1: float
    """Published accuracy on the validation part of ImageNet-1K, percent."""
    measured_px: int
    """Height and width of the images that it was measured with."""
    input_px: int
    """Height and width that the library gives for training, and that an export takes."""
    parameters_millions: float
    gflops: float
    """Multiply-adds of one image of `measured_px`, in 1e9."""
    licence: str
    """Of the weights."""


def read_catalog(path: Path = CATALOG_FILE) -> list[CatalogEntry]:
    """All entries, in the order of the file."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            CatalogEntry(
                backbone=row["backbone"],
                weights=row["weights"],
                default=row["default"] == "yes",
                family=row["family"],
                top1=float(row["top1"]),
                measured_px=int(row["measured_px"]),
                input_px=int(row["input_px"]),
                parameters_millions=float(row["parameters_millions"]),
                gflops=float(row["gflops"]),
                licence=row["licence"],
            )
            for row in csv.DictReader(file)
        ]


def write_catalog(entries: Iterable[CatalogEntry], path: Path = CATALOG_FILE) -> None:
    """Write the file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in fields(CatalogEntry))
        for entry in entries:
            values = [getattr(entry, field.name) for field in fields(CatalogEntry)]
            writer.writerow(("no", "yes")[value] if isinstance(value, bool) else value for value in values)


def find_entries(
    entries: Iterable[CatalogEntry], words: Sequence[str] = (), max_gflops: float | None = None
) -> list[CatalogEntry]:
    """The entries that have every word in their name, family, weights or licence, the best first."""
    found = [
        entry
        for entry in entries
        if all(word.lower() in _searched(entry) for word in words)
        and (max_gflops is None or entry.gflops <= max_gflops)
    ]
    return sorted(found, key=lambda entry: -entry.top1)


def _searched(entry: CatalogEntry) -> str:
    return " ".join((entry.backbone, entry.family, entry.weights, entry.licence)).lower()
