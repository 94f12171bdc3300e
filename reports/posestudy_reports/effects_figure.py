"""Draws the differences from the baseline with their intervals: a forest plot as vectors (matplotlib)."""

from __future__ import annotations

from typing import Any, Final

from posestudy.vocabulary import Direction, Metric
from posestudy_reports import legends
from posestudy_reports.comparison import Interval
from posestudy_reports.curves import OKABE_ITO
from posestudy_reports.effects import Effect, Effects
from posestudy_reports.vector import COLUMN, GRID, NOTES, TICKS, TITLES, Form, axes_at, draw, fitted, plain, width_of

_ROW: Final = 4.6
_HEAD: Final = 4.4
_WIDEST_LABEL: Final = 30.0
_IMAGES, _SEEDS, _VALUE = OKABE_ITO[0], OKABE_ITO[1], "#222222"
_OFF: Final = 0.17
"""How far above and below a row's middle its two intervals lie, in rows."""


def effects_figure(found: Effects, metric: Metric, form: Form = "svg") -> bytes:
    """One column wide, as high as its rows need; the same rows give the same bytes."""
    legend = legends.laid_out([text for _, text in _kinds(found)], COLUMN - 2)
    height = legend.height + 11.8 + _high(found)
    return draw(COLUMN, height, lambda figure: _plot(figure, found, metric, legend), form)


def _high(found: Effects) -> float:
    heads = len(found.stages) if len(found.stages) > 1 else 0
    return _ROW * len(found.rows) + _HEAD * heads


def _kinds(found: Effects) -> list[tuple[dict[str, Any], str]]:
    """What stands in the legend: how it is drawn, and its name."""
    methods = {row.seeds.method for row in found.rows if row.seeds}
    kinds: list[tuple[dict[str, Any], str]] = []
    if any(row.images for row in found.rows):
        kinds.append((_line(_IMAGES, "-"), "over images"))
    if methods - {"range"}:
        kinds.append((_line(_SEEDS, (0, (3, 1.2))), "over seeds"))
    if "range" in methods:
        kinds.append((_line(_SEEDS, (0, (1, 1.2))), "range of two seeds"))
    for resolved, text in ((True, "resolved"), (False, "not resolved")):
        if any(row.resolved is resolved for row in found.rows):
            kinds.append((_dot(resolved) | {"linestyle": "none"}, text))
    return kinds


def _line(colour: str, dash: Any) -> dict[str, Any]:
    return {"color": colour, "linestyle": dash, "linewidth": 1.5}


def _dot(resolved: bool) -> dict[str, Any]:
    return {
        "marker": "o", "markersize": 4.2, "markeredgecolor": _VALUE, "markeredgewidth": 0.9,
        "markerfacecolor": _VALUE if resolved else "white",
    }  # fmt: skip


def _plot(figure: Any, found: Effects, metric: Metric, legend: legends.Legend) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    texts = [_label(row) for row in found.rows]
    left = max(width_of(text, TICKS) for text in texts) + 3
    high = _high(found)
    axes = axes_at(figure, left, legend.height + 7.8, COLUMN - left - 3, high)
    axes.set_xlim(-found.reach, found.reach)
    axes.set_ylim(high, 0)
    if found.margin is not None:
        axes.axvspan(-found.margin, found.margin, color="#e0e0e0", linewidth=0, zorder=0)
    axes.axvline(0, color="#444444", linewidth=0.8, zorder=1)
    axes.grid(axis="x", color=GRID, linewidth=0.5)
    at, down, stage = [], 0.0, ""
    for row in found.rows:
        if row.stage != stage and len(found.stages) > 1:
            _head(axes, row.stage, down, left)
            down += _HEAD
        stage = row.stage
        at.append(down + _ROW / 2)
        _row(axes, found, row, at[-1])
        down += _ROW
    axes.set_yticks(at, [plain(text) for text in texts])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:+.4g}".replace("-", "\u2212") if value else "0")
    )
    unit = f" [{metric.unit}]" if metric.unit != "1" else ""
    axes.set_xlabel(plain(f"difference of {metric.short}{unit}"), fontsize=TITLES, labelpad=1.5)
    more = metric.direction is Direction.MORE
    axes.annotate(
        "better \u2192" if more else "\u2190 better", (1.0 if more else 0.0, 1.0), (0, 2), xycoords="axes fraction",
        textcoords="offset points", ha="right" if more else "left", va="bottom", fontsize=NOTES, color="#555555",
    )  # fmt: skip
    handles = [Line2D([], [], **how) for how, _ in _kinds(found)]
    legends.below(figure, handles, legend)


def _label(row: Effect) -> str:
    mark = " \u2020" if row.joint else ""
    return fitted(row.label, _WIDEST_LABEL - width_of(mark, TICKS) if mark else _WIDEST_LABEL, TICKS) + mark


def _head(axes: Any, stage: str, down: float, left: float) -> None:
    """The stage's name, from the figure's left edge on."""
    axes.annotate(
        plain(fitted(stage, COLUMN - 6, TICKS)), (0, down + _HEAD * 0.62), (-(left - 1) * 72 / 25.4, 0),
        xycoords=("axes fraction", "data"), textcoords="offset points", ha="left", va="center", fontsize=TICKS,
        style="italic", color="#333333", bbox={"facecolor": "white", "linewidth": 0, "pad": 0.6}, zorder=6,
    )  # fmt: skip


def _row(axes: Any, found: Effects, row: Effect, y: float) -> None:
    both = row.images is not None and row.seeds is not None
    if row.images is not None:
        _interval(axes, found, row.images, y - _OFF * _ROW * both, _line(_IMAGES, "-"))
    if row.seeds is not None:
        dash = (0, (1, 1.2)) if row.seeds.method == "range" else (0, (3, 1.2))
        _interval(axes, found, row.seeds, y + _OFF * _ROW * both, _line(_SEEDS, dash))
    axes.plot([row.value], [y], zorder=5, linestyle="none", **_dot(row.resolved))


def _interval(axes: Any, found: Effects, interval: Interval, y: float, how: dict[str, Any]) -> None:
    reach = found.reach
    low, high = max(interval.low, -reach), min(interval.high, reach)
    axes.plot([low, high], [y, y], solid_capstyle="butt", dash_capstyle="butt", zorder=3, **how)
    for end, cut, arrow in ((low, interval.low < -reach, "<"), (high, interval.high > reach, ">")):
        shape = {"marker": arrow, "markersize": 3.6} if cut else {"marker": "|", "markersize": 4.4}
        axes.plot([end], [y], color=how["color"], markeredgewidth=0.9, clip_on=False, zorder=4, **shape)
