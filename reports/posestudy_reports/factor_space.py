"""The cells of a stage as points in the space of its factors: what several figures of searches and grids start from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

from posestudy.vocabulary import Outcome
from posestudy_reports import words
from posestudy_reports.quantities import Range
from posestudy_reports.results import CellResult, StageResult, StudyResult

Scale = Literal["levels", "linear", "log"]

_FAR_APART: Final = 20.0
_FEW: Final = 8
OPEN: Final = "open"


@dataclass(frozen=True)
class Axis:
    """A factor that differs between the cells of a stage.

    Attributes:
        levels: each once; numbers ascending, else in order of first use.
        texts: of the levels.
        scale: `levels` where they are names, not numbers.
    """

    factor: str
    title: str
    levels: tuple[Any, ...]
    texts: tuple[str, ...]
    scale: Scale

    def index(self, level: Any) -> int:
        """Which of `levels` it is.

        Raises:
            ValueError: none of them.
        """
        return [_key(known) for known in self.levels].index(_key(level))

    @property
    def few(self) -> bool:
        """Whether the levels are so few that each is a choice of its own."""
        return self.scale == "levels" or len(self.levels) <= _FEW

    def number(self, level: Any) -> float:
        """The level on the axis: a number, its decimal logarithm, or which one it is."""
        if self.scale == "levels":
            return float(self.index(level))
        return math.log10(level) if self.scale == "log" else float(level)

    @cached_property
    def ends(self) -> tuple[float, float]:
        """The numbers of the first and the last level."""
        return self.number(self.levels[0]), self.number(self.levels[-1])


@dataclass(frozen=True)
class Place:
    """A cell in the space.

    Attributes:
        levels: of the axes, in their order, as in effect.
        value: the final metric over its completed seeds; None without one.
        ending: how it ended where it has no value: an outcome, or `open`.
    """

    cell: str
    label: str
    levels: tuple[Any, ...]
    value: Range | None
    ending: str
    numbers: tuple[int, ...]
    uids: tuple[str, ...]


@dataclass(frozen=True)
class Space:
    """A stage whose cells differ in `axes`."""

    stage: str
    ordinal: int
    design: str
    axes: tuple[Axis, ...]
    places: tuple[Place, ...]

    @property
    def measured(self) -> tuple[Place, ...]:
        """The cells with a value."""
        return tuple(place for place in self.places if place.value is not None)


def space(result: StudyResult, stage: StageResult) -> Space:
    """The factors that differ between the cells of `stage`, and its cells, in order."""
    axes = tuple(axis for name in stage.factors if (axis := _axis(result, stage, name)) is not None)
    places = tuple(_place(result, axes, cell) for cell in stage.cells)
    return Space(stage.stage.name, stage.stage.ordinal, stage.stage.design, axes, places)


def _axis(result: StudyResult, stage: StageResult, name: str) -> Axis | None:
    found = {_key(level): level for cell in stage.cells for level in [result.level(cell.cell.config, name)]}
    if len(found) < 2:
        return None
    levels = list(found.values())
    if all(isinstance(level, (int, float)) and not isinstance(level, bool) for level in levels):
        levels.sort()
        far = levels[0] > 0 and (_by_decades(stage, name) or levels[-1] / levels[0] > _FAR_APART)
        scale: Scale = "log" if far else "linear"
    else:
        scale = "levels"
    texts = tuple(words.level(_rounded(level), name) for level in levels)
    return Axis(name, words.factor(name), tuple(levels), texts, scale)


def _by_decades(stage: StageResult, name: str) -> bool:
    """Whether the study samples the factor evenly on a logarithmic scale."""
    declared = stage.declared.get("space") or {}
    dimension = declared.get(name) if isinstance(declared, Mapping) else None
    return isinstance(dimension, Mapping) and bool(dimension.get("log"))


def _rounded(level: Any) -> Any:
    """Three digits of a sampled number tell it from the others."""
    return float(f"{level:.3g}") if isinstance(level, float) else level


def _key(level: Any) -> str:
    # A whole number and its float are one level; True and 1 are not.
    if isinstance(level, (int, float)) and not isinstance(level, bool):
        return f"{float(level)!r}"
    return json.dumps(level, sort_keys=True, default=str)


def _place(result: StudyResult, axes: Sequence[Axis], cell: CellResult) -> Place:
    value = Range.of(cell.finals)
    trials = cell.completed if value else cell.trials
    return Place(
        cell.cell.name,
        cell.label,
        tuple(result.level(cell.cell.config, axis.factor) for axis in axes),
        value,
        "" if value else ending(cell),
        tuple(t.number for t in trials),
        tuple(t.uid for t in trials),
    )


def ending(cell: CellResult) -> str:
    """How a cell without a value ended: the outcome of its last trial, in words; `open` while one may still run."""
    if cell.open or not cell.trials:
        return OPEN
    outcome = cell.trials[-1].outcome
    if outcome is Outcome.COMPLETED:
        return "no value"
    return words.OUTCOMES[outcome] if outcome is not None else OPEN
