"""Draws the heat map of two factors: squares with their values as vectors (matplotlib), and to hover over (Plotly)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from posestudy.vocabulary import Metric
from posestudy_reports import words
from posestudy_reports.factor_space import Axis
from posestudy_reports.heat_map import SHORT, HeatMap, Square
from posestudy_reports.hovering import safe
from posestudy_reports.vector import COLUMN, PAGE, TICKS, TITLES, Form, axes_at, draw, fitted, plain, width_of

if TYPE_CHECKING:
    import plotly.graph_objects as go

COLOURS: Final = "cividis"
"""Even to the eye, and the same to people with red-green blindness (Nunez, Anderton and Renslow 2018)."""
_ROW: Final = 7.0
_WIDEST_LABEL: Final = 22.0
_NARROWEST: Final = 6.6
"""What a square must be wide for its number, mm."""
_BAR: Final = 12.5
_STRIPS: Final = 40


def wide(heat: HeatMap) -> bool:
    """Whether the map needs both columns of a page."""
    return _square(heat, COLUMN) < _NARROWEST


def heat_map_figure(heat: HeatMap, metric: Metric, form: Form = "svg") -> bytes:
    """One column wide, or two where its squares need that; the same map gives the same bytes."""
    width = PAGE if wide(heat) else COLUMN
    height = _below(heat, width) + _ROW * len(heat.up.levels) + 5
    return draw(width, height, lambda figure: _plot(figure, heat, metric, width), form)


def _left(heat: HeatMap) -> float:
    return min(_WIDEST_LABEL, max(width_of(text, TICKS) for text in heat.up.texts)) + 6.5


def _square(heat: HeatMap, width: float) -> float:
    return (width - _left(heat) - _BAR) / len(heat.across.levels)


def _turned(heat: HeatMap, width: float) -> bool:
    """Whether the labels below do not fit side by side."""
    return max(width_of(text, TICKS) for text in heat.across.texts) > _square(heat, width) - 1


def _below(heat: HeatMap, width: float) -> float:
    longest = max(width_of(text, TICKS) for text in heat.across.texts)
    return 5.5 + (min(_WIDEST_LABEL, longest) if _turned(heat, width) else 2.5)


def _plot(figure: Any, heat: HeatMap, metric: Metric, width: float) -> None:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    columns, rows = len(heat.across.levels), len(heat.up.levels)
    left, bottom = _left(heat), _below(heat, width)
    across, up = columns * _square(heat, width), rows * _ROW
    axes = axes_at(figure, left, bottom, across, up)
    shades = ScalarMappable(Normalize(*_range(heat)), colormaps[COLOURS])
    for square in heat.squares:
        _draw(axes, square, shades, metric)
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(-0.5, rows - 0.5)
    axes.set_xticks(range(columns), [plain(fitted(t, _WIDEST_LABEL, TICKS)) for t in heat.across.texts])
    axes.set_yticks(range(rows), [plain(fitted(t, _WIDEST_LABEL, TICKS)) for t in heat.up.texts])
    axes.tick_params(length=0)
    if _turned(heat, width):
        axes.tick_params(axis="x", labelrotation=90)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel(plain(fitted(heat.across.title, across, TITLES)), fontsize=TITLES, labelpad=1.5)
    axes.set_ylabel(plain(fitted(heat.up.title, up + 6, TITLES)), fontsize=TITLES, labelpad=2)
    _bar(axes_at(figure, left + across + 2, bottom, 2.2, up), shades, metric)


def _range(heat: HeatMap) -> tuple[float, float]:
    """The values at the ends of the colours, apart even where all values are equal."""
    low, high = heat.ends
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _bar(axes: Any, shades: Any, metric: Metric) -> None:
    """The scale of the colours, as strips: matplotlib's own would be a bitmap."""
    from matplotlib.patches import Rectangle

    low, high = shades.norm.vmin, shades.norm.vmax
    step = (high - low) / _STRIPS
    for i in range(_STRIPS):  # each goes on to the top under the next one, so that no seam shows
        start, colour = low + i * step, shades.to_rgba(low + (i + 0.5) * step)
        axes.add_patch(Rectangle((0, start), 1, high - start, color=colour, linewidth=0, zorder=1 + i / _STRIPS))
    axes.set_ylim(low, high)
    axes.set_xticks([])
    axes.yaxis.tick_right()
    ticks = [low, (low + high) / 2, high]
    axes.set_yticks(ticks, [words.score(tick, metric) for tick in ticks])
    for text, side in zip(axes.get_yticklabels(), ("bottom", "center", "top"), strict=True):
        text.set_verticalalignment(side)
    for spine in axes.spines.values():
        spine.set_visible(False)
    unit = f" [{metric.unit}]" if metric.unit != "1" else ""
    axes.set_title(plain(metric.short + unit), fontsize=TICKS, pad=2, loc="left")


def _draw(axes: Any, square: Square, shades: Any, metric: Metric) -> None:
    from matplotlib.patches import Rectangle

    where = (square.column - 0.5, square.row - 0.5)
    if square.value is None:
        axes.add_patch(
            Rectangle(where, 1, 1, facecolor="#f4f4f4", edgecolor="#c4c4c4", hatch="////", linewidth=0.3, zorder=1)
        )
        text, ink, weight = SHORT.get(square.ending, square.ending), "#222222", "normal"
        box = {"facecolor": "#f4f4f4", "linewidth": 0, "pad": 0.8}
    else:
        red, green, blue, _ = shades.to_rgba(square.value.mean)
        axes.add_patch(Rectangle(where, 1, 1, facecolor=(red, green, blue), edgecolor="white", linewidth=0.6, zorder=1))
        text, weight = words.score(square.value.mean, metric), "bold" if square.best else "normal"
        # Relative luminance of sRGB, near enough to choose the ink by.
        ink = "white" if 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.5 else "black"
        box = None
    axes.text(
        square.column, square.row, text, ha="center", va="center", fontsize=TICKS, color=ink, weight=weight, zorder=3,
        bbox=box,
    )  # fmt: skip
    if square.best and square.value:
        inner = (where[0] + 0.05, where[1] + 0.07)
        axes.add_patch(Rectangle(inner, 0.9, 0.86, fill=False, edgecolor=ink, linewidth=1.1, zorder=2))


def heat_map_plotly(heat: HeatMap, metric: Metric) -> go.Figure:
    """The same squares to hover over: each tells its cell, the range over seeds, its trials and their uids."""
    import plotly.graph_objects as go

    grid = {(s.column, s.row): s for s in heat.squares}
    places = [[grid.get((column, row)) for column in range(len(heat.across.levels))] for row in range(_rows(heat))]
    low, high = _range(heat)
    figure = go.Figure(
        go.Heatmap(
            x=list(range(len(heat.across.levels))),
            y=list(range(_rows(heat))),
            z=[[s.value.mean if s and s.value else None for s in line] for line in places],
            text=[[_text(s, metric) for s in line] for line in places],
            texttemplate="%{text}",
            customdata=[[_hover(heat, s, metric) for s in line] for line in places],
            hovertemplate="%{customdata}<extra></extra>",
            hoverongaps=False,
            colorscale="Cividis",
            zmin=low,
            zmax=high,
            xgap=2,
            ygap=2,
            colorbar={"title": {"text": safe(metric.short)}},
        )
    )
    for square in heat.squares:
        if square.value is None:  # a gap shows no text of its own
            figure.add_annotation(
                x=square.column, y=square.row, text=_text(square, metric), showarrow=False,
                hovertext=_hover(heat, square, metric), font={"color": "#555555"},
            )  # fmt: skip
        elif square.best:
            x, y = square.column, square.row
            figure.add_shape(
                type="rect", x0=x - 0.48, x1=x + 0.48, y0=y - 0.48, y1=y + 0.48, line={"color": "#D55E00", "width": 3}
            )
    figure.update_layout(
        template="plotly_white",
        xaxis=_axis(heat.across),
        yaxis=_axis(heat.up),
        margin={"l": 60, "r": 20, "t": 44, "b": 50},
        height=round(170 + 46 * _rows(heat)),
    )
    return figure


def _rows(heat: HeatMap) -> int:
    return len(heat.up.levels)


def _axis(axis: Axis) -> dict[str, Any]:
    return {
        "title": safe(axis.title),
        "tickvals": list(range(len(axis.levels))),
        "ticktext": [safe(text) for text in axis.texts],
        "showgrid": False,
        "zeroline": False,
        "automargin": True,
    }


def _text(square: Square | None, metric: Metric) -> str:
    if square is None:
        return ""
    return words.score(square.value.mean, metric) if square.value else square.ending


def _hover(heat: HeatMap, square: Square | None, metric: Metric) -> str:
    if square is None:
        return ""
    place, value = square.place, square.value
    found = square.ending
    if value:
        found = f"{safe(metric.short)} {words.score(value.mean, metric)}"
        if value.count > 1:
            found += f" ({words.score(value.low, metric)} to {words.score(value.high, metric)}, {value.count} seeds)"
    return (
        f"<b>{safe(place.label)}</b><br>{safe(heat.across.title)} "
        f"{safe(heat.across.texts[square.column])}, {safe(heat.up.title)} "
        f"{safe(heat.up.texts[square.row])}<br>{found}"
        f"<br>trial{'s' if len(place.numbers) > 1 else ''} {words.listing([str(n) for n in place.numbers])}"
        f"<br>uid {'<br>uid '.join(place.uids)}"
    )
