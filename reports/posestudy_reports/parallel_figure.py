"""Draws parallel coordinates: lines as vectors with text (matplotlib), and to brush over (Plotly)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from posestudy.vocabulary import Metric
from posestudy_reports.factor_space import Axis
from posestudy_reports.hovering import safe
from posestudy_reports.parallel import BELOW, Parallel, Tick, metric_ticks, ticks
from posestudy_reports.vector import COLUMN, NOTES, PAGE, TITLES, Form, axes_at, draw, fitted, plain, width_of

if TYPE_CHECKING:
    import plotly.graph_objects as go

_COLOURS: Final = "viridis"
_HEIGHT: Final = 60.0
_TOP: Final = 6.0
_FEWEST_MM: Final = 16.0
"""What two axes must be apart."""
_GREY: Final = "#8c8c8c"
_LABEL: Final = 14.0
_CLEAR: Final = {"facecolor": "white", "alpha": 0.85, "linewidth": 0, "pad": 0.3}


def wide(found: Parallel) -> bool:
    """Whether the axes need both columns of a page."""
    return (COLUMN - 20) / len(found.axes) < _FEWEST_MM


def parallel_figure(found: Parallel, metric: Metric, form: Form = "svg") -> bytes:
    """One column wide, or two where there are many factors; the same lines give the same bytes."""
    width = PAGE if wide(found) else COLUMN
    return draw(width, _HEIGHT, lambda figure: _plot(figure, found, metric, width), form)


def _plot(figure: Any, found: Parallel, metric: Metric, width: float) -> None:
    from matplotlib import colormaps
    from matplotlib.patheffects import Normal, Stroke

    count = len(found.axes) + 1
    left = max(5.0, 2.5 + max(width_of(fitted(t.text, _LABEL, NOTES), NOTES) for t in ticks(found.axes[0])))
    right = 11.0
    gap = (width - left - right) / (count - 1)
    axes = axes_at(figure, left, 2.5, width - left - right, _HEIGHT - _TOP - 4.5)
    axes.set_xlim(0, count - 1)
    axes.set_ylim(BELOW - 0.06, 1.02)
    axes.axis("off")
    shades = colormaps[_COLOURS]
    for line in found.lines:
        across = list(range(count))
        if line.place.value is None:
            axes.plot(across, line.at, color=_GREY, linestyle=":", linewidth=0.6, zorder=2, clip_on=False)
            axes.plot(across[-1:], line.at[-1:], marker="x", markersize=3, color=_GREY, zorder=3, clip_on=False)
            continue
        # The lightest end of the scale is too light on white.
        (drawn,) = axes.plot(
            across, line.at, color=shades(0.92 * line.at[-1]), linewidth=2.2 if line.best else 0.8, zorder=3,
            clip_on=False, solid_joinstyle="round",
        )  # fmt: skip
        if line.best:
            drawn.set_path_effects([Stroke(linewidth=3.4, foreground="#222222"), Normal()])
            drawn.set_zorder(4)
    for i, axis in enumerate(found.axes):
        _scale(axes, i, ticks(axis), room=gap - 3 if i else _LABEL, before=i == 0)
        _head(axes, i, axis.title, gap, first=i == 0)
    _scale(axes, count - 1, metric_ticks(found, metric), room=right)
    _head(axes, count - 1, metric.short, right + gap / 2, first=False, last=True)
    if any(line.place.value is None for line in found.lines):
        axes.annotate(
            "none", (count - 1, BELOW), (3.5, 0), textcoords="offset points", va="center", fontsize=NOTES, color="#444",
        )  # fmt: skip


def _scale(axes: Any, place: int, marks: tuple[Tick, ...], room: float, *, before: bool = False) -> None:
    """An axis with its ticks; their texts stand behind it, or `before` it where no line comes from there."""
    axes.plot([place, place], [0, 1], color="#444444", linewidth=0.8, zorder=5, clip_on=False)
    for mark in marks:
        axes.annotate(
            plain(fitted(mark.text, room, NOTES)), (place, mark.at), (-3.5 if before else 3.5, 0), va="center",
            textcoords="offset points", ha="right" if before else "left", fontsize=NOTES, color="#222222", zorder=7,
            bbox=_CLEAR,
        )  # fmt: skip
        axes.plot([place], [mark.at], marker="_", markersize=4, color="#444444", zorder=6, clip_on=False)


def _head(axes: Any, place: int, text: str, room: float, *, first: bool, last: bool = False) -> None:
    shown = fitted(text, room, TITLES)
    side = "left" if first and width_of(shown, TITLES) > 10 else "right" if last and len(shown) > 12 else "center"
    axes.annotate(
        plain(shown), (place, 1.0), (-6 if side == "left" else 0, 6), textcoords="offset points", ha=side, va="bottom",
        fontsize=TITLES,
    )  # fmt: skip


def parallel_plotly(found: Parallel, metric: Metric) -> go.Figure:
    """The same lines to brush over: dragging along an axis keeps the cells of that range. The first axis has the
    number of each cell's first trial; cells without a value are grey and end below the others."""
    import plotly.graph_objects as go

    numbers = [line.place.numbers[0] if line.place.numbers else 0 for line in found.lines]
    trials = {"label": "trial", "values": numbers}
    dimensions = [trials]
    dimensions += [_dimension(axis.title, ticks(axis), [line.at[i] for line in found.lines], axis)
                   for i, axis in enumerate(found.axes)]  # fmt: skip
    ends = [line.at[-1] for line in found.lines]
    below = () if min(ends) >= 0 else (Tick(BELOW, "none"),)
    dimensions.append(_dimension(metric.short, (*below, *metric_ticks(found, metric)), ends, None))
    figure = go.Figure(
        go.Parcoords(
            line={"color": ends, "cmin": BELOW, "cmax": 1.0, "colorscale": _colours(grey=bool(below))},
            dimensions=dimensions,
            labelfont={"size": 13},
        )
    )
    figure.update_layout(template="plotly_white", margin={"l": 60, "r": 60, "t": 60, "b": 30}, height=440)
    return figure


def _dimension(title: str, marks: tuple[Tick, ...], values: list[float], axis: Axis | None) -> dict[str, Any]:
    low = min(0.0, *values)
    span = [low - 0.02, 1.02] if axis is None else [-0.02, 1.02]
    return {
        "label": safe(title),
        "values": values,
        "range": span,
        "tickvals": [mark.at for mark in marks],
        "ticktext": [safe(mark.text) for mark in marks],
    }


def _colours(*, grey: bool) -> list[list[Any]]:
    """Viridis from 0 on, grey below, for values from `BELOW` to 1."""
    from plotly.colors import sample_colorscale

    zero = -BELOW / (1 - BELOW)
    shades = sample_colorscale("Viridis", [0.92 * i / 10 for i in range(11)])
    above = [[zero + (1 - zero) * i / 10, shade] for i, shade in enumerate(shades)]
    start = "rgb(190, 190, 190)" if grey else shades[0]
    return [[0.0, start], [zero - 1e-6, start], *above]
