"""`bisect`: the best level of a factor between two ends, by halving."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, Strict, field_validator, model_validator

from posestudy.errors import nearest
from posestudy.ledger.records import TrialRecord
from posestudy.vocabulary import METRICS, Direction, Outcome, TrialState
from posestudy_studies import factor_types, factors, seed_spread
from posestudy_studies.cells import unique_names
from posestudy_studies.designs.base import Design, Probe, Proposal, RowText, View
from posestudy_studies.designs.rows import worded
from posestudy_studies.fields import is_number
from posestudy_studies.mistakes import Mistake, show
from posestudy_studies.training import Training, refuse

Number = Annotated[int, Strict()] | float


@dataclass(frozen=True)
class _Tried:
    """A level, with the final values of its seeds; none where it ended without one."""

    level: Number
    values: tuple[float, ...]

    def score(self, direction: Direction) -> float:
        """More is better, whatever the metric; a level without a value is worst."""
        if not self.values:
            return -math.inf
        mean = math.fsum(self.values) / len(self.values)
        return mean if direction is Direction.MORE else -mean


class Bisect(Design):
    """Evaluates both ends and the middle and keeps the half beside the best, until the tolerance is reached."""

    design: Literal["bisect"]
    factor: str = Field(
        description="A factor whose levels are numbers, as epochs or sigma.",
        json_schema_extra=lambda schema: schema.update(enum=list(dict.fromkeys(factors.known()))),
    )
    between: Annotated[tuple[Number, Number], Strict(False)] = Field(description="[low, high], both evaluated.")
    tolerance: float = Field(
        gt=0, description="The search ends where the next level would be as near as this to one tried before."
    )
    rows: list[RowText] = Field(default_factory=list, description="Labels and notes of cells by their levels.")

    @field_validator("between")
    @classmethod
    def _ordered(cls, value: tuple[Number, Number]) -> tuple[Number, Number]:
        if value[0] >= value[1]:
            raise refuse(f"[{value[0]}, {value[1]}]", "the lower end first, then a larger one")
        return value

    @model_validator(mode="after")
    def _wide_enough(self) -> Bisect:
        if self._middle(*self.between) in self.between:
            raise refuse(
                f"between [{self.between[0]}, {self.between[1]}]", f"ends with a level of {self.factor} between"
            )
        if self.tolerance > (self.between[1] - self.between[0]) / 2:
            expected = f"at most half the interval, {(self.between[1] - self.between[0]) / 2:g}"
            raise refuse(f"tolerance {self.tolerance:g}", expected, "or there is no middle to try")
        return self

    def _middle(self, low: Number, high: Number) -> Number:
        """Half-way, rounded down for a factor of whole numbers."""
        return math.floor((low + high) / 2) if factor_types.is_whole(self.factor) else (low + high) / 2

    def _near(self, low: Number, middle: Number, high: Number) -> bool:
        step = min(middle - low, high - middle)
        return step <= self.tolerance or math.isclose(step, self.tolerance)  # halves of decimal fractions are inexact

    def opening(self, start: Training) -> list[Proposal]:
        low, high = self.between
        return self._proposed(start, [low, high, self._middle(low, high)])

    def _proposed(self, start: Training, levels: Sequence[Number]) -> list[Proposal]:
        chosen = [{self.factor: level} for level in levels]
        if self.include_baseline:
            # The level the stage starts from has its cell already: the baseline.
            chosen = [c for c in chosen if factors.apply(start, c) != start]
        return worded([Proposal(n, c) for n, c in zip(unique_names(chosen), chosen, strict=True)], self.rows)

    def following(self, start: Training, view: View) -> list[Proposal]:
        """The next middle, once the results that decide it are in; nothing where the search has ended."""
        tried = self._tried(view)
        if tried is None:
            return []
        level = self._next(tried, view)
        return [] if level is None else self._proposed(start, [level])

    def _tried(self, view: View) -> dict[Number, _Tried] | None:
        """Every level with a cell; None while a trial is still open."""
        found: dict[Number, _Tried] = {}
        for cell in view.cells:
            if not set(cell.levels) <= {self.factor}:
                continue  # a remedy of a cell that ran out of memory
            level = factors.get(cell.config, self.factor)
            trials = [t for t in view.trials if t.cell_id == cell.id]
            if any(t.state is not TrialState.DONE for t in trials):
                return None
            values = tuple(value for t in trials if (value := _value(t)) is not None)
            if level not in found or not found[level].values:
                found[level] = _Tried(level, values)
        return found

    def _next(self, tried: dict[Number, _Tried], view: View) -> Number | None:
        low, high = self.between
        middle = self._middle(low, high)
        direction = METRICS[view.snapshot.study.document["metric"]].direction
        while True:
            here = [tried.get(level) for level in (low, middle, high)]
            if any(t is None for t in here):
                return None  # an edited file: its opening comes first
            first, between, last = (t for t in here if t is not None)
            kept, best, other = _half(first, between, last, direction)
            low, high = kept
            middle = self._middle(low, high)
            if self._near(low, middle, high) or not _resolved(best, other, view):
                return None
            if middle not in tried:
                return middle

    def planned(self, start: Training) -> Sequence[tuple[Proposal, bool]]:
        """The first levels, and as many more as the tolerance allows: results decide which, these are guesses."""
        low, high = self.between
        middle, label = self._middle(low, high), f"between {low:g} and {high:g}, by results"
        later: list[Proposal] = []
        while True:
            # The half above a whole number's middle is never the narrower one.
            low, middle = middle, self._middle(middle, high)
            if self._near(low, middle, high):
                break
            later.append(Proposal(f"middle_{len(later) + 2}", {self.factor: middle}, label))
        return [*((p, True) for p in self.opening(start)), *((p, False) for p in later)]

    def probes(self) -> list[Probe]:
        place = {self.factor: ("factor",)}
        low, high = self.between
        ends = [
            Probe(("between", i), {self.factor: level}, {self.factor: ("between", i)})
            for i, level in enumerate(self.between)
        ]
        if self.factor not in factors.known():
            return [Probe(("factor",), {self.factor: low}, place)]
        return [*ends, Probe(("between",), {self.factor: self._middle(low, high)}, {self.factor: ("between",)})]

    def mistakes(self) -> list[Mistake]:
        wrong: list[Mistake] = []
        low, high = self.between
        for i, row in enumerate(self.rows):
            for factor, level in row.levels.items():
                path = ("rows", i, "levels", factor)
                if factor != self.factor:
                    expected, hint = f"a level of {self.factor}", nearest(factor, [self.factor])
                    wrong.append(Mistake(path, f"'{factor}'", expected, hint, at_key=True))
                elif not is_number(level) or not low <= level <= high:
                    wrong.append(Mistake(path, show(level), f"a number from {low:g} to {high:g}"))
        return wrong


def _half(
    low: _Tried, middle: _Tried, high: _Tried, direction: Direction
) -> tuple[tuple[Number, Number], _Tried, _Tried]:
    """The half beside the best, ties to the lower and so cheaper level; with the best and its other end."""
    scores = {t.level: t.score(direction) for t in (low, middle, high)}
    best = max((low, middle, high), key=lambda t: (scores[t.level], -t.level))
    better_end = low if scores[low.level] >= scores[high.level] else high
    other = better_end if best is middle else middle
    ends = sorted((best.level, other.level))
    return (ends[0], ends[1]), best, other


def _resolved(best: _Tried, other: _Tried, view: View) -> bool:
    """Whether the gain is more than noise; without replicates anywhere in the study the values count as they are."""
    return seed_spread.resolved(view.snapshot, best.values, other.values) is not False


def _value(trial: TrialRecord) -> float | None:
    """The final value of a completed trial; every other outcome has none to compare."""
    good = trial.outcome is Outcome.COMPLETED and trial.final_value is not None and math.isfinite(trial.final_value)
    return trial.final_value if good else None
