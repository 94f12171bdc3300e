"""How matplotlib draws for a report: one style, text as text, the same input giving the same bytes."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any, Final, Literal

Form = Literal["svg", "pdf"]

# Matplotlib measures with a Times-like face it always has; a reader sets the text in the report's own.
MEASURED: Final = "STIXGeneral"
_FAMILY: Final = "Libertinus Serif, STIX Two Text, Times New Roman, serif"
_MM: Final = 25.4


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
    return drawn.replace(MEASURED.encode(), _FAMILY.encode()) if form == "svg" else drawn


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
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*[Gg]lyph.*")
        box = TextPath((0, 0), plain(text) or "x", size=points, prop=FontProperties(family=MEASURED)).get_extents()
    return float(box.width), points
