"""The Pareto set of a search with two objectives: cells than which none is as good by both and better by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from posestudy.ledger.records import TrialRecord
from posestudy.vocabulary import METRICS, Direction
from posestudy_reports import cell_numbers, networks, tradeoff, words
from posestudy_reports.addressed import Number, Text
from posestudy_reports.factor_table import addressed_row
from posestudy_reports.quantities import QUANTITIES, Range, devices
from posestudy_reports.results import CellResult, StageResult, StudyResult
from posestudy_reports.tables import Column, Entry, Table
from posestudy_reports.tradeoff import Point, Tradeoff

_QUANTITIES: Final = {"latency_ms": "latency", "duration_s": "train_time", "peak_memory_mb": "peak_memory"}
_SHORT: Final = {"latency_ms": "Latency [ms]", "duration_s": "Time", "peak_memory_mb": "Memory [MiB]"}
_WORDS: Final = {"latency_ms": "latency", "duration_s": "training time", "peak_memory_mb": "peak memory"}


@dataclass(frozen=True)
class Member:
    """A cell with a value of both objectives, the mean over its completed seeds."""

    cell: CellResult
    values: tuple[Range, Range]
    on_front: bool = False


@dataclass(frozen=True)
class ParetoSet:
    """The cells of one stage by its two objectives; of those that are one configuration the carried or the first one.

    Attributes:
        device: where the costs among the objectives were measured; empty where there is none, or that is not known.
        elsewhere: labels of the cells that have both objectives, but a cost from another machine.
    """

    stage: StageResult
    objectives: tuple[str, str]
    members: tuple[Member, ...]
    device: str = ""
    elsewhere: tuple[str, ...] = ()

    @property
    def front(self) -> tuple[Member, ...]:
        """Those that are not dominated, from the best by the first objective on."""
        sign = -1.0 if _direction(self.objectives[0]) is Direction.MORE else 1.0
        front = [member for member in self.members if member.on_front]
        return tuple(sorted(front, key=lambda m: (sign * m.values[0].mean, m.cell.cell.ordinal)))


def pareto_sets(result: StudyResult) -> tuple[ParetoSet, ...]:
    """One for each search of two objectives that has a cell with both."""
    found = []
    for stage in result.stages:
        names = [str(name) for name in stage.declared.get("objectives") or ()]
        if stage.stage.design == "search" and len(names) == 2:
            one = _pareto_set(result, stage, (names[0], names[1]))
            if one.members:
                found.append(one)
    return tuple(found)


def _pareto_set(result: StudyResult, stage: StageResult, names: tuple[str, str]) -> ParetoSet:
    measured = _measured(result, stage, names)
    machines = {member.cell.cell.id: _machines(result, member.cell, names) for member in measured}
    device = tradeoff.commonest([machine for several in machines.values() for machine in several])
    # Numbers of two machines cannot be held against each other.
    here = [member for member in measured if not device or machines[member.cell.cell.id] == (device,)]
    directions = [_direction(name) for name in names]
    members = tuple(
        Member(one.cell, one.values, not any(_dominates(other, one, directions) for other in here)) for one in here
    )
    away = tuple(tradeoff.label(stage, member.cell) for member in measured if member not in here)
    return ParetoSet(stage, names, members, device, away)


def _measured(result: StudyResult, stage: StageResult, names: tuple[str, str]) -> list[Member]:
    """The configurations with both objectives, each once: a sampler may ask for one again."""
    found: dict[str, Member] = {}
    for cell in stage.cells:
        first, second = (Range.of(_values(result, cell, name)) for name in names)
        if first is None or second is None:
            continue
        if cell.cell.key not in found or cell.cell.name == stage.stage.carried:
            found[cell.cell.key] = Member(cell, (first, second))
    return list(found.values())


def _machines(result: StudyResult, cell: CellResult, names: Sequence[str]) -> tuple[str, ...]:
    """Where the costs among the objectives of a cell were measured, each machine once."""
    costs = [QUANTITIES[_QUANTITIES[name]] for name in names if name in _QUANTITIES]
    return tuple(dict.fromkeys(device for cost in costs for device in devices(cost, result, cell)))


def _dominates(one: Member, other: Member, directions: Sequence[Direction]) -> bool:
    pairs = [(d, a.mean, b.mean) for d, a, b in zip(directions, one.values, other.values, strict=True)]
    return not any(d.better(b, a) for d, a, b in pairs) and any(d.better(a, b) for d, a, b in pairs)


def _direction(objective: str) -> Direction:
    return METRICS[objective].direction if objective in METRICS else Direction.LESS


def _values(result: StudyResult, cell: CellResult, name: str) -> list[float]:
    found = (_value(result, trial, name) for trial in cell.completed)
    return [value for value in found if value is not None and math.isfinite(value)]


def _value(result: StudyResult, trial: TrialRecord, name: str) -> float | None:
    if name == result.metric.name:
        return trial.final_value
    if name in _QUANTITIES:
        value: float | None = getattr(trial, name)
        return value
    rows = [row for row in result.snapshot.values if row.trial_uid == trial.uid and name in row.metrics]
    return max(rows, key=lambda row: row.epoch).metrics[name] if rows else None


def pareto_table(result: StudyResult, found: ParetoSet) -> Table:
    """A row per member of the set; the cell that the stage carried is marked."""
    stage = found.stage
    columns = (
        Column("label", "Cell"),
        *(Column(name.replace("/", "_"), _header(name), "right") for name in found.objectives),
        Column("carried", "Carried"),
    )
    rows = []
    for member in found.front:
        numbers = [
            Entry(Text(_number(result, found, member, place)))
            for place in range(len(found.objectives))
        ]  # fmt: skip
        mark = Entry("yes" if member.cell.cell.name == stage.stage.carried else "")
        rows.append(addressed_row(result, member.cell, (Entry(member.cell.label), *numbers, mark)))
    name = f"pareto_{stage.stage.ordinal + 1}"
    remarks = ("Means over the completed seeds of a cell.",) if any(m.values[0].count > 1 for m in found.front) else ()
    return Table(name, f"Pareto set: {stage.stage.name}", columns, tuple(rows), (), remarks)


def _header(objective: str) -> str:
    return words.header(METRICS[objective]) if objective in METRICS else _SHORT[objective]


def _number(result: StudyResult, found: ParetoSet, member: Member, place: int) -> Number:
    name, value = found.objectives[place], member.values[place].mean
    if name == result.metric.name and (final := cell_numbers.final(result, found.stage, member.cell)) is not None:
        return final
    where = cell_numbers.address(found.stage, member.cell, f"objective/{name.replace('/', '_')}")
    text = words.score(value, METRICS[name]) if name in METRICS else QUANTITIES[_QUANTITIES[name]].text(value)
    uids = tuple(trial.uid for trial in member.cell.completed)
    return Number(where, text, value, f"mean of {name} over {words.count(len(uids), 'seed')}", uids)


def sentence(result: StudyResult, found: ParetoSet) -> str:
    """How many cells are in the set, and which of them the stage carries, by which rule."""
    stage, front = found.stage, found.front
    first, second = (_short(name) for name in found.objectives)
    text = (
        f"Of {words.count(len(found.members), 'cell')} of stage {words.quoted(stage.stage.name)} with both "
        f"{len(front)} {'is' if len(front) == 1 else 'are'} not dominated by {first} and {second}: no other cell is as "
        "good by both and better by one. "
    )
    if found.elsewhere:
        text += f"Left out, measured on another machine: {words.listing(found.elsewhere)}. "
    rule = f"A stage of two objectives carries its best cell by {result.metric.short}, the study's metric"
    carried = stage.named(stage.stage.carried)
    if stage.stage.state != "closed" or carried is None:
        return f"{text}{rule}."
    on_front = any(member.cell is carried for member in front)
    where = "" if on_front else ", which is not in the set"
    declared = _named(result, stage)
    if declared:
        return f"{text}The study names the cell that is carried, {words.quoted(carried.label)}{where}."
    return f"{text}{rule}: {words.quoted(carried.label)}{where}."


def _named(result: StudyResult, stage: StageResult) -> bool:
    """Whether the stage after this one says which cell it starts from."""
    stages = result.snapshot.study.document.get("stages") or []
    following = stage.stage.ordinal + 1
    return following < len(stages) and stages[following].get("carry", "best") != "best"


def _short(objective: str) -> str:
    if objective in METRICS:
        return METRICS[objective].short
    return _WORDS[objective]


def drawable(result: StudyResult, found: ParetoSet) -> Tradeoff | None:
    """The set as a figure of the study's metric against the other objective; None where that is no cost."""
    costs = [name for name in found.objectives if name in _QUANTITIES]
    if result.metric.name not in found.objectives or len(costs) != 1:
        return None
    cost, metric = found.objectives.index(costs[0]), found.objectives.index(result.metric.name)
    points = tuple(
        Point(
            found.stage.stage.name,
            member.cell.cell.name,
            tradeoff.label(found.stage, member.cell),
            networks.name(member.cell.cell.config),
            networks.head(member.cell.cell.config),
            member.values[cost],
            member.values[metric],
            tuple(t.number for t in member.cell.completed),
            tuple(t.uid for t in member.cell.completed),
            member.on_front,
        )
        for member in found.members
    )
    if len({point.cost.mean for point in points}) < 2:
        return None
    return Tradeoff(QUANTITIES[_QUANTITIES[costs[0]]], points, found.device, found.elsewhere)


def caption(result: StudyResult, found: ParetoSet, drawn: Tradeoff) -> str:
    """What the figure shows, in sentences."""
    return tradeoff.caption(result, drawn).replace(
        "a point per completed cell.", f"a point per completed cell of stage {words.quoted(found.stage.stage.name)}."
    )
