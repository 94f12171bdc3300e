"""The cells of a search or grid as lines over their factors and the metric: data for parallel coordinates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from posestudy.vocabulary import Direction, Metric
from posestudy_reports import words
from posestudy_reports.factor_space import Axis, Place, Space

DESIGNS: Final = frozenset({"search", "grid"})
_FEWEST: Final = 6
MOST_AXES: Final = 8
BELOW: Final = -0.14
"""Where lines without a value end, on an axis from 0 to 1."""


@dataclass(frozen=True)
class Tick:
    """A place on an axis, from 0 to 1, and its text."""

    at: float
    text: str


@dataclass(frozen=True)
class Line:
    """A cell: where it crosses each factor's axis and, last, the metric's; `BELOW` without a value there."""

    place: Place
    at: tuple[float, ...]
    best: bool = False


@dataclass(frozen=True)
class Parallel:
    """The lines of a stage over `axes`; those without a value come first, then from the worst to the best.

    Attributes:
        ends: the values at the ends of the metric's axis.
        left_out: titles of factors there was no room for.
    """

    stage: str
    ordinal: int
    axes: tuple[Axis, ...]
    lines: tuple[Line, ...]
    ends: tuple[float, float]
    left_out: tuple[str, ...] = ()


def parallel(space: Space, direction: Direction) -> Parallel | None:
    """None where it says nothing: another design, fewer than two factors or six cells with a value, or all equal."""
    values = [place.value.mean for place in space.measured if place.value]
    if space.design not in DESIGNS or len(space.axes) < 2 or len(values) < _FEWEST or min(values) == max(values):
        return None
    axes, ends = space.axes[:MOST_AXES], (min(values), max(values))

    def worth(place: Place) -> float:
        if place.value is None:
            return -math.inf
        return place.value.mean if direction is Direction.MORE else -place.value.mean

    order = sorted(space.places, key=worth)
    lines = []
    for place in order:
        last = BELOW if place.value is None else (place.value.mean - ends[0]) / (ends[1] - ends[0])
        at = tuple(_share(axis, level) for axis, level in zip(axes, place.levels, strict=False))
        lines.append(Line(place, (*at, last), best=place is order[-1]))
    left_out = tuple(axis.title for axis in space.axes[MOST_AXES:])
    return Parallel(space.stage, space.ordinal, axes, tuple(lines), ends, left_out)


def _share(axis: Axis, level: Any) -> float:
    """Where a level lies between the ends of its axis."""
    low, high = axis.ends
    return (axis.number(level) - low) / (high - low)


def ticks(axis: Axis) -> tuple[Tick, ...]:
    """Every level where they are few, else round numbers between the ends and the ends themselves."""
    if axis.few:
        return tuple(Tick(_share(axis, level), text) for level, text in zip(axis.levels, axis.texts, strict=True))
    low, high = float(axis.levels[0]), float(axis.levels[-1])
    inner = _decades(low, high) if axis.scale == "log" else _steps(low, high)
    return tuple(Tick(_share(axis, value), words.level(value, axis.factor)) for value in inner)


def _decades(low: float, high: float) -> list[float]:
    span = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0)):
        found = [float(f"{f}e{e}") for e in span for f in factors if low <= float(f"{f}e{e}") <= high]
        if len(found) > 2:
            return found
    return found or [low, high]


def _steps(low: float, high: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, at most seven of them."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
    return [float(f"{i * step:.10g}") for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def metric_ticks(found: Parallel, metric: Metric) -> tuple[Tick, ...]:
    """Five values of the metric, the ends among them."""
    low, high = found.ends
    return tuple(Tick(i / 4, words.score(low + i * (high - low) / 4, metric)) for i in range(5))


def endings(found: Parallel) -> Mapping[str, int]:
    """How many cells ended how without a value, in order of first sight."""
    counted: dict[str, int] = {}
    for line in found.lines:
        if line.place.value is None:
            counted[line.place.ending] = counted.get(line.place.ending, 0) + 1
    return counted


def caption(found: Parallel, metric: Metric) -> str:
    """What the figure shows, in sentences."""
    less = " (less is better)" if metric.direction is Direction.LESS else ""
    text = (
        f"The cells of stage {words.quoted(found.stage)} over their factors and the final {metric.short}{less}: "
        "a line per cell, coloured by its value."
    )
    without = [f"{count} {ending}" for ending, count in endings(found).items()]
    if without:
        text += f" Cells without a value ({', '.join(without)}) end below the others."
    if found.left_out:
        text += f" There is no room for {words.listing(found.left_out)}."
    return text
