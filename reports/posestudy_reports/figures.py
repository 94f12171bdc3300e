"""Learning curves of a stage: SVG or PDF with vectors and text (matplotlib), and an interactive Plotly figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

from posestudy.home import safe_part
from posestudy.vocabulary import Metric
from posestudy_reports import legends, words
from posestudy_reports.curves import Band, Curve, bands
from posestudy_reports.hovering import safe
from posestudy_reports.results import StageResult, StudyResult
from posestudy_reports.vector import COLUMN, GRID, TITLES, Form, axes_at, draw, plain, shortened

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from posestudy_reports.report import StudyReport
    from posestudy_reports.sections import Chart

_DASHES: Final = ("-", "--", ":", "-.")
_PLOTLY_DASHES: Final = ("solid", "dash", "dot", "dashdot")
_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "*")
_PLOTLY_MARKERS: Final = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x", "star")
_GREY: Final = "#a8a8a8"
_LEGEND_LENGTH: Final = 36
_LEFT: Final = 12.0
_PLOT: Final = 44.0
_MOST_MARKERS: Final = 12


def curve_chart(report: StudyReport | StudyResult, stage: StageResult, curves: Sequence[Curve]) -> Chart:
    """The learning curves of a stage as a figure of one column; `curves` are those of `curves.curves`."""
    from posestudy_reports.sections import Chart

    result = report if isinstance(report, StudyResult) else report.result
    metric = result.metric
    vector: Callable[[Form], bytes] = cache(partial(learning_curves, tuple(curves), metric))
    return Chart(
        f"curves_{stage.stage.ordinal + 1}_{safe_part(stage.stage.name)}",
        f"Learning curves: {stage.stage.name}",
        caption(stage, bands(curves, metric.direction), metric),
        vector,
        partial(learning_curves_plotly, tuple(curves), metric),
        wide=False,
        priority=30,
    )


def caption(stage: StageResult, shown: Sequence[Band], metric: Metric) -> str:
    """What the figure shows, in sentences."""
    text = f"{metric.short} over training, stage {words.quoted(stage.stage.name)}."
    if any(len(band.members) > 1 for band in shown):
        text += " Lines: the mean over seeds; bands: the smallest to the largest."
    if any(band.others for band in shown):
        text += " Seeds that did not complete are drawn thin and left out of the means."
    if any(not band.named for band in shown):
        kept = {"baseline": "the baseline", "carried": "the carried cell"}
        named = [title for role, title in kept.items() if any(band.role == role for band in shown)]
        named.append(f"the {sum(band.named and not band.role for band in shown)} that end best")
        text += f" In colour: {words.listing(named)}; grey: the others."
    return text


def learning_curves(curves: Sequence[Curve], metric: Metric, form: Form = "svg") -> bytes:
    """84 mm wide, with a legend below; the same curves give the same bytes. Without a curve the axes say so."""
    shown = bands(curves, metric.direction)
    labels = [_legend(band) for band in shown if band.named]
    if len(labels) < len(shown):
        labels.append(words.count(len(shown) - len(labels), "other cell"))
    legend = legends.laid_out(labels, COLUMN - 2)
    return draw(COLUMN, _PLOT + 9.2 + legend.height, lambda figure: _plot(figure, shown, metric, legend), form)


def learning_curves_svg(curves: Sequence[Curve], metric: Metric) -> str:
    """`learning_curves` as text."""
    return learning_curves(curves, metric).decode()


def _plot(figure: Any, shown: Sequence[Band], metric: Metric, legend: legends.Legend) -> None:
    from matplotlib.ticker import MaxNLocator

    axes = axes_at(figure, _LEFT, legend.height + 7.8, COLUMN - _LEFT - 2.5, _PLOT)
    handles, grey = [], None
    for band in shown:
        if not band.named:
            (grey,) = axes.plot(band.epochs, band.mean, color=_GREY, linewidth=0.6, zorder=1.5)
        else:
            handles.append(_band(axes, band))
    if grey is not None:
        handles.append(grey)
    axes.grid(axis="y", color=GRID, linewidth=0.5)
    axes.set_xlabel("epoch", fontsize=TITLES, labelpad=1.5)
    axes.set_ylabel(plain(_title(metric)), fontsize=TITLES, labelpad=2)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, steps=[1, 2, 5, 10]))
    if shown:
        if metric.unit == "1" and min(v for b in shown for c in (*b.members, *b.others) for v in c.values) >= 0:
            axes.set_ylim(bottom=0)
        legends.below(figure, handles, legend)
    else:
        axes.text(
            0.5, 0.5, "nothing evaluated yet", ha="center", va="center", fontsize=TITLES, transform=axes.transAxes
        )


def _title(metric: Metric) -> str:
    return f"{metric.short} [{metric.unit}]" if metric.unit != "1" else metric.short


def _band(axes: Any, band: Band) -> Any:
    """The mean with its band; returns what stands for it in a legend."""
    dash = _DASHES[band.style // 8 % len(_DASHES)]
    if len(band.members) > 1:
        axes.fill_between(band.epochs, band.low, band.high, color=band.colour, alpha=0.16, linewidth=0, zorder=1.8)
    for curve in band.others:
        axes.plot(curve.epochs, curve.values, color=band.colour, linewidth=0.6, alpha=0.55, zorder=2)
    (line,) = axes.plot(
        band.epochs, band.mean, color=band.colour, linestyle=dash, marker=_MARKERS[band.style % len(_MARKERS)],
        markersize=2.8, markeredgewidth=0, markevery=max(1, len(band.epochs) // _MOST_MARKERS),
        linewidth=1.6 if band.role == "carried" else 0.95, clip_on=False, zorder=2.5,
    )  # fmt: skip
    return line


def _legend(band: Band) -> str:
    role = f" ({band.role})" if band.role and band.role != band.label else ""
    return f"{shortened(' '.join(band.label.split()), _LEGEND_LENGTH - len(role))}{role}"


def learning_curves_plotly(curves: Sequence[Curve], metric: Metric) -> go.Figure:
    """The same bands, and each trial's curve to hover over: a point tells its trial's number, seed and uid."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for place, band in enumerate(bands(curves, metric.direction)):
        group = str(place)
        if len(band.members) > 1 and band.named:
            _shade(figure, band, group)
        figure.add_scatter(**_mean(band, group))
        for curve in (*band.members, *band.others):
            if len(band.members) == 1 and curve in band.members:
                continue  # the mean of one is that one
            figure.add_scatter(**_single(band, curve, group))
    figure.update_layout(
        template="plotly_white",
        xaxis_title="epoch",
        yaxis_title=safe(_title(metric)),
        margin={"l": 60, "r": 20, "t": 20, "b": 50},
        height=380,
        hovermode="closest",
        legend={"groupclick": "togglegroup"},
    )
    return figure


def _shade(figure: go.Figure, band: Band, group: str) -> None:
    figure.add_scatter(
        x=[*band.epochs, *reversed(band.epochs)],
        y=[*band.high, *reversed(band.low)],
        fill="toself",
        fillcolor=band.colour,
        opacity=0.16,
        mode="lines",
        line={"width": 0},
        legendgroup=group,
        showlegend=False,
        hoverinfo="skip",
    )


def _mean(band: Band, group: str) -> dict[str, Any]:
    several = len(band.members) > 1
    about = f"mean of {len(band.members)} seeds" if several else _about(band.members[0])
    name = safe(_legend(band))
    return {
        "x": list(band.epochs),
        "y": list(band.mean),
        "name": name,
        "legendgroup": group,
        "mode": "lines+markers",
        "line": {
            "color": band.colour if band.named else _GREY,
            "dash": _PLOTLY_DASHES[band.style // 8 % len(_PLOTLY_DASHES)] if band.named else "solid",
            "width": 3 if band.role == "carried" else 1.8 if band.named else 1,
        },
        "marker": {"symbol": _PLOTLY_MARKERS[band.style % len(_PLOTLY_MARKERS)], "size": 6 if band.named else 3},
        "hovertemplate": f"<b>{name}</b><br>epoch %{{x}}: %{{y:.4f}}<br>{about}<extra></extra>",
    }


def _single(band: Band, curve: Curve, group: str) -> dict[str, Any]:
    return {
        "x": list(curve.epochs),
        "y": list(curve.values),
        "legendgroup": group,
        "showlegend": False,
        "mode": "lines+markers",
        "opacity": 0.5,
        "marker": {"size": 4},
        "line": {
            "color": band.colour if band.named else _GREY,
            "width": 0.8,
            "dash": "solid" if curve.counted else "dot",
        },
        "hovertemplate": (
            f"<b>{safe(_legend(band))}</b><br>epoch %{{x}}: %{{y:.4f}}<br>{_about(curve)}<extra></extra>"
        ),
    }


def _about(curve: Curve) -> str:
    return f"trial {curve.number}, seed {curve.seed}<br>uid {safe(curve.uid)}"
