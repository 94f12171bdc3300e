"""The numbers of a cell with their addresses: what tables and sentences print of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal

from posestudy.home import safe_part
from posestudy.ledger.records import TrialRecord
from posestudy.vocabulary import METRICS, Direction, Metric
from posestudy_reports import words
from posestudy_reports.addressed import Number
from posestudy_reports.quantities import QUANTITIES, over_seeds
from posestudy_reports.results import CellResult, Spread, StageResult, StudyResult

if TYPE_CHECKING:
    from posestudy_reports.comparison import Difference, Interval

Over = Literal["images", "seeds"]
End = Literal["mean", "low", "high"]
ENDS: Final[tuple[End, ...]] = ("mean", "low", "high")
_SAID: Final = {"mean": ("", "mean"), "low": ("/low", "smallest"), "high": ("/high", "largest")}


_OF_THE_STUDY: Final = frozenset({"study", "dataset", "errors", "complexity"})
"""What addresses begin with that belong to no stage."""


def address(stage: StageResult, cell: CellResult, what: str) -> str:
    """`augmentation/half_body/final`; a name that is none as part of a path, or that addresses of the whole study begin
    with, is counted: `study+0`."""
    return stage_address(stage, f"{_part(cell.cell.name, cell.cell.ordinal)}/{what}")


def stage_address(stage: StageResult, what: str) -> str:
    """`augmentation/resolvable`: of a number that belongs to a stage as a whole."""
    first = _part(stage.stage.name, stage.stage.ordinal)
    if first in _OF_THE_STUDY:
        first = f"{first}+{stage.stage.ordinal}"
    return f"{first}/{what}"


def _part(name: str, ordinal: int) -> str:
    part = safe_part(name)
    # No name has a plus once it is safe.
    return part if part == name else f"{part}+{ordinal}"


def final(result: StudyResult, stage: StageResult, cell: CellResult, end: End = "mean") -> Number | None:
    """The study's metric at the last epoch: the mean over seeds, or its smallest or largest value."""
    return _spread(result, stage, cell, cell.final, "final", end)


def best(result: StudyResult, stage: StageResult, cell: CellResult, end: End = "mean") -> Number | None:
    """The study's metric at the best evaluated epoch of each seed, likewise."""
    return _spread(result, stage, cell, cell.best, "best", end)


def reached(result: StudyResult, stage: StageResult, cell: CellResult, trial: TrialRecord) -> Number:
    """The best value of a trial that was stopped before its end."""
    value, metric = trial.best_value or 0.0, result.metric
    formula = f"best {metric.name} of a trial that was stopped"
    return Number(address(stage, cell, "best"), words.score(value, metric), value, formula, (trial.uid,))


def _spread(
    result: StudyResult, stage: StageResult, cell: CellResult, spread: Spread | None, what: str, end: End
) -> Number | None:
    if spread is None:
        return None
    value: float = getattr(spread, end)
    ending, said = _SAID[end]
    metric = result.metric
    formula = f"{said} of the {what} {metric.name} over {words.count(spread.count, 'seed')}"
    return Number(address(stage, cell, what + ending), words.score(value, metric), value, formula, _uids(cell))


def difference(result: StudyResult, stage: StageResult, cell: CellResult) -> Number | None:
    """The mean final metric minus the baseline's of the stage."""
    delta = stage.delta(cell)
    if delta is None or stage.baseline is None:
        return None
    formula = f"mean final {result.metric.name} minus the mean of {stage.baseline.cell.name}"
    text = words.difference(delta, result.metric)
    return Number(address(stage, cell, "difference"), text, delta, formula, _uids(cell) + _uids(stage.baseline))


def ends(result: StudyResult, stage: StageResult, row: Difference, over: Over) -> tuple[Number, Number]:
    """Where the interval of a difference begins and ends; `row` must have one over images or seeds as asked."""
    interval: Interval = getattr(row, over)
    baseline = stage.baseline.cell.name if stage.baseline else ""
    formula = f"{{}} end of the interval over {over} ({interval.method}) of the difference from {baseline}"
    uids = _uids(row.cell) + (_uids(stage.baseline) if stage.baseline else ())

    def end(name: str, value: float) -> Number:
        where = address(stage, row.cell, f"difference/{over}_{name}")
        return Number(where, words.difference(value, result.metric), value, formula.format(name), uids)

    return end("low", interval.low), end("high", interval.high)


def measured(result: StudyResult, stage: StageResult, cell: CellResult, name: str) -> Number | None:
    """Any metric by its ledger name, at the final epoch: the mean over the completed trials; None if one lacks it."""
    metric = METRICS.get(name) or Metric(name, "1", Direction.MORE, name, name)
    found = [_at_the_end(result, trial, name) for trial in cell.completed]
    known = [value for value in found if value is not None]
    if not known or len(known) < len(found):
        return None
    mean = math.fsum(known) / len(known)
    formula = f"mean of the final {name} over {words.count(len(known), 'seed')}"
    where = address(stage, cell, safe_part(name.replace("/", "_")))
    return Number(where, words.score(mean, metric), mean, formula, _uids(cell))


def _at_the_end(result: StudyResult, trial: TrialRecord, name: str) -> float | None:
    if name == result.metric.name:
        return trial.final_value
    again = result.evaluated_again.get(trial.uid, {})
    if name in again:
        return again[name]
    values = {value.epoch: value.metrics for value in result.values.get(trial.uid, ())}
    return values.get(trial.final_epoch or 0, {}).get(name)


def cost(result: StudyResult, stage: StageResult, cell: CellResult, name: str) -> Number | None:
    """A cost by its name in `quantities.QUANTITIES`: the mean over the completed trials that know it."""
    quantity = QUANTITIES[name]
    spread = over_seeds(quantity, result, cell)
    if spread is None:
        return None
    formula = f"mean {quantity.axis} over {words.count(spread.count, 'trial')}, from the ledger"
    return Number(address(stage, cell, name), quantity.text(spread.mean), spread.mean, formula, _uids(cell))


def _uids(cell: CellResult) -> tuple[str, ...]:
    return tuple(t.uid for t in cell.completed)
