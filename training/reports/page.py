"""A report as one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from training.reports.fonts import fitting_fonts
from training.reports.numbers import decimals

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { margin-bottom: 0; } h2 { margin-top: 2.2rem; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; } td, th { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; } img { max-width: 100%; }
figure { display: inline-block; margin: 0 1rem 1rem 0; } figcaption { font-size: 13px; max-width: 12rem; }
.note { color: #555; }
table.shares td { padding: .2rem .6rem; text-align: center; }
table.shares tr:first-child th { writing-mode: vertical-rl; padding: .4rem .2rem; }
"""


class Page:
    """A page that grows section by section; all text is escaped."""

    def __init__(self, title: str, subtitle: str = "") -> None:
        self.title = title
        self._parts = [f"<h1>{escape(title)}</h1>", f'<p class="note">{escape(subtitle)}</p>']
        self._said = set[str]()

    def section(self, title: str, note: str = "") -> None:
        """Begin a section."""
        self._parts.append(f"<h2>{escape(title)}</h2>")
        if note:
            self._parts.append(f'<p class="note">{escape(note)}</p>')

    def table(self, rows: Iterable[Sequence[object]], header: Sequence[str] = ()) -> None:
        """Add a table; numbers are set to the right."""
        head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
        body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
        self._parts.append(f"<table><tr>{head}</tr>{body}</table>" if head else f"<table>{body}</table>")

    def shares(self, counts: NDArray[np.int64], labels: Sequence[str], corner: str) -> None:
        """Add a table of counts, [K, K], each as dark as its share of its row."""
        head = "".join(f"<th>{escape(label)}</th>" for label in labels)
        rows = [f"<tr><th>{escape(corner)}</th>{head}</tr>"]
        for label, row in zip(labels, counts, strict=True):
            cells = "".join(_shaded(int(count), int(count) / max(int(row.sum()), 1)) for count in row)
            rows.append(f"<tr><th>{escape(label)}</th>{cells}</tr>")
        self._parts.append(f'<table class="shares">{"".join(rows)}</table>')

    def figure(self, figure: Figure) -> None:
        """Add a drawing."""
        file = io.BytesIO()
        with fitting_fonts(figure) as fonts:
            figure.savefig(file, format="png", dpi=110, bbox_inches="tight")
        self._parts.append(f'<img alt="" src="{_data(file.getvalue(), "image/png")}">')
        if fonts.advice and fonts.advice not in self._said:
            self._said.add(fonts.advice)
            self._parts.append(f'<p class="note">{escape(fonts.advice)}</p>')

    def picture(self, encoded: bytes, caption: str) -> None:
        """Add a JPEG image with words below it."""
        source = _data(encoded, "image/jpeg")
        self._parts.append(f'<figure><img alt="" src="{source}"><figcaption>{escape(caption)}</figcaption></figure>')

    def write(self, path: Path) -> None:
        """Write the file."""
        head = f'<meta charset="utf-8"><title>{escape(self.title)}</title><style>{_STYLE}</style>'
        body = "\n".join(self._parts)
        html = f'<!doctype html><html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'
        path.write_text(html, encoding="utf-8")


def _cell(value: object) -> str:
    if isinstance(value, int | float):
        return f'<td class="number">{decimals(value) if isinstance(value, float) else value}</td>'
    return f"<td>{escape(str(value))}</td>"


def _shaded(count: int, share: float) -> str:
    colour = "white" if share > 0.5 else "#222"
    return f'<td style="background: rgba(8, 69, 148, {share:.2f}); color: {colour}">{count or ""}</td>'


def _data(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
