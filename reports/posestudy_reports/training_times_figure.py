"""Draws the training times: bars as vectors with text (matplotlib), and to hover over (Plotly)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from posestudy_reports import legends, networks, words
from posestudy_reports.device_time import device_unit
from posestudy_reports.hovering import safe
from posestudy_reports.tradeoff_figure import COLOURS
from posestudy_reports.training_times import Bar, TrainingTimes
from posestudy_reports.vector import (
    COLUMN,
    GRID,
    NOTES,
    TICKS,
    TITLES,
    Form,
    axes_at,
    draw,
    fitted,
    plain,
    shortened,
    width_of,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

_ROW: Final = 4.4
_WIDEST_LABEL: Final = 30.0
_LABEL_LETTERS: Final = 44
_HATCHES: Final = dict(zip(networks.HEADS, ("", "//", "\\\\", "xx"), strict=True))
_PLOTLY_HATCHES: Final = dict(zip(networks.HEADS, ("", "/", "\\", "x"), strict=True))
_BETWEEN: Final = 0.55
"""Rows between two families."""


def training_times_figure(times: TrainingTimes, form: Form = "svg") -> bytes:
    """One column wide, as high as its bars need; the same bars give the same bytes."""
    rows = _places(times)
    heads = [head for head in networks.HEADS if any(bar.head == head for bar in times.bars)]
    legend = legends.laid_out(heads, COLUMN - 2)
    height = legend.height + 9.2 + _ROW * (rows[-1] + 1.2)
    return draw(COLUMN, height, lambda figure: _plot(figure, times, rows, legend), form)


def _places(times: TrainingTimes) -> list[float]:
    """The row of each bar from the top, a gap where the family changes."""
    found: list[float] = []
    for i, bar in enumerate(times.bars):
        gap = _BETWEEN if i and times.bars[i - 1].family != bar.family else 0.0
        found.append(found[-1] + 1 + gap if found else 0.0)
    return found


def _plot(figure: Any, times: TrainingTimes, rows: list[float], legend: legends.Legend) -> None:
    from matplotlib.ticker import MaxNLocator

    labels = [fitted(bar.label, _WIDEST_LABEL, TICKS) for bar in times.bars]
    left = max(width_of(text, TICKS) for text in labels) + 2.5
    room = COLUMN - left - 2.5
    axes = axes_at(figure, left, legend.height + 7.8, room, _ROW * (rows[-1] + 1.2))
    longest = max(bar.seconds.high for bar in times.bars)
    divisor, unit = device_unit(longest, times.device)
    values = [fitted(_value(times, bar), 0.6 * room, NOTES) for bar in times.bars]
    handles = []
    for head in networks.HEADS:
        mine = [(row, bar) for row, bar in zip(rows, times.bars, strict=True) if bar.head == head]
        if mine:
            bars = axes.barh(
                [row for row, _ in mine], [bar.seconds.mean / divisor for _, bar in mine], height=0.72,
                color=COLOURS[head], edgecolor="white", hatch=_HATCHES[head], linewidth=0, zorder=2,
            )  # fmt: skip
            handles.append(bars)
    for row, bar, value in zip(rows, times.bars, values, strict=True):
        if bar.seconds.count > 1:
            axes.plot([bar.seconds.low / divisor, bar.seconds.high / divisor], [row, row], color="#222222", linewidth=1)
        axes.annotate(
            plain(value), (bar.seconds.high / divisor, row), (3, 0), textcoords="offset points", va="center",
            fontsize=NOTES, color="#333333",
        )  # fmt: skip
    axes.set_yticks(rows, [plain(text) for text in labels])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(rows[-1] + 0.6, -0.6)
    beside = max(width_of(text, NOTES) for text in values) / room
    axes.set_xlim(0, longest / divisor * 1.03 / (1 - min(0.62, beside)))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    axes.grid(axis="x", color=GRID, linewidth=0.5)
    axes.set_xlabel(f"training time [{unit}]", fontsize=TITLES, labelpad=1.5)
    legends.below(figure, handles, legend)


def _value(times: TrainingTimes, bar: Bar) -> str:
    """The time, and the epochs and the machine where they are not those of every bar."""
    parts = [words.duration(bar.seconds.mean)]
    if not times.epochs:
        parts.append(words.count(bar.epochs, "epoch"))
    if len(times.machines) > 1 and bar.machine:
        parts.append(shortened(bar.machine, 24))
    return ", ".join(parts)


def training_times_plotly(times: TrainingTimes) -> go.Figure:
    """The same bars to hover over: each tells its trials and their uids."""
    import plotly.graph_objects as go

    figure = go.Figure()
    rows = _places(times)
    longest = max(bar.seconds.high for bar in times.bars)
    divisor, unit = device_unit(longest, times.device)
    for head in networks.HEADS:
        mine = [(row, bar) for row, bar in zip(rows, times.bars, strict=True) if bar.head == head]
        if not mine:
            continue
        seconds = [bar.seconds for _, bar in mine]
        figure.add_bar(
            x=[s.mean / divisor for s in seconds],
            y=[row for row, _ in mine],
            width=0.72,
            orientation="h",
            name=head,
            marker={"color": COLOURS[head], "pattern": {"shape": _PLOTLY_HATCHES[head], "size": 5}},
            error_x={
                "type": "data", "symmetric": False, "thickness": 1, "width": 3,
                "visible": any(s.count > 1 for s in seconds),
                "array": [(s.high - s.mean) / divisor for s in seconds],
                "arrayminus": [(s.mean - s.low) / divisor for s in seconds],
            },
            text=[f"\u00a0{_value(times, bar)}" for _, bar in mine],
            textposition="outside",
            hovertext=[_hover(bar) for _, bar in mine],
            hovertemplate="%{hovertext}<extra></extra>",
        )  # fmt: skip
    ticks = [safe(shortened(bar.label, _LABEL_LETTERS)) for bar in times.bars]
    figure.update_layout(
        template="plotly_white",
        xaxis={"title": f"training time [{unit}]", "range": [0, 1.35 * longest / divisor]},
        yaxis={"tickvals": rows, "ticktext": ticks, "range": [rows[-1] + 0.6, -0.6], "automargin": True},
        barmode="overlay",
        margin={"l": 60, "r": 20, "t": 20, "b": 50},
        height=round(120 + 26 * (rows[-1] + 1)),
    )
    return figure


def _hover(bar: Bar) -> str:
    numbers = words.listing([str(n) for n in bar.numbers])
    return (
        f"<b>{safe(bar.label)}</b><br>{safe(bar.family)}, {bar.head}"
        f"<br>{words.duration(bar.seconds.mean)}, {words.count(bar.epochs, 'epoch')}"
        f"<br>stage {safe(bar.stage)}, trial{'s' if len(bar.numbers) > 1 else ''} {numbers}"
        f"<br>uid {'<br>uid '.join(bar.uids)}"
    )
