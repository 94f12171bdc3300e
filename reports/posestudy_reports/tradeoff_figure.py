"""Draws accuracy against cost: with vectors and text (matplotlib), and to hover over (Plotly)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from posestudy.vocabulary import Direction, Metric
from posestudy_reports import legends, networks, words
from posestudy_reports.curves import OKABE_ITO
from posestudy_reports.device_time import device_unit
from posestudy_reports.hovering import safe
from posestudy_reports.placement import Box, place
from posestudy_reports.tradeoff import Point, Tradeoff
from posestudy_reports.vector import COLUMN, GRID, NOTES, TITLES, WIDER, Form, axes_at, draw, extent, plain, shortened

if TYPE_CHECKING:
    import plotly.graph_objects as go

_LEFT: Final = 12.0
_PLOT: Final = 54.0
_LABEL_POINTS: Final = NOTES
_LABEL_LETTERS: Final = 26
_RADIUS_POINTS: Final = 3.8
_NEAR_POINTS: Final = 4.5
_PAGE_PX: Final = (860.0, 330.0)
_LETTER_PX: Final = 6.2
"""What Plotly has for the points on a page of usual width, and a letter's width there."""
COLOURS: Final = dict(zip(networks.HEADS, (OKABE_ITO[0], OKABE_ITO[2], OKABE_ITO[1], OKABE_ITO[3]), strict=True))
"""By head; each has a marker of its own too, so that the figure can be read without colour."""
_MARKERS: Final = dict(zip(networks.HEADS, ("o", "^", "s", "D"), strict=True))
_PLOTLY_MARKERS: Final = dict(zip(networks.HEADS, ("circle", "triangle-up", "square", "diamond"), strict=True))
_FRONT: Final = "#444444"


def tradeoff_figure(tradeoff: Tradeoff, metric: Metric, form: Form = "svg") -> bytes:
    """One column wide, with a legend below; the same points give the same bytes."""
    labels = [head for head in networks.HEADS if any(p.head == head for p in tradeoff.points)]
    legend = legends.laid_out([*labels, "Pareto front"], COLUMN - 2)
    return draw(COLUMN, _PLOT + 9.2 + legend.height, lambda figure: _plot(figure, tradeoff, metric, legend), form)


def scale(tradeoff: Tradeoff) -> tuple[float, str]:
    """What the costs are divided by, and the title of their axis with its unit."""
    quantity = tradeoff.quantity
    if quantity.name == "train_time":
        divisor, unit = device_unit(max(p.cost.mean for p in tradeoff.points), tradeoff.kind)
        return divisor, f"{quantity.axis} [{unit}]"
    return 1.0, f"{quantity.axis} [{quantity.unit}]" if quantity.unit else quantity.axis


def metric_title(metric: Metric) -> str:
    """The title of the metric's axis."""
    title = f"{metric.short} [{metric.unit}]" if metric.unit != "1" else metric.short
    return f"{title}, less is better" if metric.direction is Direction.LESS else title


def _plot(figure: Any, tradeoff: Tradeoff, metric: Metric, legend: legends.Legend) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes = axes_at(figure, _LEFT, legend.height + 7.8, COLUMN - _LEFT - 2, _PLOT)
    divisor, title = scale(tradeoff)
    front = [(p.cost.mean / divisor, p.metric.mean) for p in tradeoff.front]
    handles = []
    for head in networks.HEADS:
        points = [p for p in tradeoff.points if p.head == head]
        if points:
            handles += _scatter(axes, points, head, divisor)
    handles += axes.plot(
        *zip(*front, strict=True), color=_FRONT, linestyle=(0, (3, 2)), linewidth=0.9, drawstyle="steps-post",
        zorder=1,
    )  # fmt: skip
    axes.scatter(*zip(*front, strict=True), s=46, facecolors="none", edgecolors=_FRONT, linewidths=0.9, zorder=4)
    axes.grid(color=GRID, linewidth=0.5)
    if tradeoff.logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.1, y=0.12)
    axes.set_xlabel(plain(title), fontsize=TITLES, labelpad=1.5)
    axes.set_ylabel(plain(metric_title(metric)), fontsize=TITLES, labelpad=2)
    legends.below(figure, handles, legend)
    _label(figure, axes, tradeoff, divisor)


def _scatter(axes: Any, points: Sequence[Point], head: str, divisor: float) -> list[Any]:
    across, up = [p.cost.mean / divisor for p in points], [p.metric.mean for p in points]
    axes.errorbar(
        across,
        up,
        xerr=[
            [(p.cost.mean - p.cost.low) / divisor for p in points],
            [(p.cost.high - p.cost.mean) / divisor for p in points],
        ],
        yerr=[[p.metric.mean - p.metric.low for p in points], [p.metric.high - p.metric.mean for p in points]],
        fmt="none",
        ecolor=COLOURS[head],
        elinewidth=0.7,
        zorder=2,
    )
    drawn: list[Any] = axes.plot(
        across, up, linestyle="none", marker=_MARKERS[head], markersize=4.2, markeredgewidth=0, color=COLOURS[head],
        zorder=3,
    )  # fmt: skip
    return drawn


def _label(figure: Any, axes: Any, tradeoff: Tradeoff, divisor: float) -> None:
    """A label at every point that has room for one, those of the front first."""
    axes.autoscale_view()
    points = tradeoff.points
    to_points = 72.0 / figure.dpi  # of pixels
    at = [
        tuple(to_points * float(v) for v in axes.transData.transform((p.cost.mean / divisor, p.metric.mean)))
        for p in points
    ]
    texts = [shortened(p.label, _LABEL_LETTERS) for p in points]
    # The reader's face may be wider than the one that is measured.
    sizes = [(extent(text, _LABEL_POINTS)[0] * WIDER, _LABEL_POINTS * 1.05) for text in texts]
    bounds = axes.get_window_extent()
    frame = Box(*(to_points * float(v) for v in (bounds.x0, bounds.y0, bounds.x1, bounds.y1)))
    first = [i for i, p in enumerate(points) if p.on_front]
    lines = _along([at[i] for i in sorted(first, key=lambda i: points[i].cost.mean)])
    for text, (x, y), box in zip(
        texts, at, place(at, sizes, frame, _RADIUS_POINTS, first=first, lines=lines), strict=True
    ):
        if box is None:
            continue
        axes.annotate(
            plain(text), (x, y), xycoords="figure points",
            xytext=(box.left, box.bottom + 1.2), textcoords="figure points",
            fontsize=_LABEL_POINTS, color="#222222", ha="left", va="baseline", zorder=5,
            bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.4},
            arrowprops=_leader(Box.around(x, y, _RADIUS_POINTS), box),
        )  # fmt: skip


def _leader(point: Box, label: Box) -> dict[str, Any] | None:
    """How the line from a label to its point is drawn; None where the label is near enough without."""
    across = max(label.left - point.right, point.left - label.right, 0.0)
    up = max(label.bottom - point.top, point.bottom - label.top, 0.0)
    if max(across, up) < _NEAR_POINTS:
        return None
    return {"arrowstyle": "-", "linewidth": 0.4, "color": "#888888", "shrinkA": 0.5, "shrinkB": _RADIUS_POINTS}


def _along(front: Sequence[tuple[float, ...]]) -> list[Box]:
    """The steps of the front as thin boxes."""
    found = []
    for (x, y), (right, top) in pairwise(front):
        found.append(Box(x, y - 1, right, y + 1))
        found.append(Box(right - 1, min(y, top), right + 1, max(y, top)))
    return found


def tradeoff_plotly(tradeoff: Tradeoff, metric: Metric) -> go.Figure:
    """The same points to hover over: each tells its cell, its trials and their uids."""
    import plotly.graph_objects as go

    figure = go.Figure()
    divisor, title = scale(tradeoff)
    sides = _sides(tradeoff)
    for head in networks.HEADS:
        points = [(p, side) for p, side in zip(tradeoff.points, sides, strict=True) if p.head == head]
        if points:
            figure.add_scatter(**_trace(tradeoff, metric, points, head, divisor))
    front = tradeoff.front
    figure.add_scatter(
        x=[p.cost.mean / divisor for p in front],
        y=[p.metric.mean for p in front],
        name="Pareto front",
        mode="lines+markers",
        line={"color": _FRONT, "dash": "dash", "width": 1.3, "shape": "hv"},
        marker={"symbol": "circle-open", "size": 16, "color": _FRONT, "line": {"width": 1.4}},
        hoverinfo="skip",
    )
    figure.update_layout(
        template="plotly_white",
        xaxis_title=safe(title),
        yaxis_title=safe(metric_title(metric)),
        xaxis_type="log" if tradeoff.logarithmic else "linear",
        margin={"l": 60, "r": 20, "t": 20, "b": 50},
        height=420,
        hovermode="closest",
    )
    if tradeoff.logarithmic:
        low, high = (math.log10(pick(p.cost.mean / divisor for p in tradeoff.points)) for pick in (min, max))
        ticks = [m * 10.0**e for e in range(math.floor(low), math.ceil(high) + 1) for m in (1, 2, 5)]
        figure.update_xaxes(tickvals=ticks, ticktext=[f"{t:g}" for t in ticks])
    return figure


def _trace(
    tradeoff: Tradeoff, metric: Metric, placed: Sequence[tuple[Point, str]], head: str, divisor: float
) -> dict[str, Any]:
    points = [p for p, _ in placed]
    costs, values = [p.cost for p in points], [p.metric for p in points]
    return {
        "x": [c.mean / divisor for c in costs],
        "y": [v.mean for v in values],
        "name": head,
        "mode": "markers+text",
        "text": [_beside(safe(shortened(p.label, _LABEL_LETTERS)), side) for p, side in placed],
        "textposition": [side or "top center" for _, side in placed],
        "textfont": {"size": 11},
        "marker": {"color": COLOURS[head], "symbol": _PLOTLY_MARKERS[head], "size": 9},
        "error_x": _bars([(c.high - c.mean) / divisor for c in costs], [(c.mean - c.low) / divisor for c in costs]),
        "error_y": _bars([v.high - v.mean for v in values], [v.mean - v.low for v in values]),
        "hovertext": [_hover(tradeoff, metric, p) for p in points],
        "hovertemplate": "%{hovertext}<extra></extra>",
    }


def _sides(tradeoff: Tradeoff) -> list[str]:
    """Where Plotly sets the label of each point, on a page as wide as usual; empty where there is no room."""
    width, height = _PAGE_PX
    costs = [math.log(p.cost.mean) if tradeoff.logarithmic else p.cost.mean for p in tradeoff.points]
    values = [p.metric.mean for p in tradeoff.points]
    at = list(zip(_spread(costs, width), _spread(values, height), strict=True))
    sizes = [(_LETTER_PX * len(shortened(p.label, _LABEL_LETTERS)), 13.0) for p in tradeoff.points]
    first = [i for i, p in enumerate(tradeoff.points) if p.on_front]
    lines = _along([at[i] for i in sorted(first, key=lambda i: costs[i])])
    boxes = place(at, sizes, Box(0, -4, width, height + 8), 8.0, first=first, lines=lines, gaps=(0.5,))
    return ["" if box is None else _side(box, *point) for box, point in zip(boxes, at, strict=True)]


def _spread(values: Sequence[float], room: float) -> list[float]:
    """The values over `room` pixels, with as much air at both ends as Plotly leaves."""
    low, high = min(values), max(values)
    return [room * (0.06 + 0.88 * ((v - low) / (high - low) if high > low else 0.5)) for v in values]


def _side(box: Box, x: float, y: float) -> str:
    up = "bottom" if box.top <= y else "top" if box.bottom >= y else "middle"
    across = "left" if box.right <= x else "right" if box.left >= x else "center"
    return f"{up} {across}"


def _beside(text: str, side: str) -> str:
    """The label, held off the ring of its point by spaces where it stands beside it."""
    if not side:
        return ""
    return f"{text}\u00a0\u00a0" if side.endswith("left") else f"\u00a0\u00a0{text}" if side.endswith("right") else text


def _bars(up: list[float], down: list[float]) -> dict[str, Any]:
    return {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "thickness": 1, "width": 3}


def _hover(tradeoff: Tradeoff, metric: Metric, point: Point) -> str:
    unit = f" {tradeoff.quantity.unit}" if tradeoff.quantity.unit else ""
    trials = f"trial{'s' if len(point.numbers) > 1 else ''} {words.listing([str(n) for n in point.numbers])}"
    network = f"{safe(point.network)}, " if point.network else ""
    return (
        f"<b>{safe(point.label)}</b><br>{network}{point.head}"
        f"<br>{safe(metric.short)} {words.score(point.metric.mean, metric)}"
        f"<br>{safe(tradeoff.quantity.axis)} {tradeoff.quantity.text(point.cost.mean)}{unit}"
        f"<br>stage {safe(point.stage)}, {trials}<br>uid {'<br>uid '.join(point.uids)}"
    )
