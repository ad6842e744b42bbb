"""How every report ends, and where it is."""

from __future__ import annotations

from pathlib import Path

from training.reports.page import Page
from training.runs import LEDGER_FILE
from zoo.card import Card

REPORT_FILE = "report.html"


def write_report(page: Page, card: Card, run_folder: Path) -> Path:
    """Add how the model was made, and write the page into the run folder."""
    page.section("How it was made")
    origin = card.provenance
    data = f"{origin.data}, sha256 {origin.data_sha256}"
    looks = f"{origin.test_uses}, this one included; see {LEDGER_FILE} in the folder of runs"
    rows = [("recipe", origin.recipe), ("data", data), ("weights from", origin.weights_source or "none")]
    page.table([*rows, ("looks at the test part", looks)])
    page.table([(name, str(value)) for name, value in origin.settings.items()])
    page.table([(name, version) for name, version in origin.versions.items()])
    path = run_folder / REPORT_FILE
    page.write(path)
    return path
