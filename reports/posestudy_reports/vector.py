"""How matplotlib draws for a report: one style, text as text, the same input giving the same bytes."""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, Final, Literal

Form = Literal["svg", "pdf"]

# Matplotlib measures with a Times-like face it always has; a reader sets the text in the report's own.
MEASURED: Final = "STIXGeneral"
_FAMILY: Final = "'Libertinus Serif', 'STIX Two Text', 'Times New Roman', 'Liberation Serif', serif"
_TEXT: Final = re.compile(r'<text (?P<rest>style="font-size: (?P<size>[\d.]+)px;[^>]*)>(?P<text>[^<]*)</text>')
_EM: Final = 100.0
_MM: Final = 25.4
_CONTROLS: Final = bytes(set(range(32)) - set(b"\t\n\r"))
POINTS_PER_MM: Final = 72 / _MM

COLUMN: Final = 84.0
"""Width of a figure for one column of a page, mm; `wide` is `PAGE`."""
PAGE: Final = 174.0
TITLES: Final = 8.0
TICKS: Final = 7.0
"""Sizes of text in a figure that is printed at its own width, points; nothing is smaller than `NOTES`."""
NOTES: Final = 6.5
GRID: Final = "#e4e4e4"
WIDER: Final = 1.06
"""A reader's face may be wider than the one that is measured, by this factor."""


def draw(width: float, height: float, plot: Callable[[Any], None], form: Form = "svg") -> bytes:
    """A figure of `width` x `height` mm that `plot` fills; SVG (UTF-8) or PDF with its fonts in it."""
    import matplotlib

    style: dict[Any, Any] = {
        "font.family": MEASURED,
        "font.size": 9,
        "svg.fonttype": "none",
        "svg.hashsalt": "posestudy",
        "pdf.fonttype": 42,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": "#555555",
        "axes.linewidth": 0.6,
        "axes.unicode_minus": True,
        "xtick.color": "#333333",
        "ytick.color": "#333333",
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "hatch.linewidth": 0.5,
    }
    with matplotlib.rc_context(style), warnings.catch_warnings():
        # A label in a script this face lacks is measured roughly; the text itself goes into an SVG whole.
        warnings.filterwarnings("ignore", message=r".*[Gg]lyph.*")
        figure = _figure(width / _MM, height / _MM, form)
        plot(figure)
        stream = io.BytesIO()
        dates = {"svg": {"Date": None, "Creator": None}, "pdf": {"CreationDate": None, "Creator": None}}
        figure.savefig(stream, format=form, transparent=True, metadata=dates[form])
    drawn = stream.getvalue()
    # XML has no control characters, which a label may hold all the same.
    return _for_readers(drawn.translate(None, _CONTROLS).decode()).encode() if form == "svg" else drawn


def _for_readers(svg: str) -> str:
    """The SVG in the report's own face; where a reader lacks that, every text keeps the length that was planned."""
    return _TEXT.sub(_with_length, svg).replace(f"'{MEASURED}'", _FAMILY)


def _with_length(found: re.Match[str]) -> str:
    text = html.unescape(found["text"])
    if not text.strip() or not all(ord(letter) in _letters() for letter in text):
        return found[0]  # a script that was measured roughly is better set as it comes
    length = f'textLength="{_advance(text, float(found["size"])):.2f}" lengthAdjust="spacingAndGlyphs"'
    return f"<text {length} {found['rest']}>{found['text']}</text>"


@cache
def _letters() -> frozenset[int]:
    """The letters of the face that is measured."""
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont(MEASURED)).get_charmap())


def _advance(text: str, points: float) -> float:
    return _units(text) * points / _EM


@lru_cache(maxsize=4096)
def _units(text: str) -> float:
    """How wide a line of text is, in units of which a letter's size is `_EM`. A letter the face lacks counts as a
    square, as Chinese ones are."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    known = "".join(letter for letter in text if ord(letter) in _letters())
    prop = FontProperties(family=MEASURED, size=_EM)
    wide = text_to_path.get_text_width_height_descent(known, prop, ismath=False)[0] if known else 0.0
    return float(wide) + _EM * (len(text) - len(known))


def _figure(width: float, height: float, form: Form) -> Any:
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    (FigureCanvasSVG if form == "svg" else FigureCanvasPdf)(figure)
    return figure


def plain(text: str) -> str:
    """Text that matplotlib neither reads as mathematics nor breaks over lines."""
    return " ".join(text.split()).replace("$", r"\$")


def shortened(text: str, letters: int) -> str:
    """At most so many letters, the last one then an ellipsis."""
    return text if len(text) <= letters else text[: letters - 1] + "\u2026"


def extent(text: str, points: float) -> tuple[float, float]:
    """Width and height of a line of text of this size, both in points."""
    return _advance(" ".join(text.split()) or "x", points), points


def width_of(text: str, points: float) -> float:
    """How wide a line of text may become, mm."""
    return extent(text, points)[0] * WIDER / POINTS_PER_MM


def fitted(text: str, room: float, points: float) -> str:
    """The text, shortened where it would be wider than `room` mm."""
    flat = " ".join(text.split())
    letters = len(flat)
    while letters > 1 and width_of(shortened(flat, letters), points) > room:
        letters = min(letters - 1, max(1, int(letters * room / width_of(shortened(flat, letters), points)) + 1))
    return shortened(flat, letters)


def axes_at(figure: Any, left: float, bottom: float, width: float, height: float) -> Any:
    """Axes whose frame lies there, mm from the lower left corner, with ticks of the usual size."""
    across, up = (float(inches) * _MM for inches in figure.get_size_inches())
    axes = figure.add_axes((left / across, bottom / up, width / across, height / up))
    axes.tick_params(labelsize=TICKS, length=2.4, pad=2)
    axes.set_axisbelow(True)
    return axes
