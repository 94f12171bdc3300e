"""Learning curves of a stage: SVG with vectors and text (matplotlib), and an interactive Plotly figure."""

from __future__ import annotations

import html
import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from posestudy.vocabulary import Metric
from posestudy_reports.curves import Curve

if TYPE_CHECKING:
    import plotly.graph_objects as go

_DASHES: Final = ("-", "--", ":", "-.")
_PLOTLY_DASHES: Final = ("solid", "dash", "dot", "dashdot")
_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "*")
# Matplotlib measures with a Times-like face it always has; a reader sets the text in the report's own.
_MEASURED: Final = "STIXGeneral"
_FAMILY: Final = "Libertinus Serif, STIX Two Text, Times New Roman, serif"
_LEGEND_LENGTH: Final = 36


def learning_curves_svg(curves: Sequence[Curve], metric: Metric) -> str:
    """An SVG of 170 x 62 mm; the same curves give the same bytes. Without a curve the axes say so."""
    import matplotlib

    style: dict[Any, Any] = {
        "font.family": _MEASURED,
        "font.size": 9,
        "svg.fonttype": "none",
        "svg.hashsalt": "posestudy",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": "#555555",
        "axes.linewidth": 0.6,
        "axes.unicode_minus": True,
        "xtick.color": "#333333",
        "ytick.color": "#333333",
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
    }
    with matplotlib.rc_context(style), warnings.catch_warnings():
        # A label in a script this face lacks is measured roughly; the text itself goes into the file whole.
        warnings.filterwarnings("ignore", message=r".*[Gg]lyph.*")
        return _draw(curves, metric)


def _draw(curves: Sequence[Curve], metric: Metric) -> str:
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(170 / 25.4, 62 / 25.4))
    FigureCanvasSVG(figure)
    axes = figure.add_axes((0.09, 0.165, 0.585, 0.79))
    for curve in curves:
        axes.plot(
            curve.epochs,
            curve.values,
            color=curve.colour,
            linestyle=_DASHES[curve.style // 8 % len(_DASHES)],
            marker=_MARKERS[curve.style % len(_MARKERS)],
            markersize=3.2,
            markeredgewidth=0,
            linewidth=2.0 if curve.role == "carried" else 1.1,
            alpha=1.0 if curve.first else 0.45,
            label=_plain(legend(curve)) if curve.first else "_replicate",
            clip_on=False,
        )
    axes.grid(axis="y", color="#dddddd", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.set_xlabel("epoch")
    axes.set_ylabel(_plain(f"{metric.short} [{metric.unit}]" if metric.unit != "1" else metric.short))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if curves:
        axes.legend(
            loc="upper left", bbox_to_anchor=(1.02, 1.02), frameon=False, handlelength=2.2, fontsize=8, borderpad=0
        )
        if metric.unit == "1" and min(v for c in curves for v in c.values) >= 0:
            axes.set_ylim(bottom=0)
    else:
        axes.text(0.5, 0.5, "nothing evaluated yet", ha="center", va="center", transform=axes.transAxes)
    stream = io.StringIO()
    figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return stream.getvalue().replace(f"{_MEASURED}", _FAMILY)


def legend(curve: Curve) -> str:
    """`label (carried)`, shortened where it would not fit beside the axes."""
    role = f" ({curve.role})" if curve.role and curve.role != curve.label else ""
    space = _LEGEND_LENGTH - len(role)
    label = curve.label if len(curve.label) <= space else curve.label[: space - 1] + "\u2026"
    return label + role


def _plain(text: str) -> str:
    """Text that matplotlib neither reads as mathematics nor breaks over lines."""
    return " ".join(text.split()).replace("$", r"\$")


def learning_curves_plotly(curves: Sequence[Curve], metric: Metric) -> go.Figure:
    """The same curves to hover over: each point tells its trial's number, seed and uid."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for curve in curves:
        name = html.escape(legend(curve))
        figure.add_scatter(
            x=list(curve.epochs),
            y=list(curve.values),
            name=name,
            legendgroup=str(curve.style),
            showlegend=curve.first,
            mode="lines+markers",
            opacity=1.0 if curve.first else 0.5,
            line={
                "color": curve.colour,
                "dash": _PLOTLY_DASHES[curve.style // 8 % len(_PLOTLY_DASHES)],
                "width": 3 if curve.role == "carried" else 1.8,
            },
            hovertemplate=(
                f"<b>{name}</b><br>epoch %{{x}}: %{{y:.4f}}<br>trial {curve.number}, seed {curve.seed}"
                f"<br>uid {html.escape(curve.uid)}<extra></extra>"
            ),
        )
    figure.update_layout(
        template="plotly_white",
        xaxis_title="epoch",
        yaxis_title=html.escape(metric.short),
        margin={"l": 60, "r": 20, "t": 20, "b": 50},
        height=360,
        hovermode="closest",
    )
    return figure
