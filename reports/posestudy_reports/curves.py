"""Learning curves as data, prepared once for every kind of figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

from posestudy.vocabulary import Direction
from posestudy_reports.footnotes import imported_from
from posestudy_reports.quantities import evaluated
from posestudy_reports.results import CellResult, StageResult, StudyResult

OKABE_ITO: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8A7F00")
"""Colours that remain apart in every kind of colour blindness (the yellow darkened to be legible on white)."""
_FEWEST_IMPORTED: Final = 3
_NAMED: Final = 12
_NAMED_OF_MANY: Final = 8


@dataclass(frozen=True)
class Curve:
    """The study's metric of one trial over its evaluated epochs; `style` counts the cells of the stage from 0."""

    uid: str
    number: int
    seed: int
    label: str
    style: int
    first: bool
    """Whether it is the first replicate of its cell and so stands for the cell in a legend."""
    role: str
    """`baseline`, `carried` or empty."""
    epochs: tuple[int, ...]
    values: tuple[float, ...]
    counted: bool = True
    """Whether it is one of those that its cell's band is made of: the completed ones, or all where none is."""

    @property
    def colour(self) -> str:
        return OKABE_ITO[self.style % len(OKABE_ITO)]


@dataclass(frozen=True)
class Band:
    """A cell over its replicates: at each epoch that all of them have evaluated the mean, smallest and largest value.

    Attributes:
        style: as the cell's curves have; of cells that are not `named` it tells nothing apart.
        named: whether it has a colour and a place in the legend; of many cells only some have.
        members: the curves it is made of.
        others: curves of the cell that it is not made of: pruned, failed, or still running ones.
    """

    label: str
    style: int
    role: str
    epochs: tuple[int, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    members: tuple[Curve, ...]
    others: tuple[Curve, ...] = ()
    named: bool = True

    @property
    def colour(self) -> str:
        return OKABE_ITO[self.style % len(OKABE_ITO)]


def curves(result: StudyResult, stage: StageResult) -> tuple[Curve, ...]:
    """One curve per trial that was trained and evaluated at least once, in order of the table's rows; of an imported
    one only where its values are more than a final and a best one."""
    drawn: list[Curve] = []
    for style, cell in enumerate(stage.cells):
        first, completed = True, {trial.uid for trial in cell.completed}
        for trial in cell.trials:
            points = [
                (value.epoch, value.metrics[result.metric.name])
                for value in result.values.get(trial.uid, ())
                if math.isfinite(value.metrics.get(result.metric.name, math.nan))
            ]
            if not any(epoch for epoch, _ in points) or evaluated(trial) is not None:
                continue  # weights that were only evaluated have not learnt here
            if imported_from(trial) and len(points) < _FEWEST_IMPORTED:
                continue  # a table of final and best values holds no curve
            epochs, values = zip(*points, strict=True)
            role = _role(stage, cell)
            counted = trial.uid in completed or not completed
            curve = Curve(trial.uid, trial.number, trial.seed, cell.label, style, first, role, epochs, values, counted)
            drawn.append(curve)
            first = False
    return tuple(drawn)


def _role(stage: StageResult, cell: CellResult) -> str:
    if stage.stage.carried == cell.cell.name:
        return "carried"
    return "baseline" if stage.baseline is cell else ""


def bands(drawn: Sequence[Curve], direction: Direction = Direction.MORE) -> tuple[Band, ...]:
    """One band per cell, in order. Of more than twelve cells eight are named: the baseline, the carried one and
    those that end best; the others stay in the background."""
    made = [_band(tuple(mine)) for _, mine in groupby(drawn, key=lambda curve: curve.style)]
    if len(made) <= _NAMED:
        return tuple(made)

    def worth(band: Band) -> tuple[bool, float]:
        end = band.mean[-1] if band.mean else math.nan
        end = -math.inf if math.isnan(end) else end if direction is Direction.MORE else -end
        return not band.role, -end

    named = [band.style for band in sorted(made, key=worth)[:_NAMED_OF_MANY]]
    styles = {style: place for place, style in enumerate(sorted(named))}
    return tuple(replace(b, style=styles.get(b.style, 0), named=b.style in styles) for b in made)


def _band(mine: tuple[Curve, ...]) -> Band:
    members = tuple(curve for curve in mine if curve.counted)
    rest = tuple(curve for curve in mine if not curve.counted)
    if not members:  # the completed ones have no curve
        members, rest = mine, ()
    shared = sorted(set.intersection(*(set(curve.epochs) for curve in members)))
    at = [dict(zip(curve.epochs, curve.values, strict=True)) for curve in members]
    columns = [[values[epoch] for values in at] for epoch in shared]
    return Band(
        mine[0].label, mine[0].style, mine[0].role, tuple(shared), tuple(_mean(column) for column in columns),
        tuple(min(column) for column in columns), tuple(max(column) for column in columns), members, rest,
    )  # fmt: skip


def _mean(values: Sequence[float]) -> float:
    """Within the values, which rounding may leave."""
    return min(max(math.fsum(values) / len(values), min(values)), max(values))
