"""Where a model comes from, for its card."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from training.settings import RunSettings
from zoo.card import Provenance

_PACKAGES = ("menagerie", "torch", "torchvision", "timm", "lightning", "onnx", "onnxscript", "onnxruntime-gpu", "numpy")


def describe_run(
    settings: RunSettings,
    *,
    recipe: str,
    data: str,
    data_sha256: str,
    split: str,
    run: str,
    test_uses: int,
    weights_source: str = "",
) -> Provenance:
    """Provenance of a model that a run with `settings` trained; see `zoo.card.Provenance` for the fields."""
    return Provenance(
        created=now(),
        recipe=recipe,
        data=data,
        data_sha256=data_sha256,
        split=split,
        test_uses=test_uses,
        run=run,
        weights_source=weights_source,
        seed=settings.seed,
        versions=software_versions(),
        settings=settings.card_settings(),
    )


def class_shares(classes: Sequence[int], labels: Sequence[str]) -> dict[str, float]:
    """The share of each label in the training part, for a card."""
    counts = Counter(classes)
    return {label: counts[index] / len(classes) for index, label in enumerate(labels)}


def now() -> datetime:
    """The time, to the second, in UTC."""
    return datetime.now(UTC).replace(microsecond=0)


def software_versions() -> dict[str, str]:
    """Versions of what makes a model: Python and the installed packages that matter."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
