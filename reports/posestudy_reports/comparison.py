"""The rows of a stage against its baseline: intervals over validation images and over seeds, and what they resolve.

The two answer different questions and are never mixed. Over images: these trained networks on other images of the
same kind. Over seeds: networks trained again on these images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal

import numpy as np

from posestudy.ledger.records import TrialRecord
from posestudy_reports import bootstrap
from posestudy_reports.bootstrap import Evidence, Floats, Resamples
from posestudy_reports.footnotes import imported_from
from posestudy_reports.quantities import fixed
from posestudy_reports.results import CellResult, StageResult, StudyResult
from posestudy_studies import resolution, seed_spread

Saved = Callable[[TrialRecord], Evidence | None]
Method = Literal["bootstrap", "paired t", "pooled t", "range"]

CONFIDENCE: Final = 0.95
RESAMPLES: Final = 2000
FEWEST_PAIRS: Final = 3
"""Fewer pairs of seeds give their range, which has no confidence."""


@dataclass(frozen=True)
class Interval:
    """Where a difference lies. `count` is the number of images, of pairs of seeds, or degrees of freedom (pooled t)."""

    low: float
    high: float
    method: Method
    count: int

    @property
    def holds_zero(self) -> bool:
        return self.low <= 0.0 <= self.high

    def inside(self, margin: float) -> bool:
        return -margin < self.low and self.high < margin


@dataclass(frozen=True)
class Difference:
    """A cell's mean final metric minus the baseline's, with what is known of its uncertainty."""

    cell: CellResult
    value: float
    images: Interval | None
    seeds: Interval | None

    @property
    def intervals(self) -> tuple[tuple[str, Interval], ...]:
        return tuple((k, i) for k, i in (("images", self.images), ("seeds", self.seeds)) if i is not None)

    @property
    def unresolved(self) -> tuple[str, ...]:
        """Over what the interval holds zero: `images`, `seeds`."""
        return tuple(over for over, interval in self.intervals if interval.holds_zero)

    @property
    def verdict(self) -> str:
        """`not resolved (seeds)`, `resolved`, `resolved over images only`, or empty where nothing can be said.

        A range without zero resolves nothing: two seeds have the same sign in half of all cases without any effect.
        """
        if self.unresolved:
            return f"not resolved ({', '.join(self.unresolved)})"
        sure = [over for over, interval in self.intervals if interval.method != "range"]
        return {0: "", 1: f"resolved over {sure[0]} only" if sure else ""}.get(len(sure), "resolved")

    def equivalent(self, margin: float) -> bool:
        """Whether every interval lies inside the margin, and there is one that is no mere range."""
        sure = any(interval.method != "range" for _, interval in self.intervals)
        return sure and all(interval.inside(margin) for _, interval in self.intervals)


@dataclass(frozen=True)
class Comparison:
    """The rows of one stage that have a number, against the stage's baseline.

    Attributes:
        images: validation images that were resampled; 0 where no row could be.
        without: numbers of the trials that could not be resampled, by the reason: `missing` matches, `imported`,
            `images` (other ones than the baseline's).
    """

    rows: tuple[Difference, ...]
    images: int = 0
    without: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @cached_property
    def by_cell(self) -> Mapping[str, Difference]:
        return {row.cell.cell.name: row for row in self.rows}


def compare(result: StudyResult, stage: StageResult, saved: Saved) -> Comparison:
    """Every row of `stage` with a difference, all intervals simultaneous over the rows of the table."""
    baseline = stage.baseline
    rows = [cell for cell in stage.cells if stage.delta(cell) is not None]
    if baseline is None or not rows:
        return Comparison(())
    over_seeds = _over_seeds(result, baseline, rows)
    matches = _Matches(result.metric.name, saved)
    images, over_images = _over_images(matches, baseline, rows)
    differences = tuple(
        Difference(cell, stage.delta(cell) or 0.0, over_images.get(cell.cell.name), over_seeds.get(cell.cell.name))
        for cell in rows
    )
    return Comparison(differences, images, matches.without)


class _Matches:
    """The usable matches of cells, and which trials have none."""

    def __init__(self, metric: str, saved: Saved) -> None:
        self.metric = metric
        self.without: dict[str, list[int]] = {}
        self._saved = saved

    def of(self, cell: CellResult, like: Evidence | None = None) -> list[Evidence]:
        """Of all completed trials of `cell`, of the images of `like`; empty unless every trial has its own."""
        if self.metric not in bootstrap.REBUILT:
            return []
        found = []
        for trial in cell.completed:
            matches = self._saved(trial)
            if matches is None or self.metric not in matches.metrics:
                why = "imported" if imported_from(trial) else "missing"
            elif like is not None and not matches.same_images(like):
                why = "images"
            else:
                found.append(matches)
                continue
            self.without.setdefault(why, []).append(trial.number)
        return found if len(found) == len(cell.completed) else []

    def resampled(self, matches: Sequence[Evidence], draws: Resamples) -> Floats:
        """The metric, averaged over seeds: on all images, then on each resample, [1 + count]."""
        whole = [bootstrap.value(m, self.metric) for m in matches]
        drawn = np.mean([draws.values(m, self.metric) for m in matches], axis=0)
        return np.concatenate([[np.mean(whole)], drawn])


def _over_images(
    matches: _Matches, baseline: CellResult, rows: Sequence[CellResult]
) -> tuple[int, dict[str, Interval]]:
    """How many images were resampled, and the interval of each cell that could be: a bootstrap in which every
    resample weighs the images of all rows alike."""
    base = matches.of(baseline)
    drawable = {cell.cell.name: matches.of(cell, base[0] if base else None) for cell in rows}
    drawable = {name: found for name, found in drawable.items() if found}
    if not base or not drawable:
        return 0, {}
    draws = Resamples(len(base[0].image_ids), RESAMPLES)
    reference = matches.resampled(base, draws)
    differences = {name: matches.resampled(found, draws) - reference for name, found in drawable.items()}
    ends = simultaneous(differences)
    return draws.images, {name: Interval(low, high, "bootstrap", draws.images) for name, (low, high) in ends.items()}


def simultaneous(differences: Mapping[str, Floats]) -> dict[str, tuple[float, float]]:
    """Symmetric intervals that hold all at once: each row's bootstrap error in units of its own spread, then the
    quantile of the largest of them over the rows (Westfall and Young's max-t). The first value is the centre."""
    rows = np.stack(list(differences.values()))
    centre, drawn = rows[:, :1], rows[:, 1:]
    drawn = drawn[:, np.isfinite(drawn).all(axis=0)]
    spread = drawn.std(axis=1, ddof=1, keepdims=True)
    moving = spread[:, 0] > 0  # a row that predicts as the baseline does has no error
    half = np.zeros_like(spread)
    if moving.any():
        largest = np.abs((drawn[moving] - centre[moving]) / spread[moving]).max(axis=0)
        half = float(np.quantile(largest, CONFIDENCE)) * spread
    ends = np.hstack([centre - half, centre + half])
    return {name: (float(low), float(high)) for name, (low, high) in zip(differences, ends, strict=True)}


def _over_seeds(result: StudyResult, baseline: CellResult, rows: Sequence[CellResult]) -> dict[str, Interval]:
    """By cell: paired t from three pairs of seeds on, the range of two, else a t with the spread of other cells.

    Bonferroni over the rows that have a t, since a bootstrap over so few seeds means nothing.
    """
    pairs = {cell.cell.name: _paired(cell, baseline) for cell in rows}
    few = [cell for cell in rows if len(pairs[cell.cell.name]) < 2 and not fixed(cell, baseline)]
    pooled = {cell.cell.name: spread_near(result, cell, baseline) for cell in few}
    with_t = sum(len(p) >= FEWEST_PAIRS for p in pairs.values()) + sum(sd is not None for sd in pooled.values())
    confidence = 1 - (1 - CONFIDENCE) / max(1, with_t)
    found: dict[str, Interval] = {}
    for cell in rows:
        name, mine = cell.cell.name, pairs[cell.cell.name]
        if len(mine) >= FEWEST_PAIRS and (ends := resolution.paired(mine, confidence)):
            found[name] = Interval(*ends, "paired t", len(mine))
        elif len(mine) == 2:
            found[name] = Interval(min(mine), max(mine), "range", 2)
        elif (sd := pooled.get(name)) and (ends := resolution.difference(cell.finals, baseline.finals, sd, confidence)):
            found[name] = Interval(*ends, "pooled t", sd[1])
    return found


def spread_near(result: StudyResult, *cells: CellResult) -> resolution.Spread | None:
    """The spread over seeds, pooled over the cells of the study that may stand for `cells`."""
    groups = seed_spread.replicates(result.snapshot)
    return resolution.pooled_near(groups, [cell.finals for cell in cells], share=result.metric.is_share)


def _paired(cell: CellResult, baseline: CellResult) -> list[float]:
    """The differences of the seeds that both have completed, in order of seed."""
    left = {t.seed: t.final_value for t in cell.completed}
    right = {t.seed: t.final_value for t in baseline.completed}
    return [(left[s] or 0.0) - (right[s] or 0.0) for s in sorted(left.keys() & right.keys())]


@dataclass(frozen=True)
class NoiseFloor:
    """What the spread over seeds lets the study resolve.

    A difference of two means is resolved when the interval of Student's t with `sd` leaves zero out.

    Attributes:
        baseline_seeds: whose spread it is: so many seeds of the first baseline; 0: of all cells, pooled.
        sd: standard deviation over seeds. df: its degrees of freedom.
        replicates: the most seeds a cell of the study has.
    """

    baseline_seeds: int
    sd: float
    df: int
    replicates: int


def noise_floor(result: StudyResult) -> NoiseFloor | None:
    """From the seeds of the first stage's baseline; else from those of all cells; None with one seed everywhere."""
    baseline = result.stages[0].baseline if result.stages else None
    groups = seed_spread.replicates(result.snapshot)
    own = baseline.finals if baseline and len(baseline.finals) > 1 else ()
    spread = resolution.pooled_sd([own] if own else groups)
    if spread is None:
        return None
    return NoiseFloor(len(own), *spread, replicates=max(len(group) for group in [own, *groups]))


def smallest(spread: resolution.Spread, left: int, right: int) -> float:
    """The smallest difference that means of `left` and `right` seeds with this spread can resolve at 95 %."""
    return resolution.smallest_resolvable(*spread, 1, CONFIDENCE) * math.sqrt((1 / left + 1 / right) / 2)
