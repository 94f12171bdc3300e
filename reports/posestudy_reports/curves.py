"""Learning curves as data, prepared once for every kind of figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from posestudy_reports.quantities import evaluated
from posestudy_reports.results import CellResult, StageResult, StudyResult

OKABE_ITO: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8A7F00")
"""Colours that remain apart in every kind of colour blindness (the yellow darkened to be legible on white)."""


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

    @property
    def colour(self) -> str:
        return OKABE_ITO[self.style % len(OKABE_ITO)]


def curves(result: StudyResult, stage: StageResult) -> tuple[Curve, ...]:
    """One curve per trial that was trained and evaluated at least once, in order of the table's rows."""
    drawn: list[Curve] = []
    for style, cell in enumerate(stage.cells):
        first = True
        for trial in cell.trials:
            points = [
                (value.epoch, value.metrics[result.metric.name])
                for value in result.values.get(trial.uid, ())
                if result.metric.name in value.metrics
            ]
            if not any(epoch for epoch, _ in points) or evaluated(trial) is not None:
                continue  # weights that were only evaluated have not learnt here
            epochs, values = zip(*points, strict=True)
            role = _role(stage, cell)
            drawn.append(Curve(trial.uid, trial.number, trial.seed, cell.label, style, first, role, epochs, values))
            first = False
    return tuple(drawn)


def _role(stage: StageResult, cell: CellResult) -> str:
    if stage.stage.carried == cell.cell.name:
        return "carried"
    return "baseline" if stage.baseline is cell else ""
