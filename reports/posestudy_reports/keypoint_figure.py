"""Draws the scores of each keypoint of one cell or two: dots as vectors (matplotlib), and to hover over (Plotly)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from posestudy_reports.error_figures import LABEL_LETTERS, LABEL_POINTS, WIDTH, cell_colour, left_margin, legend
from posestudy_reports.hovering import safe
from posestudy_reports.keypoint_scores import KeypointScores
from posestudy_reports.vector import Form, draw, plain, shortened

if TYPE_CHECKING:
    import plotly.graph_objects as go

MOST_ROWS: Final = 30
SHOWN_AT: Final = 0.1
"""The threshold of PCK that the figure shows."""
_ROW: Final = 3.7
_MARKERS: Final = ("o", "D")
_PLOTLY_MARKERS: Final = ("circle", "diamond")


@dataclass(frozen=True)
class Panel:
    """One score of every keypoint: `values` for each cell, by keypoint; NaN where there is none."""

    title: str
    values: tuple[tuple[float, ...], ...]
    share: bool
    """Whether it lies between 0 and 1."""


@dataclass(frozen=True)
class KeypointChart:
    """The scores of the keypoints: `names` and `labelled` by keypoint, `labels` of the cells, `more` left out."""

    names: tuple[str, ...]
    labelled: tuple[int, ...]
    labels: tuple[str, ...]
    panels: tuple[Panel, ...]
    more: int


def keypoint_chart(names: Sequence[str], labels: Sequence[str], scores: Sequence[KeypointScores]) -> KeypointChart:
    """AP and PCK, or where OKS is not defined mean error and PCK, in order of the layout; of more than `MOST_ROWS`
    keypoints those that the last cell finds worst. Keypoints that are never labelled are left out."""
    last = scores[-1]
    rows = [k for k in range(len(names)) if last.labelled[k]]
    pck = [each.pck(SHOWN_AT) for each in scores]
    rank = last.ap if last.ap is not None else pck[-1]
    kept = sorted(sorted(rows, key=lambda k: (float(rank[k]), k))[:MOST_ROWS])
    first = (
        ("AP", [each.ap for each in scores if each.ap is not None], True)
        if last.ap is not None
        else ("mean error / box", [each.error for each in scores], False)
    )
    panels = tuple(
        Panel(title, tuple(tuple(float(v[k]) for k in kept) for v in values), share)
        for title, values, share in (first, (f"PCK@{SHOWN_AT:g}", pck, True))
    )
    counts = tuple(int(last.labelled[k]) for k in kept)
    return KeypointChart(tuple(names[k] for k in kept), counts, tuple(labels), panels, len(rows) - len(kept))


def keypoint_figure(chart: KeypointChart, form: Form = "svg") -> bytes:
    """Two panels of dots beside one another, 84 mm wide; the same scores give the same bytes."""
    height = 18.0 + _ROW * len(chart.names)
    return draw(WIDTH, height, lambda figure: _plot(figure, chart, height), form)


def _plot(figure: Any, chart: KeypointChart, height: float) -> None:
    left, count = left_margin(chart.names), len(chart.labels)
    wide = (0.975 - left - 0.035) / 2
    axes = None
    for place, panel in enumerate(chart.panels):
        axes = figure.add_axes((left + place * (wide + 0.035), 9.5 / height, wide, (height - 15.0) / height))
        rows = range(len(chart.names))
        if count > 1:
            for row, one, other in zip(rows, *panel.values, strict=True):
                if math.isfinite(one) and math.isfinite(other):
                    axes.plot([one, other], [row, row], color="#bbbbbb", linewidth=0.8, zorder=1)
        for i, (label, values) in enumerate(zip(chart.labels, panel.values, strict=True)):
            last = i == count - 1
            axes.plot(
                values, rows, linestyle="none", marker=_MARKERS[i + 2 - count], markersize=4.0, zorder=2 + i,
                color=cell_colour(i, count), markerfacecolor=cell_colour(i, count) if last else "white",
                markeredgewidth=0.9, label=plain(shortened(label, 30)), clip_on=False,
            )  # fmt: skip
        axes.set_yticks(rows)
        names = [plain(shortened(name, LABEL_LETTERS)) for name in chart.names]
        axes.set_yticklabels(names if place == 0 else [""] * len(names), fontsize=LABEL_POINTS)
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", labelsize=LABEL_POINTS)
        axes.set_ylim(len(chart.names) - 0.4, -0.6)
        axes.grid(color="#e8e8e8", linewidth=0.5)
        axes.set_axisbelow(True)
        if panel.share:
            axes.set_xlim(0, 1)
            axes.set_xticks((0, 0.25, 0.5, 0.75, 1.0), ("0", "", "0.5", "", "1"))
        else:
            axes.set_xlim(left=0)
            axes.locator_params(axis="x", nbins=4)
        axes.set_xlabel(plain(panel.title), fontsize=8, labelpad=2)
    legend(figure, axes, count)


def keypoint_plotly(chart: KeypointChart) -> go.Figure:
    """The same dots to hover over: each tells its keypoint, its score and how often it is labelled."""
    from plotly.subplots import make_subplots

    figure = make_subplots(cols=2, shared_yaxes=True, horizontal_spacing=0.04)
    count = len(chart.labels)
    rows = list(range(len(chart.names)))
    for place, panel in enumerate(chart.panels):
        for i, (label, values) in enumerate(zip(chart.labels, panel.values, strict=True)):
            known = [value if math.isfinite(value) else None for value in values]
            figure.add_scatter(
                x=known,
                y=rows,
                mode="markers",
                name=safe(shortened(label, 2 * LABEL_LETTERS)),
                legendgroup=str(i),
                showlegend=place == 0,
                marker={
                    "size": 9, "symbol": _PLOTLY_MARKERS[i + 2 - count] + ("" if i == count - 1 else "-open"),
                    "color": cell_colour(i, count), "line": {"width": 1.5},
                },
                hovertext=[
                    f"<b>{safe(name)}</b><br>{safe(label)}<br>{panel.title} {value:.3f}"
                    f"<br>labelled {labelled:,} times"
                    for name, value, labelled in zip(chart.names, values, chart.labelled, strict=True)
                ],
                hovertemplate="%{hovertext}<extra></extra>",
                row=1,
                col=place + 1,
            )  # fmt: skip
        figure.update_xaxes(title=panel.title, range=[0, 1.02] if panel.share else None, row=1, col=place + 1)
    ticks = [safe(shortened(name, 2 * LABEL_LETTERS)) for name in chart.names]
    figure.update_yaxes(range=[len(rows) - 0.4, -0.6], tickvals=rows, ticktext=ticks, automargin=True)
    figure.update_layout(
        template="plotly_white",
        legend={"orientation": "h", "y": 1.08},
        margin={"l": 60, "r": 20, "t": 40, "b": 50},
        height=round(140 + 24 * len(rows)),
        hovermode="closest",
    )
    return figure
