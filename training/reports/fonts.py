"""Fonts of drawings: where the usual one lacks signs (Hangul, Devanagari, ..), installed ones that have them."""

from __future__ import annotations

from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from warnings import catch_warnings, filterwarnings

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, findSystemFonts, fontManager, get_font
from matplotlib.text import Text

_STANDS_FOR_ALL = "Last Resort"
"""Comes with matplotlib: it has a frame for every sign there is, which nobody can read."""
_TOLD_SIGNS = 12


@dataclass(frozen=True)
class Fonts:
    """What some text can be drawn with."""

    families: tuple[str, ...]
    """For matplotlib, which takes each sign from the first one that has it."""
    files: tuple[str, ...]
    """Of these families."""
    lacking: str
    """Signs that no installed font has."""

    @property
    def advice(self) -> str:
        """A line for people on what is lacking; empty: nothing."""
        if not self.lacking:
            return ""
        signs = self.lacking[:_TOLD_SIGNS] + ".." * (len(self.lacking) > _TOLD_SIGNS)
        return (
            f"drawings show boxes for the signs {signs}, which no installed font has; install one and draw again: on "
            "Debian and Ubuntu fonts-noto-cjk for Chinese, Japanese and Korean, fonts-noto-core for other scripts"
        )


def find_fonts(text: str) -> Fonts:
    """Fonts for a text: the usual one, and as few others as have the rest of its signs."""
    usual = str(findfont(FontProperties()))
    families, files = ["sans-serif"], [usual]
    lacking = _lacking(usual, {sign for sign in text if sign.isprintable()})
    for family, file in _installed() if lacking else ():
        still = _lacking(file, lacking)
        if len(still) < len(lacking):
            families.append(family)
            files.append(file)
            lacking = still
        if not lacking:
            break
    return Fonts(tuple(families), tuple(files), "".join(sign for sign in dict.fromkeys(text) if sign in lacking))


@contextmanager
def fitting_fonts(figure: Figure) -> Iterator[Fonts]:
    """Within, the texts of a figure have fonts with their signs; their advice says what is lacking."""
    for axes in figure.axes:  # makes the texts of their ticks
        axes.get_xticklabels()
        axes.get_yticklabels()
    texts = [text for text in figure.findobj(Text) if isinstance(text, Text)]
    fonts = find_fonts("".join(text.get_text() for text in texts))
    for text in texts:
        text.set_fontfamily(list(fonts.families))
    with catch_warnings():
        filterwarnings("ignore", r"Glyph \d+ .* missing from font")
        yield fonts


def best_file(text: str) -> str:
    """The one font file with most of the signs of a text, for those who draw with a single one."""
    signs = set(text)
    return min(find_fonts(text).files, key=lambda file: len(_lacking(file, signs)))


def _installed() -> Iterator[tuple[str, str]]:
    """Family and file, upright and of usual weight first; also of fonts newer than matplotlib's list of them."""
    for file in sorted(set(findSystemFonts()) - {font.fname for font in fontManager.ttflist}):
        try:
            fontManager.addfont(file)
        except (OSError, RuntimeError):  # no font that FreeType can read
            continue
    fonts = sorted(fontManager.ttflist, key=lambda font: (font.style != "normal", font.weight != 400))
    yield from ((font.name, font.fname) for font in fonts if not font.name.startswith(_STANDS_FOR_ALL))


def _lacking(file: str, signs: Set[str]) -> set[str]:
    """Signs that a font does not have."""
    try:
        font = get_font(file)
    except (OSError, RuntimeError):  # it was removed
        return set(signs)
    return {sign for sign in signs if not font.get_char_index(ord(sign))}
