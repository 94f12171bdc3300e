"""The final metric over two crossed factors of a stage, as data for a heat map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Final

from posestudy.vocabulary import Direction, Metric, Outcome
from posestudy_reports import words
from posestudy_reports.factor_space import Axis, Place, Space
from posestudy_reports.quantities import Range

_MOST_MAPS: Final = 3
_MOST_LEVELS: Final = 14
_FILLED: Final = 0.5
_FIRST: Final = ("optimizer.lr", "batch_size")
# Designs whose cells differ from the baseline in one factor at a time, or walk along one.
_NOT_CROSSED: Final = frozenset({"one_at_a_time", "leave_one_out", "bisect"})
SHORT: Final[Mapping[str, str]] = {
    words.OUTCOMES[Outcome.OUT_OF_MEMORY]: "OOM",
    words.OUTCOMES[Outcome.DIVERGED]: "div.",
    words.OUTCOMES[Outcome.NOT_CONVERGED]: "n. c.",
    words.OUTCOMES[Outcome.TIMED_OUT]: "t. o.",
    words.OUTCOMES[Outcome.PRUNED]: "prun.",
    words.OUTCOMES[Outcome.FAILED]: "fail.",
    words.OUTCOMES[Outcome.CANCELLED]: "canc.",
    "no value": "n. v.",
}
"""How an ending is printed in a square; `open` as it is."""


@dataclass(frozen=True)
class Square:
    """A pair of levels, by their indices, and the cell that has them.

    Attributes:
        value: the final metric over the cell's seeds; None where it has none.
        ending: how the cell ended without one, in words.
        cells: how many cells of the stage have these two levels; `place` is the best of them.
        best: whether its value is the best of the map.
    """

    column: int
    row: int
    place: Place
    cells: int
    best: bool = False

    @property
    def value(self) -> Range | None:
        return self.place.value

    @property
    def ending(self) -> str:
        return self.place.ending


@dataclass(frozen=True)
class HeatMap:
    """Two factors of a stage and the cells that cross their levels; a pair that no cell has is not among `squares`.

    Attributes:
        others: titles of further factors of the stage, over which each square shows the best.
    """

    stage: str
    ordinal: int
    across: Axis
    up: Axis
    squares: tuple[Square, ...]
    others: tuple[str, ...] = ()

    @property
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest value."""
        values = [s.value.mean for s in self.squares if s.value]
        return min(values), max(values)


def heat_maps(space: Space, direction: Direction) -> tuple[HeatMap, ...]:
    """Of pairs of factors that are crossed: two levels of each in all four combinations, and half of all others."""
    # The best over further factors of a sample says where the sampler looked.
    if space.design in _NOT_CROSSED or (space.design == "search" and len(space.axes) > 2):
        return ()
    pairs = sorted(combinations(space.axes, 2), key=lambda pair: {a.factor for a in pair} != set(_FIRST))
    found = (_map(space, one, other, direction) for one, other in pairs)
    return tuple(heat for heat in found if heat is not None)[:_MOST_MAPS]


def _map(space: Space, one: Axis, other: Axis, direction: Direction) -> HeatMap | None:
    across, up = (one, other) if len(one.levels) > len(other.levels) else (other, one)
    if len(across.levels) > _MOST_LEVELS or len(up.levels) > _MOST_LEVELS:
        return None
    at = space.axes.index(across), space.axes.index(up)
    grouped: dict[tuple[int, int], list[Place]] = {}
    for place in space.places:
        levels = place.levels[at[0]], place.levels[at[1]]
        grouped.setdefault((across.index(levels[0]), up.index(levels[1])), []).append(place)
    filled = len(grouped) >= _FILLED * len(across.levels) * len(up.levels)
    measured = {pair for pair, places in grouped.items() if any(p.value for p in places)}
    if not filled or not _crossed(grouped) or len(measured) < 3:
        return None
    squares = [Square(*pair, _best(places, direction), len(places)) for pair, places in sorted(grouped.items())]
    leader = _best([s.place for s in squares], direction)
    # What changes together with one of the two, as weights do with a network, is no factor of its own here.
    alone = any(s.cells > 1 for s in squares)
    others = tuple(a.title for a in space.axes if a not in (across, up)) if alone else ()
    marked = tuple(replace(s, best=s.place is leader) for s in squares)
    return HeatMap(space.stage, space.ordinal, across, up, marked, others)


def _crossed(grouped: Mapping[tuple[int, int], Any]) -> bool:
    """Whether two columns share two rows."""
    rows: dict[int, set[int]] = {}
    for column, row in grouped:
        rows.setdefault(column, set()).add(row)
    return any(len(left & right) > 1 for left, right in combinations(rows.values(), 2))


def _best(places: Sequence[Place], direction: Direction) -> Place:
    """The one with the best value, the first of several; the first of all where none has one."""
    leader = places[0]
    for place in places[1:]:
        if place.value and (leader.value is None or direction.better(place.value.mean, leader.value.mean)):
            leader = place
    return leader


def caption(heat: HeatMap, metric: Metric) -> str:
    """What the map shows, in sentences."""
    text = f"Final {metric.short} by {heat.up.title} and {heat.across.title}, stage {words.quoted(heat.stage)}"
    text += "; less is better." if metric.direction is Direction.LESS else "."
    if any(s.value and s.value.count > 1 for s in heat.squares):
        text += " Mean over seeds."
    if heat.others:
        text += f" Each square shows the best over {words.listing(heat.others)}."
    text += " Framed: the best."
    endings = dict.fromkeys(s.ending for s in heat.squares if s.ending in SHORT)
    if endings:
        text += f" Without a number: {words.listing([f'{ending} ({SHORT[ending]})' for ending in endings])}."
    return text
