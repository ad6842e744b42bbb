"""Fonts of drawings: signs that the usual font lacks come from an installed one, or the report says what to install."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.figure import Figure

from training.reports.fonts import best_file
from training.reports.page import Page

SIGNS = "\ubcc4\ub85c"  # Hangul


@pytest.fixture
def few_fonts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with no fonts but those of matplotlib, and those in the folder that is given."""
    own = Path(matplotlib.get_data_path())
    manager = font_manager.fontManager
    monkeypatch.setattr(manager, "ttflist", [font for font in manager.ttflist if Path(font.fname).is_relative_to(own)])
    monkeypatch.setattr("training.reports.fonts.findSystemFonts", lambda: [str(path) for path in tmp_path.glob("*")])
    return tmp_path


def write_font(path: Path, signs: str) -> None:
    """A font whose letters are all the same square."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 700), (700, 700), (700, 0)):
        pen.lineTo(corner)
    pen.closePath()
    names = [".notdef", *(f"sign{ord(sign)}" for sign in signs)]
    builder = FontBuilder(1000)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(sign): f"sign{ord(sign)}" for sign in signs})
    builder.setupGlyf(dict.fromkeys(names, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (800, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)


def page_of(title: str) -> str:
    page = Page("x")
    for _ in range(2):
        figure = Figure()
        axes = figure.subplots()
        axes.plot(np.arange(3))
        axes.set_title(title)
        page.figure(figure)
    page.write(Path("page.html"))
    return Path("page.html").read_text()


def test_boxes_are_told_once_with_what_to_install(few_fonts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(few_fonts)
    text = page_of(f"load {SIGNS}")
    assert text.count(f"drawings show boxes for the signs {SIGNS}, which no installed font has") == 1
    assert "boxes" not in page_of("load, Last, \u0416")


def test_an_installed_font_is_taken_also_if_it_is_newer_than_the_list_of_fonts(
    few_fonts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(few_fonts)
    without = page_of(SIGNS)
    (few_fonts / "broken.ttf").write_bytes(b"no font")
    write_font(few_fonts / "squares.ttf", SIGNS)
    text = page_of(SIGNS)
    assert "boxes" not in text
    assert text != without
    assert Path(best_file(SIGNS)).name == "squares.ttf"
    assert Path(best_file("load")).name == "DejaVuSans.ttf"
