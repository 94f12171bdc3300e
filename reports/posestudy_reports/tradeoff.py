"""Accuracy against cost as data: a point per cell and the Pareto front, prepared once for every kind of figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from posestudy.ledger.records import TrialRecord
from posestudy.vocabulary import Direction
from posestudy_reports import networks, words
from posestudy_reports.device_time import Device, device_kind
from posestudy_reports.quantities import QUANTITIES, Quantity, Range, devices, over_seeds, trainer
from posestudy_reports.results import CellResult, StageResult, StudyResult

COSTS: Final = ("gflops", "latency", "train_time")
"""The quantities that accuracy is held against, in the order of the figures."""
_FAR_APART: Final = 20.0


@dataclass(frozen=True)
class Point:
    """A completed cell of the study, with the range over its seeds in both directions.

    Attributes:
        label: short and unique among the points.
        head: one of `networks.HEADS`.
        numbers, uids: of the trials behind it, in order.
        on_front: no other point is at least as good in both directions and better in one.
    """

    stage: str
    cell: str
    label: str
    network: str
    head: str
    cost: Range
    metric: Range
    numbers: tuple[int, ...]
    uids: tuple[str, ...]
    on_front: bool = False


@dataclass(frozen=True)
class Tradeoff:
    """The study's metric against one cost.

    Attributes:
        device: where the costs were measured; empty where it makes no difference or is not known.
        elsewhere: labels of the cells that have both numbers, but from another machine.
    """

    quantity: Quantity
    points: tuple[Point, ...]
    device: str = ""
    elsewhere: tuple[str, ...] = ()
    kind: Device = ""
    """What the points were trained on, where the cost is training time and that is known and the same for all."""

    @property
    def front(self) -> tuple[Point, ...]:
        """The members of the Pareto front, from the cheapest on."""
        return tuple(sorted((p for p in self.points if p.on_front), key=lambda p: p.cost.mean))

    @property
    def logarithmic(self) -> bool:
        """Whether the costs are so far apart that their logarithm is drawn."""
        costs = [p.cost.mean for p in self.points]
        return min(costs) > 0 and max(costs) / min(costs) > _FAR_APART


def tradeoffs(result: StudyResult) -> tuple[Tradeoff, ...]:
    """Those that say something: at least two points, and cells whose cost may differ by more than noise."""
    found = (_tradeoff(result, QUANTITIES[name]) for name in COSTS)
    return tuple(t for t in found if t is not None)


def _tradeoff(result: StudyResult, quantity: Quantity) -> Tradeoff | None:
    cells = [(stage, cell) for stage, cell in distinct(result) if over_seeds(quantity, result, cell)]
    machines = {cell.cell.id: devices(quantity, result, cell) for _, cell in cells}
    device = commonest([m for several in machines.values() for m in several])
    # Numbers of two machines cannot be held against each other.
    here = [pair for pair in cells if not device or machines[pair[1].cell.id] == (device,)]
    training = quantity.hardware == "training"
    kinds = {networks.same_cost(cell.cell.config, training=training) for _, cell in here}
    points = _unique([p for stage, cell in here if (p := _point(result, quantity, stage, cell))])
    if len(kinds) < 2 or len({quantity.text(p.cost.mean) for p in points}) < 2:
        return None
    away = tuple(label(stage, cell) for stage, cell in cells if (stage, cell) not in here)
    kind = device_kind(t for _, cell in here for t in _trainers(result, cell)) if training else ""
    return Tradeoff(quantity, _with_front(points, result.metric.direction), device, away, kind)


def _trainers(result: StudyResult, cell: CellResult) -> list[TrialRecord]:
    return [found for trial in cell.completed if (found := trainer(result, trial)) is not None]


def distinct(result: StudyResult) -> list[tuple[StageResult, CellResult]]:
    """The completed cells of the study in order; of those that are one configuration the first."""
    found: dict[str, tuple[StageResult, CellResult]] = {}
    for stage in result.stages:
        for cell in stage.cells:
            if cell.completed:
                found.setdefault(cell.cell.key, (stage, cell))
    return list(found.values())


def commonest(names: Sequence[str]) -> str:
    """The one named most often, the first of several; empty for none."""
    return max(dict.fromkeys(names), key=names.count, default="")


def _point(result: StudyResult, quantity: Quantity, stage: StageResult, cell: CellResult) -> Point | None:
    cost, metric = over_seeds(quantity, result, cell), Range.of(cell.finals)
    if cost is None or metric is None:
        return None
    return Point(
        stage.stage.name,
        cell.cell.name,
        label(stage, cell),
        networks.name(cell.cell.config),
        networks.head(cell.cell.config),
        cost,
        metric,
        tuple(t.number for t in cell.completed),
        tuple(t.uid for t in cell.completed),
    )


def label(stage: StageResult, cell: CellResult) -> str:
    """The row's label; of a baseline without one of its own the network it trains."""
    if stage.baseline is cell and cell.label in ("", "baseline"):
        return networks.name(cell.cell.config) or "baseline"
    return cell.label


def _unique(points: Sequence[Point]) -> list[Point]:
    """The points, with the stage behind a label that several of them have."""
    labels = [p.label for p in points]
    return [replace(p, label=f"{p.label} ({p.stage})") if labels.count(p.label) > 1 else p for p in points]


def _with_front(points: Sequence[Point], direction: Direction) -> tuple[Point, ...]:
    return tuple(replace(p, on_front=not any(_dominates(q, p, direction) for q in points)) for p in points)


def _dominates(one: Point, other: Point, direction: Direction) -> bool:
    """Whether `one` costs no more and is no worse, and is better in one of both."""
    worse = one.cost.mean > other.cost.mean or direction.better(other.metric.mean, one.metric.mean)
    better = one.cost.mean < other.cost.mean or direction.better(one.metric.mean, other.metric.mean)
    return better and not worse


def caption(result: StudyResult, tradeoff: Tradeoff) -> str:
    """What the figure shows, in sentences."""
    quantity, metric = tradeoff.quantity, result.metric
    less = ", of which less is better," if metric.direction is Direction.LESS else ""
    text = (
        f"{metric.short}{less} against {_AGAINST[quantity.name]}{f' on {tradeoff.device}' if tradeoff.device else ''}, "
    )
    text += "a point per completed cell. Ringed: no other cell is as good and as cheap (Pareto front, dashed)."
    if any(p.metric.count > 1 for p in tradeoff.points):
        text += " Bars: the range over seeds."
    if tradeoff.elsewhere:
        text += f" Left out, measured on another machine: {words.listing(tradeoff.elsewhere)}."
    return text


_AGAINST: Final = {
    "gflops": "the multiply-adds of one image in 1e9",
    "latency": "the median latency of one image",
    "train_time": "the time of training",
    "peak_memory": "the peak memory of training",
}
