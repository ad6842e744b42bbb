"""The section of a report on near-duplicates across the parts."""

from __future__ import annotations

from training.evaluation.classification import ClassificationReport
from training.pipelines.duplicates import ACCURACY_WITHOUT_DUPLICATES, DUPLICATES_FILE, Duplicates
from training.reports.page import Page

_ROWS = 30
_HEADINGS = ("part", "item", "label", "other part", "other item", "label", "similarity")


def add_duplicates(page: Page, duplicates: Duplicates, test: ClassificationReport) -> None:
    """The section, with the first of them; all are in `duplicates.csv`."""
    summary = duplicates.summary()
    note = f"{summary[0].upper()}{summary[1:]}."
    without = duplicates.metrics(test).get(ACCURACY_WITHOUT_DUPLICATES)
    if without is not None:
        note += f" Accuracy on the test part without them: {without:.4f}, with them {test.accuracy:.4f}."
    if len(duplicates.found) > _ROWS:
        note += f" The first {_ROWS}; all {len(duplicates.found)} are in {DUPLICATES_FILE}."
    page.section("Near-duplicates", note)
    if duplicates.found:
        rows = [
            (row.part, *row.item, row.other_part, *row.other, round(row.similarity, 3))
            for row in duplicates.found[:_ROWS]
        ]
        page.table(rows, _HEADINGS)
