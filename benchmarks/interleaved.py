"""Rivals measured in turns, so that what else the machine does meanwhile hits all of them alike."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """What one rival took.

    Attributes:
        name: who.
        rounds: the figure of each round, in the order they ran.
    """

    name: str
    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    def shown(self, digits: int = 3) -> str:
        """Median and, in brackets, the lowest and the highest round."""
        low, high = min(self.rounds), max(self.rounds)
        return f"{self.median:.{digits}g} ({low:.{digits}g}–{high:.{digits}g})"


def interleaved(rivals: Mapping[str, Callable[[], float]], rounds: int, seed: int = 0) -> dict[str, Measured]:
    """Call each rival once a round, in another order each round; what it returns is its figure."""
    order, figures = list(rivals), {name: list[float]() for name in rivals}
    chance = random.Random(seed)
    for _ in range(rounds):
        chance.shuffle(order)
        for name in order:
            figures[name].append(rivals[name]())
    return {name: Measured(name, tuple(figures[name])) for name in rivals}
