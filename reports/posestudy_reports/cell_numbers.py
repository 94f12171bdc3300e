"""The numbers of a cell with their addresses: what tables and sentences print of it."""

from __future__ import annotations

from typing import Any, Literal

from posestudy.home import safe_part
from posestudy.vocabulary import METRICS, Direction, Metric
from posestudy_reports import words
from posestudy_reports.addressed import Number
from posestudy_reports.quantities import QUANTITIES, Range, over_seeds
from posestudy_reports.results import CellResult, Spread, StageResult, StudyResult

End = Literal["mean", "low", "high"]
_ENDS = {"mean": ("", "mean"), "low": ("/low", "smallest"), "high": ("/high", "largest")}


def address(stage: StageResult, cell: CellResult, what: str) -> str:
    """`augmentation/half_body/final`; where two names become alike as parts of a path the later one is counted."""
    return f"{_part(stage.stage.name, stage.stage.ordinal)}/{_part(cell.cell.name, cell.cell.ordinal)}/{what}"


def _part(name: str, ordinal: int) -> str:
    part = safe_part(name)
    return part if part == name else f"{part}.{ordinal}"


def final(result: StudyResult, stage: StageResult, cell: CellResult, end: End = "mean") -> Number | None:
    """The study's metric at the last epoch: the mean over seeds, or its smallest or largest value."""
    return _spread(result, stage, cell, cell.final, "final", end)


def best(result: StudyResult, stage: StageResult, cell: CellResult, end: End = "mean") -> Number | None:
    """The study's metric at the best evaluated epoch of each seed, likewise."""
    return _spread(result, stage, cell, cell.best, "best", end)


def _spread(
    result: StudyResult, stage: StageResult, cell: CellResult, spread: Spread | None, what: str, end: End
) -> Number | None:
    if spread is None:
        return None
    value: float = getattr(spread, end)
    ending, said = _ENDS[end]
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


def measured(result: StudyResult, stage: StageResult, cell: CellResult, name: str) -> Number | None:
    """Any metric by its ledger name, at the last epoch: the mean over the completed trials that have it."""
    metric = METRICS.get(name) or Metric(name, "1", Direction.MORE, name, name)
    last = [v[-1].metrics for t in cell.completed if (v := _evaluated(result, t.uid, name))]
    spread = Range.of(row[name] for row in last)
    if spread is None:
        return None
    formula = f"mean of {name} at the last epoch over {words.count(spread.count, 'seed')}"
    where = address(stage, cell, safe_part(name.replace("/", "_")))
    return Number(where, words.score(spread.mean, metric), spread.mean, formula, _uids(cell))


def _evaluated(result: StudyResult, uid: str, name: str) -> list[Any]:
    return [value for value in result.values.get(uid, ()) if name in value.metrics]


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
