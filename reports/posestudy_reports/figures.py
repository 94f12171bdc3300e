"""Learning curves of a stage: SVG with vectors and text (matplotlib), and an interactive Plotly figure."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from posestudy.vocabulary import Metric
from posestudy_reports.curves import Curve
from posestudy_reports.vector import draw, plain, shortened

if TYPE_CHECKING:
    import plotly.graph_objects as go

_DASHES: Final = ("-", "--", ":", "-.")
_PLOTLY_DASHES: Final = ("solid", "dash", "dot", "dashdot")
_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "*")
_LEGEND_LENGTH: Final = 36


def learning_curves_svg(curves: Sequence[Curve], metric: Metric) -> str:
    """An SVG of 170 x 62 mm; the same curves give the same bytes. Without a curve the axes say so."""
    return draw(170, 62, lambda figure: _plot(figure, curves, metric)).decode()


def _plot(figure: Any, curves: Sequence[Curve], metric: Metric) -> None:
    from matplotlib.ticker import MaxNLocator

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
            label=plain(legend(curve)) if curve.first else "_replicate",
            clip_on=False,
        )
    axes.grid(axis="y", color="#dddddd", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.set_xlabel("epoch")
    axes.set_ylabel(plain(f"{metric.short} [{metric.unit}]" if metric.unit != "1" else metric.short))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if curves:
        axes.legend(
            loc="upper left", bbox_to_anchor=(1.02, 1.02), frameon=False, handlelength=2.2, fontsize=8, borderpad=0
        )
        if metric.unit == "1" and min(v for c in curves for v in c.values) >= 0:
            axes.set_ylim(bottom=0)
    else:
        axes.text(0.5, 0.5, "nothing evaluated yet", ha="center", va="center", transform=axes.transAxes)


def legend(curve: Curve) -> str:
    """`label (carried)`, shortened where it would not fit beside the axes."""
    role = f" ({curve.role})" if curve.role and curve.role != curve.label else ""
    space = _LEGEND_LENGTH - len(role)
    return shortened(curve.label, space) + role


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
