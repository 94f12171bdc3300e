"""Cells and forecasts of a search by what the learning curves so far say of the ends of all others.

`sampler: curves` draws one possible truth from the model of the curves and proposes the cell that is best in it at
its full length (Thompson sampling): what may still be best is tried in proportion to how likely it is. `rank: forecast`
of an `asha` pruner ranks trials by their forecasts. Both are pure functions of the ledger's rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from posestudy.vocabulary import METRICS, Direction, Outcome
from posestudy_studies import factors
from posestudy_studies.curve_model import Array, CurveModel, Kind, Points, time
from posestudy_studies.designs.base import View
from posestudy_studies.designs.conditions import holds
from posestudy_studies.designs.search import Log, Search, Uniform, Whole, choice_text
from posestudy_studies.failure_model import FailureModel
from posestudy_studies.training import Schedule

Levels = dict[str, Any]

FAILURES = (Outcome.OUT_OF_MEMORY, Outcome.DIVERGED, Outcome.NOT_CONVERGED)
UNKNOWN = (Outcome.FAILED, Outcome.CANCELLED)
"""Outcomes that say nothing of a cell."""
CANDIDATES = 600
"""Cells drawn from the whole space for a proposal."""
NEIGHBOURS = 50
"""Further ones around each of the best cells."""
BEST = 6
CHANGED = 3
"""Factors in which a neighbour differs, at most."""
NUDGE = 0.07
"""Standard deviation of a small change of a number, its range as 1."""
DRAWN = 250
"""The most promising candidates, whose values are drawn together."""
BAD = 2.0
"""A first value so far below the upper quartile of all first values is a failure; in the unit of the scale."""
DOUBTED = 1.0
"""Below it by more than this, a value says the less the lower it is: effects add only among cells that train well."""
MOST_POINTS = 240
"""Of all curves together; validations are averaged over longer times until there are no more."""
WINDOWS = (1.7, 2.5, 4.0, 10.0, 1.0e9)
"""Ratios of epochs that one mean goes over."""
FINEST_SHARE = 0.003
"""Of a metric that is a share: what is nearer to 0 or 1 counts as this."""
_LENGTH = ("epochs", "schedule")
"""What of a configuration says when its training ends, and with which learning rate."""


class Space:
    """The space of a search as codes: numbers from 0 to 1, indices of choices, NaN where there is no such factor.

    Args:
        search: whose space.
        start: the nested configuration that the stage starts from.
    """

    def __init__(self, search: Search, start: Mapping[str, Any]) -> None:
        self._search, self._start = search, start
        self.factors = search.order()
        self._choices = {f: search.choices(f) for f in self.factors}
        self._ranges = {f: _range(search, f) for f in self.factors}

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Of the factors, in the order of the codes."""
        return tuple("choice" if self._ranges[f] is None else "number" for f in self.factors)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many levels each choice has; 0 of a number."""
        return tuple(0 if self._ranges[f] else len(self._choices[f] or ()) for f in self.factors)

    def codes(self, levels: Mapping[str, Any]) -> list[float]:
        """The codes of a cell; a factor that it does not set is as the start has it."""
        return [self._code(f, levels) for f in self.factors]

    def _code(self, factor: str, levels: Mapping[str, Any]) -> float:
        if not holds(self._search.when(factor), levels, self._start):
            return math.nan
        level = levels[factor] if factor in levels else factors.get(self._start, factor)
        reach, choices = self._ranges[factor], self._choices[factor]
        if reach is not None:
            number = _number(level)
            return math.nan if number is None else reach.code(number)
        return float(choices.index(level)) if choices and level in choices else -1.0

    def levels(self, parts: Mapping[str, float]) -> Levels:
        """The cell at a place of the unit cube, `{factor: 0 to 1}`, without the factors that it does not have."""
        found: Levels = {}
        for factor in self.factors:
            if holds(self._search.when(factor), found, self._start):
                found[factor] = self._level(factor, parts[factor])
        return {factor: found[factor] for factor in self._search.space if factor in found}

    def _level(self, factor: str, part: float) -> Any:
        choices = self._choices[factor]
        if choices is not None:
            return choices[min(len(choices) - 1, int(part * len(choices)))]
        reach = self._ranges[factor]
        assert reach is not None
        dimension = self._search.space[factor]
        if isinstance(dimension, Whole):
            low, high = dimension.int
            # Every whole number has an equal share, those at the ends as well.
            return min(high, low + int(part * (high - low + 1)))
        return min(reach.high, max(reach.low, reach.at(part)))

    def part(self, factor: str, level: Any) -> float:
        """A place from 0 to 1 that `levels` turns into this level of the factor."""
        choices, reach = self._choices[factor], self._ranges[factor]
        if choices is not None:
            return (choices.index(level) + 0.5) / len(choices) if level in choices else 0.5
        number = _number(level)
        if number is None or reach is None:
            return 0.5
        dimension = self._search.space[factor]
        if isinstance(dimension, Whole):
            low, high = dimension.int
            return (number - low + 0.5) / (high - low + 1)
        return reach.code(number)

    def is_range(self, factor: str) -> bool:
        """Whether the factor is sampled from a range, not from a list."""
        return self._choices[factor] is None


@dataclass(frozen=True)
class _Range:
    low: float
    high: float
    log: bool

    def code(self, number: float) -> float:
        if self.log:
            return (math.log(max(number, 1e-300)) - math.log(self.low)) / self._decades
        return (number - self.low) / (self.high - self.low)

    def at(self, part: float) -> float:
        if self.log:
            return math.exp(math.log(self.low) + part * self._decades)
        return self.low + part * (self.high - self.low)

    @property
    def _decades(self) -> float:
        """The range of the logarithm; the ratio of the ends may be too large for a number."""
        return math.log(self.high) - math.log(self.low)


def _number(level: Any) -> float | None:
    """A level on a line: a number, or the geometric mean of a size; None: neither."""
    if isinstance(level, (int, float)) and not isinstance(level, bool):
        return float(level)
    if isinstance(level, (list, tuple)) and level:
        parts = [_number(one) for one in level]
        if all(part is not None and part > 0 for part in parts):
            return math.exp(math.fsum(math.log(part) for part in parts if part) / len(parts))
    return None


def _range(search: Search, factor: str) -> _Range | None:
    """Where the levels lie that have an order; None: they have none."""
    match search.space[factor]:
        case Log(log=(low, high)):
            return _Range(low, high, log=True)
        case Uniform(uniform=(low, high)):
            return _Range(low, high, log=False)
        case Whole(int=(low, high)):
            return _Range(float(low), float(high), log=low > 0 and high >= 10 * low)
    numbers = [_number(choice) for choice in search.choices(factor) or ()]
    known = [number for number in numbers if number is not None]
    if len(known) < len(numbers) or len(set(known)) < max(2, len(numbers)):
        return None
    return _Range(min(known), max(known), log=min(known) > 0)


# ---- the ledger's rows


@dataclass(frozen=True)
class Rows:
    """What the model learns from; equal rows are learnt from once.

    Attributes:
        kinds, sizes: of the factors, as `Space` has them.
        codes: of each trial.
        curves: of each, (epoch, settled, value) on the scale of the model.
        failed: whether each failed to train.
        longest: epochs at which time is 0.
    """

    kinds: tuple[Kind, ...]
    sizes: tuple[int, ...]
    codes: tuple[tuple[float, ...], ...]
    curves: tuple[tuple[tuple[int, float, float], ...], ...]
    failed: tuple[bool, ...]
    longest: int


class Scale:
    """The metric on a scale on which effects add and more is better.

    Args:
        metric: its name.
        values: all that were measured.
    """

    def __init__(self, metric: str, values: Sequence[float]) -> None:
        known = METRICS.get(metric)
        self._share = known is not None and known.is_share
        self._less = known is None or known.direction is Direction.LESS
        self._ratio = not self._share and self._less and min(values, default=1.0) > 0
        spread = float(np.std(values)) if len(values) > 1 else 0.0
        self._unit = 1.0 if self._share or self._ratio else spread or 1.0

    def __call__(self, value: float) -> float:
        """A logit of a share, minus the logarithm of an error, or units of the spread."""
        if self._share:
            inside = min(1 - FINEST_SHARE, max(FINEST_SHARE, value))
            return math.log(inside / (1 - inside))
        if self._ratio:
            return -math.log(value)
        return (-value if self._less else value) / self._unit


def rows(search: Search, view: View, asking: str | None = None, until: int = 0) -> tuple[Rows, list[str]]:
    """What the trials of a search have shown, and their uids.

    Of the trial `asking` what came after the epoch `until` is left out, as is how it ended.
    """
    metric = view.snapshot.study.document["metric"]
    space = Space(search, view.stage.start)
    cells = {cell.id: cell for cell in view.cells}
    trials = [trial for trial in view.trials if trial.outcome not in UNKNOWN]
    known = {
        trial.uid: [
            (row.epoch, row.metrics[metric])
            for row in view.values(trial.uid)
            if math.isfinite(row.metrics.get(metric, math.nan)) and (trial.uid != asking or row.epoch <= until)
        ]
        for trial in trials
    }
    scale = Scale(metric, [value for curve in known.values() for _, value in curve])
    codes, curves, failed, uids = [], [], [], []
    for trial in trials:
        fails = trial.outcome in FAILURES and trial.uid != asking
        if not known[trial.uid] and not fails:
            continue
        config = cells[trial.cell_id].config
        settled = _falls(config["schedule"], int(config["epochs"]))
        uids.append(trial.uid)
        codes.append(tuple(space.codes(cells[trial.cell_id].levels)))
        curves.append(tuple((epoch, settled(epoch), scale(value)) for epoch, value in known[trial.uid] if epoch > 0))
        failed.append(fails)
    longest = max([int(view.stage.start["epochs"]), *(int(cell.config["epochs"]) for cell in view.cells), 1])
    return Rows(space.kinds, space.sizes, tuple(codes), tuple(curves), tuple(failed), longest), uids


def _falls(schedule: Mapping[str, Any], epochs: int) -> Callable[[float], float]:
    """How far the learning rate has fallen after an epoch, from 0 to 1."""
    kind = Schedule.model_validate(schedule)
    if kind.type == "cosine":
        return lambda epoch: (1 - kind.min_lr_ratio) * (1 - math.cos(math.pi * min(1.0, epoch / max(1, epochs)))) / 2
    steps = kind.steps(epochs)
    return lambda epoch: 1.0 - kind.gamma ** sum(step < epoch for step in steps)


class Learnt:
    """The models of curves and of failures that some rows lead to."""

    def __init__(self, known: Rows) -> None:
        self.rows = known
        firsts = [curve[0][2] for curve, failed in zip(known.curves, known.failed, strict=True) if curve and not failed]
        self._upper = float(np.quantile(firsts, 0.75)) if firsts else 0.0
        self.failed = [
            failed or not curve or curve[0][2] < self._upper - BAD
            for curve, failed in zip(known.curves, known.failed, strict=True)
        ]

    @cached_property
    def codes(self) -> Array:
        """Trials x factors."""
        return np.array(self.rows.codes, dtype=float).reshape(len(self.rows.codes), len(self.rows.kinds))

    @cached_property
    def failures(self) -> FailureModel:
        """Which cells fail."""
        return FailureModel(self.rows.kinds, self.rows.sizes, self.codes, ~np.array(self.failed, dtype=bool))

    @cached_property
    def curves(self) -> CurveModel | None:
        """How cells learn; None where no trial has shown anything."""
        found: list[tuple[float, ...]] = []
        for window in WINDOWS:
            found = [point for i, curve in enumerate(self.rows.curves) for point in self._points(i, curve, window)]
            if len(found) <= MOST_POINTS:
                break
        if not found:
            return None
        training, when, settled, value, count, doubt = np.array(found, dtype=float).T
        points = Points(training.astype(int), when, settled, value, count, doubt)
        return CurveModel(self.rows.kinds, self.codes, points)

    def _points(
        self, training: int, curve: Sequence[tuple[int, float, float]], window: float
    ) -> list[tuple[float, ...]]:
        """The means of a curve over windows of its epochs, each with one learning rate."""
        if self.rows.failed[training] or not curve:
            return []
        if self.failed[training]:
            # That it is bad is all it says: how bad would tell of nothing but how it fails.
            first, settled, _ = curve[0]
            return [(training, float(time(first, self.rows.longest)), settled, self._upper - BAD, 1.0, 1.0)]
        doubt = 0.5 * max(0.0, self._upper - DOUBTED - curve[0][2]) ** 2
        windows: dict[tuple[int, int], list[tuple[float, float, float]]] = {}
        for epoch, settled, value in curve:
            index = int(math.log(epoch / curve[0][0]) / math.log(window) + 1e-9)
            windows.setdefault((index, round(4 * settled)), []).append((epoch, settled, value))
        found: list[tuple[float, ...]] = []
        for inside in windows.values():
            when = float(np.mean([time(epoch, self.rows.longest) for epoch, _, _ in inside]))
            settled, value = (float(np.mean([one[part] for one in inside])) for part in (1, 2))
            found.append((training, when, settled, value, float(len(inside)), doubt))
        return found


@lru_cache(maxsize=8)
def learnt(known: Rows) -> Learnt:
    """The models of `known`; the last few are kept, as one decision asks several times."""
    return Learnt(known)


# ---- what is asked


def forecasts(search: Search, view: View, asking: str | None = None, until: int = 0) -> dict[str, float]:
    """By uid, what each trial with values is expected to come to at its full length; more is better.

    A trial that failed, or began far below the others, comes to minus infinity. The numbers are on the scale of the
    model and only to be compared with each other. See `rows` for the arguments.
    """
    known, uids = rows(search, view, asking, until)
    found = learnt(known)
    if found.curves is None:
        return dict.fromkeys(uids, -math.inf)
    by_uid = {trial.uid: trial.cell_id for trial in view.trials}
    configs = {cell.id: cell.config for cell in view.cells}
    ends = [_end(configs[by_uid[uid]], known.longest) for uid in uids]
    when, settled = np.array(ends, dtype=float).T
    means, _ = found.curves.forecast(found.codes, when, settled, np.arange(len(uids)))
    return {
        uid: -math.inf if failed else float(mean) for uid, mean, failed in zip(uids, means, found.failed, strict=True)
    }


def _end(config: Mapping[str, Any], longest: int) -> tuple[float, float]:
    """Time and fall of the learning rate at the end of a training."""
    epochs = max(1, int(config["epochs"]))
    return float(time(epochs, longest)), _falls(config["schedule"], epochs)(epochs)


def propose(
    search: Search, view: View, sampled: int, seed: int, fixed_seed: int, fits: Callable[[Levels], bool]
) -> Levels:
    """The levels of the next cell.

    Args:
        search: the stage.
        view: what the ledger holds of it.
        sampled: how many cells were proposed before; those that the file wants tried first are not counted.
        seed: another one for each cell that is asked for.
        fixed_seed: the same for all cells of the stage; the first ones are spread evenly by it.
        fits: whether a cell may fit into memory; where none does the last one tried is proposed.
    """
    random = np.random.default_rng(seed)
    space = Space(search, view.stage.start)
    known, _ = rows(search, view)
    spread = _spread(space, search.sampler.startup_trials, fixed_seed)
    drawn = [dict(zip(space.factors, random.random(len(space.factors)), strict=True)) for _ in range(CANDIDATES)]
    if sampled < len(spread) or all(learnt(known).failed):
        return _first_that_fits([*spread[sampled : sampled + 1], *drawn[:40]], space, fits)
    cells = [space.levels(parts) for parts in drawn]
    cells += _neighbours(space, _best(space, learnt(known), cells, view), random)
    return _drawn_best(space, learnt(known), cells, view, random, fits)


def _spread(space: Space, count: int, seed: int) -> list[dict[str, float]]:
    """A Latin hypercube: every level, and every part of a range, equally often."""
    random = np.random.default_rng(seed)
    columns = {f: (random.permutation(count) + random.random(count)) / max(1, count) for f in space.factors}
    return [{factor: float(column[i]) for factor, column in columns.items()} for i in range(count)]


def _first_that_fits(places: Sequence[Mapping[str, float]], space: Space, fits: Callable[[Levels], bool]) -> Levels:
    levels: Levels = {}
    for parts in places:
        levels = space.levels(parts)
        if fits(levels):
            break
    return levels


def _ends(cells: Sequence[Levels], view: View, longest: int) -> tuple[Array, Array]:
    """Times and falls of the learning rate at the ends of cells, by their epochs."""
    start = {key: view.stage.start[key] for key in _LENGTH}
    ends: dict[str, tuple[float, float]] = {}
    every = []
    for cell in cells:
        own = {factor: level for factor, level in cell.items() if factor.split(".")[0] in _LENGTH}
        every.append(choice_text(own))
        if every[-1] not in ends:
            config = deepcopy(start)
            factors.put_all(config, own)
            ends[every[-1]] = _end(config, longest)
    when, settled = np.array([ends[which] for which in every]).T
    return when, settled


def _best(space: Space, found: Learnt, cells: Sequence[Levels], view: View) -> list[Levels]:
    """The cells that are expected to be best, trained ones and others."""
    tried = [cell.levels for cell in view.cells]
    among = [*tried, *cells]
    codes = np.array([space.codes(cell) for cell in among])
    assert found.curves is not None
    means, _ = found.curves.forecast(codes, *_ends(among, view, found.rows.longest))
    means = means + np.log(found.failures.chance(codes))
    return [among[i] for i in np.argsort(-means, kind="stable")[:BEST]]


def _neighbours(space: Space, cells: Sequence[Levels], random: np.random.Generator) -> list[Levels]:
    """Cells that differ from one of `cells` in a few factors, or by a little."""
    found = []
    for cell in cells:
        place = {f: space.part(f, cell[f]) if f in cell else 0.5 for f in space.factors}
        ranges = [f for f in space.factors if space.is_range(f)]
        for _ in range(NEIGHBOURS):
            parts = dict(place)
            changed = random.permutation(len(space.factors))[: random.integers(1, CHANGED + 1)]
            for index in changed:
                parts[space.factors[index]] = float(random.random())
            if random.random() < 0.5:
                for factor in ranges:
                    parts[factor] = float(np.clip(place[factor] + NUDGE * random.standard_normal(), 0.0, 1.0))
            found.append(space.levels(parts))
    return found


def _drawn_best(
    space: Space,
    found: Learnt,
    cells: Sequence[Levels],
    view: View,
    random: np.random.Generator,
    fits: Callable[[Levels], bool],
) -> Levels:
    """The best of `cells` in one possible truth, of those that may fit into memory."""
    codes = np.array([space.codes(cell) for cell in cells])
    well = np.flatnonzero(found.failures.draw(codes, random))
    if not len(well):
        well = np.argsort(-found.failures.chance(codes), kind="stable")[:DRAWN]
    when, settled = _ends(cells, view, found.rows.longest)
    assert found.curves is not None
    means, sds = found.curves.forecast(codes[well], when[well], settled[well])
    promising = well[np.argsort(-(means + 2 * sds), kind="stable")[:DRAWN]]
    values = found.curves.draw(codes[promising], when[promising], settled[promising], random)
    ranked = [cells[i] for i in promising[np.argsort(-values, kind="stable")]]
    return next((cell for cell in ranked if fits(cell)), ranked[0])
