"""Draws the importance of factors: bars as vectors with text (matplotlib)."""

from __future__ import annotations

from typing import Any, Final

from posestudy_reports import legends
from posestudy_reports.curves import OKABE_ITO
from posestudy_reports.importance import Importance
from posestudy_reports.vector import COLUMN, GRID, NOTES, TICKS, TITLES, Form, axes_at, draw, fitted, plain, width_of

_ROW: Final = 7.4
_WIDEST_LABEL: Final = 26.0
_BY: Final = (("fanova", "fANOVA", OKABE_ITO[0], ""), ("ped_anova", "PED-ANOVA", OKABE_ITO[4], "////"))


def importance_figure(found: Importance, form: Form = "svg") -> bytes:
    """One column wide, as high as its factors need; the same shares give the same bytes."""
    kinds = [kind for kind in _BY if getattr(found.shares[0], kind[0]) is not None]
    legend = legends.laid_out([title for _, title, _, _ in kinds], COLUMN - 2)
    height = legend.height + 9.2 + _ROW * len(found.shares)
    return draw(COLUMN, height, lambda figure: _plot(figure, found, kinds, legend), form)


def _plot(figure: Any, found: Importance, kinds: list[tuple[str, str, str, str]], legend: legends.Legend) -> None:
    labels = [fitted(share.title, _WIDEST_LABEL, TICKS) for share in found.shares]
    left = max(width_of(label, TICKS) for label in labels) + 2.5
    rows = len(found.shares)
    axes = axes_at(figure, left, legend.height + 7.8, COLUMN - left - 3, _ROW * rows)
    thick = 0.78 / len(kinds)
    handles = []
    for k, (name, _, colour, hatch) in enumerate(kinds):
        values = [getattr(share, name) for share in found.shares]
        at = [row + (k - (len(kinds) - 1) / 2) * thick for row in range(rows)]
        handles.append(
            axes.barh(at, values, height=thick * 0.94, color=colour, hatch=hatch, edgecolor="white", linewidth=0)
        )
        for y, value in zip(at, values, strict=True):
            axes.text(value + 0.012, y, f"{value:.2f}", va="center", fontsize=NOTES, color="#333333")
    axes.set_yticks(range(rows), [plain(label) for label in labels])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_xlim(0, 1.1)
    axes.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    axes.grid(axis="x", color=GRID, linewidth=0.5)
    axes.set_xlabel("importance", fontsize=TITLES, labelpad=1.5)
    legends.below(figure, handles, legend)
