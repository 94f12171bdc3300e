"""Draws what the model does wrong: error types as stacked bars, the AP they would give back, instances by OKS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from posestudy_reports import words
from posestudy_reports.curves import OKABE_ITO
from posestudy_reports.error_shares import Share
from posestudy_reports.error_types import Kind
from posestudy_reports.hovering import safe
from posestudy_reports.oks_histogram import EDGES, OksHistogram
from posestudy_reports.vector import Form, draw, extent, plain, shortened

if TYPE_CHECKING:
    import plotly.graph_objects as go

WIDTH: Final = 84.0
LABEL_POINTS: Final = 7.5
SMALL_POINTS: Final = 7.0
LABEL_LETTERS: Final = 20
_ROW: Final = 3.7
_COLOURS: Final = (OKABE_ITO[2], OKABE_ITO[5], OKABE_ITO[4], OKABE_ITO[3], OKABE_ITO[1])
_HATCHES: Final = ("", "////", "\\\\\\\\", "xxxx", "....")
_PLOTLY_HATCHES: Final = ("", "/", "\\", "x", ".")
CELL_COLOURS: Final = (OKABE_ITO[0], OKABE_ITO[1])
"""Of the baseline and of the best cell; of one cell alone the second."""
_GAP: Final = 0.7


def cell_colour(place: int, count: int) -> str:
    """The colour of the cell at this place of one or two."""
    return CELL_COLOURS[place + len(CELL_COLOURS) - count]


def left_margin(labels: Sequence[str]) -> float:
    """The share of the width that the longest label needs, labels cut to `LABEL_LETTERS`."""
    longest = max(extent(shortened(text, LABEL_LETTERS), LABEL_POINTS)[0] for text in labels)
    return (longest * 1.06 + 8) / 72 * 25.4 / WIDTH


def shares_figure(shares: tuple[Share, ...], form: Form = "svg") -> bytes:
    """A stacked bar a row, 84 mm wide, as high as its rows need; the same rows give the same bytes."""
    rows = _places(shares)
    height = 18.5 + _ROW * (rows[-1] + 1)
    return draw(WIDTH, height, lambda figure: _plot_shares(figure, shares, rows, height), form)


def _places(shares: Sequence[Share]) -> list[float]:
    """The row of each bar from the top, a gap where the group changes."""
    found: list[float] = []
    for i, row in enumerate(shares):
        gap = _GAP if i and shares[i - 1].group != row.group else 0.0
        found.append(found[-1] + 1 + gap if found else 0.0)
    return found


def _plot_shares(figure: Any, shares: tuple[Share, ...], rows: list[float], height: float) -> None:
    left = left_margin([row.label for row in shares])
    right = 0.885
    axes = figure.add_axes((left, 9.5 / height, right - left, (height - 15.5) / height))
    before = [0.0] * len(shares)
    shown = [kind for kind in Kind if any(row.kinds[kind] for row in shares)]
    for kind in shown:
        widths = [100 * row.of(kind) for row in shares]
        axes.barh(
            rows, widths, left=before, height=0.78, color=_COLOURS[kind], edgecolor="white", hatch=_HATCHES[kind],
            linewidth=0, label=kind.word, zorder=2,
        )  # fmt: skip
        before = [b + w for b, w in zip(before, widths, strict=True)]
    for row, share in zip(rows, shares, strict=True):
        axes.text(102, row, f"{share.count:,}", va="center", fontsize=SMALL_POINTS, color="#333333")
    axes.set_yticks(rows, [plain(shortened(row.label, LABEL_LETTERS)) for row in shares], fontsize=LABEL_POINTS)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=LABEL_POINTS)
    axes.set_ylim(rows[-1] + 0.6, -0.6)
    axes.set_xlim(0, 100)
    axes.set_xlabel("labelled keypoints [%]; their number at the right", fontsize=8, labelpad=2)
    legend(figure, axes, len(shown))


def legend(figure: Any, axes: Any, columns: int) -> None:
    """A legend in one line over the whole width."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="upper center", bbox_to_anchor=(0.5, 1.0), ncols=columns, frameon=False,
        fontsize=LABEL_POINTS, handlelength=1.4, handletextpad=0.4, columnspacing=1.0, borderpad=0.1, borderaxespad=0.1,
    )  # fmt: skip


def shares_plotly(shares: tuple[Share, ...]) -> go.Figure:
    """The same bars to hover over: each tells its share and its number of keypoints."""
    import plotly.graph_objects as go

    figure = go.Figure()
    rows = _places(shares)
    for kind in (kind for kind in Kind if any(row.kinds[kind] for row in shares)):
        figure.add_bar(
            x=[100 * row.of(kind) for row in shares],
            y=rows,
            orientation="h",
            name=kind.word,
            marker={"color": _COLOURS[kind], "pattern": {"shape": _PLOTLY_HATCHES[kind], "size": 5}},
            hovertext=[
                f"<b>{safe(row.label)}</b><br>{kind.word}: {row.kinds[kind]:,} of "
                f"{words.count(row.count, 'keypoint')}, {100 * row.of(kind):.1f} %"
                for row in shares
            ],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    ticks = [safe(shortened(row.label, 2 * LABEL_LETTERS)) for row in shares]
    figure.update_layout(
        template="plotly_white",
        barmode="stack",
        xaxis={"title": "labelled keypoints [%]", "range": [0, 100]},
        yaxis={"tickvals": rows, "ticktext": ticks, "range": [rows[-1] + 0.6, -0.6], "automargin": True},
        legend={"orientation": "h", "y": 1.06, "traceorder": "normal"},
        margin={"l": 60, "r": 20, "t": 40, "b": 50},
        height=round(140 + 24 * (rows[-1] + 1)),
    )
    return figure


@dataclass(frozen=True)
class Gains:
    """The AP that each error type would give back.

    Attributes:
        types: in words, in order. labels: of the cells. values: for each cell, by type; types of one that the other
            does not have are 0 there.
        ap: of each cell as it is.
    """

    types: tuple[str, ...]
    labels: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]
    ap: tuple[float, ...]


TYPES: Final[Mapping[str, str]] = {
    "jitter": "jitter",
    "inversion": "inversion",
    "swap": "swap",
    "miss": "miss",
    "background": "background",
    "missed": "no prediction",
    "all": "all of them",
}
"""The types of `Diagnosis.gains` as a figure says them."""


def gains(labels: tuple[str, ...], found: Sequence[Mapping[str, float]], ap: Sequence[float]) -> Gains:
    """Of one cell or two; a type that none of them has is left out, `all` is last."""
    types = [kind for kind in TYPES if any(kind in each for each in found)]
    values = tuple(tuple(each.get(kind, 0.0) for kind in types) for each in found)
    return Gains(tuple(TYPES[kind] for kind in types), labels, values, tuple(ap))


def gains_figure(found: Gains, form: Form = "svg") -> bytes:
    """A group of bars a type, 84 mm wide; the same gains give the same bytes."""
    height = 19.0 + (2 * _ROW + 1.2 if len(found.labels) > 1 else _ROW + 1.6) * len(found.types)
    return draw(WIDTH, height, lambda figure: _plot_gains(figure, found, height), form)


def _plot_gains(figure: Any, found: Gains, height: float) -> None:
    left, count = left_margin(found.types), len(found.labels)
    axes = figure.add_axes((left, 9.5 / height, 0.97 - left, (height - 15.5) / height))
    thick = 0.84 / count
    most = max(0.001, *(value for values in found.values for value in values))
    for i, (label, values) in enumerate(zip(found.labels, found.values, strict=True)):
        rows = [row + (i - (count - 1) / 2) * thick for row in range(len(values))]
        axes.barh(
            rows, values, height=thick * 0.92, color=cell_colour(i, count), edgecolor="white", linewidth=0,
            hatch="////" if i < count - 1 else "", label=plain(shortened(label, 30)), zorder=2,
        )  # fmt: skip
        for row, value in zip(rows, values, strict=True):
            text = f"{value:+.3f}".replace("-", words.MINUS) if round(value, 3) else "0"
            axes.text(max(value, 0) + 0.015 * most, row, text, va="center", fontsize=SMALL_POINTS, color="#333333")
    axes.set_yticks(range(len(found.types)), [plain(text) for text in found.types], fontsize=LABEL_POINTS)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=LABEL_POINTS)
    axes.set_ylim(len(found.types) - 0.4, -0.6)
    axes.set_xlim(min(0.0, *(value for values in found.values for value in values)), most * 1.2)
    axes.grid(axis="x", color="#e4e4e4", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.set_xlabel("AP given back", fontsize=8, labelpad=2)
    legend(figure, axes, count)


def histogram_figure(found: OksHistogram, form: Form = "svg") -> bytes:
    """Instances by OKS as steps, 84 x 50 mm; the same counts give the same bytes."""
    return draw(WIDTH, 50.0, lambda figure: _plot_histogram(figure, found), form)


def _plot_histogram(figure: Any, found: OksHistogram) -> None:
    axes = figure.add_axes((0.115, 0.19, 0.865, 0.69))
    count = len(found.labels)
    for i, (label, counts, median) in enumerate(zip(found.labels, found.counts, found.medians, strict=True)):
        colour = cell_colour(i, count)
        last = i == count - 1
        axes.stairs(
            counts, EDGES, fill=last, color=colour, alpha=0.45 if last else 1.0, linewidth=1.2, zorder=2 + i,
            hatch=None if last else "", label=plain(shortened(label, 30)),
        )  # fmt: skip
        if last:
            axes.stairs(counts, EDGES, color=colour, linewidth=0.8, zorder=4)
        else:
            axes.stairs(counts, EDGES, color=colour, linewidth=1.3, zorder=5)
        axes.axvline(median, color=colour, linewidth=1.0, linestyle=(0, (1, 1)) if last else (0, (4, 2)), zorder=6)
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0)
    axes.tick_params(labelsize=LABEL_POINTS)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.grid(axis="y", color="#e4e4e4", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.set_xlabel("OKS", fontsize=8, labelpad=2)
    axes.set_ylabel("instances", fontsize=8, labelpad=2)
    legend(figure, axes, count)
