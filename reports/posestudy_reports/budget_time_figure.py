"""Draws the best so far over device time or over trials: vectors with text (matplotlib), and to hover over (Plotly)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from posestudy.vocabulary import Metric
from posestudy_reports import legends, words
from posestudy_reports.budget_time import Finish, History
from posestudy_reports.curves import OKABE_ITO
from posestudy_reports.device_time import device_unit
from posestudy_reports.hovering import safe
from posestudy_reports.vector import COLUMN, GRID, TITLES, Form, axes_at, draw, plain, shortened

if TYPE_CHECKING:
    import plotly.graph_objects as go

_LEFT: Final = 12.0
_PLOT: Final = 40.0
_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "*")
_PLOTLY_MARKERS: Final = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "star", "hexagon")
_BEST: Final = "#222222"
_NONE: Final = "#888888"


def budget_figure(found: History, metric: Metric, form: Form = "svg", *, over_time: bool = True) -> bytes:
    """One column wide, with a legend below; the same trials give the same bytes."""
    labels = ["best so far", *(f"stage {name}" for name in found.stages if _valued(found, name))]
    labels += ["no value"] if _without(found) else []
    legend = legends.laid_out(labels, COLUMN - 2)
    height = _PLOT + 9.2 + legend.height
    return draw(COLUMN, height, lambda figure: _plot(figure, found, metric, legend, over_time=over_time), form)


def _valued(found: History, stage: str) -> list[Finish]:
    return [f for f in found.finishes if f.stage == stage and f.value is not None]


def _without(found: History) -> list[Finish]:
    return [f for f in found.finishes if f.value is None]


def _across(found: History, *, over_time: bool) -> tuple[float, str]:
    """What places on the axis are divided by, and the axis's title."""
    if not over_time:
        return 1.0, "trials ended"
    divisor, unit = device_unit(found.total, found.device)
    return divisor, f"time spent [{unit}]" if found.device != "" else f"device time spent [{unit}]"


def _at(finish: Finish, divisor: float, *, over_time: bool) -> float:
    return finish.spent / divisor if over_time else float(finish.order)


def _style(found: History, stage: str) -> int:
    return found.stages.index(stage) % len(OKABE_ITO)


def _floor(found: History) -> float:
    """Where trials without a value are marked: below all others."""
    values = [f.value for f in found.finishes if f.value is not None]
    low, high = min(values), max(values)
    return low - 0.09 * ((high - low) or 1.0)


def _plot(figure: Any, found: History, metric: Metric, legend: legends.Legend, *, over_time: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    axes = axes_at(figure, _LEFT, legend.height + 7.8, COLUMN - _LEFT - 3, _PLOT)
    divisor, title = _across(found, over_time=over_time)
    best = [f for f in found.finishes if f.best is not None]
    across = [_at(f, divisor, over_time=over_time) for f in best]
    (line,) = axes.plot(across, [f.best for f in best], drawstyle="steps-post", color=_BEST, linewidth=1.2, zorder=2)
    handles = [line]
    for name in found.stages:
        mine = _valued(found, name)
        if mine:
            style = _style(found, name)
            handles += axes.plot(
                [_at(f, divisor, over_time=over_time) for f in mine], [f.value for f in mine], linestyle="none",
                marker=_MARKERS[style], markersize=3.6, markeredgewidth=0, color=OKABE_ITO[style], zorder=3,
            )  # fmt: skip
    without = _without(found)
    if without:
        handles += axes.plot(
            [_at(f, divisor, over_time=over_time) for f in without], [_floor(found)] * len(without), linestyle="none",
            marker="x", markersize=3.4, markeredgewidth=0.9, color=_NONE, zorder=3,
        )  # fmt: skip
    axes.grid(axis="y", color=GRID, linewidth=0.5)
    axes.set_xlim(left=0)
    axes.margins(x=0.03)
    axes.set_xlabel(title, fontsize=TITLES, labelpad=1.5)
    axes.set_ylabel(plain(_metric(metric)), fontsize=TITLES, labelpad=2)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=not over_time, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    legends.below(figure, handles, legend)


def _metric(metric: Metric) -> str:
    return f"{metric.short} [{metric.unit}]" if metric.unit != "1" else metric.short


def budget_plotly(found: History, metric: Metric, *, over_time: bool = True) -> go.Figure:
    """The same trials to hover over: each tells its cell, number, seed and uid, and the time spent by then."""
    import plotly.graph_objects as go

    figure = go.Figure()
    divisor, title = _across(found, over_time=over_time)
    best = [f for f in found.finishes if f.best is not None]
    figure.add_scatter(
        x=[_at(f, divisor, over_time=over_time) for f in best], y=[f.best for f in best], name="best so far",
        mode="lines", line={"color": _BEST, "width": 2, "shape": "hv"}, hoverinfo="skip",
    )  # fmt: skip
    groups = [(f"stage {name}", _valued(found, name), _style(found, name)) for name in found.stages]
    for name, mine, style in groups:
        if mine:
            figure.add_scatter(
                x=[_at(f, divisor, over_time=over_time) for f in mine], y=[f.value for f in mine],
                name=safe(shortened(name, 40)), mode="markers",
                marker={"color": OKABE_ITO[style], "symbol": _PLOTLY_MARKERS[style], "size": 8},
                hovertext=[_hover(f, metric) for f in mine], hovertemplate="%{hovertext}<extra></extra>",
            )  # fmt: skip
    without = _without(found)
    if without:
        figure.add_scatter(
            x=[_at(f, divisor, over_time=over_time) for f in without], y=[_floor(found)] * len(without),
            name="no value", mode="markers", marker={"color": _NONE, "symbol": "x-thin-open", "size": 8},
            hovertext=[_hover(f, metric) for f in without], hovertemplate="%{hovertext}<extra></extra>",
        )  # fmt: skip
    figure.update_layout(
        template="plotly_white",
        xaxis_title=safe(title),
        yaxis_title=safe(_metric(metric)),
        margin={"l": 60, "r": 20, "t": 20, "b": 50},
        height=380,
        hovermode="closest",
    )
    return figure


def _hover(finish: Finish, metric: Metric) -> str:
    found = finish.ending
    if finish.value is not None:
        found = f"{safe(metric.short)} {words.score(finish.value, metric)}"
    took = f"took {words.duration(finish.seconds)}, " if finish.seconds is not None else ""
    return (
        f"<b>{safe(finish.label)}</b><br>{found}<br>{took}{words.duration(finish.spent)} spent by then"
        f"<br>stage {safe(finish.stage)}, trial {finish.number}, seed {finish.seed}"
        f"<br>uid {safe(finish.uid)}"
    )
