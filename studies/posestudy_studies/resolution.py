"""What differences the spread over seeds lets one resolve: Student's t, and nothing that few seeds cannot bear.

A bootstrap over three seeds means nothing, and a sign-flip test over n pairs cannot go below 2 / 2**n.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Spread = tuple[float, int]
"""A standard deviation over seeds and its degrees of freedom."""


def pooled_sd(groups: Sequence[Sequence[float]]) -> Spread | None:
    """The standard deviation within groups (the seeds of one cell each); None where no group has two values."""
    df = sum(len(group) - 1 for group in groups if len(group) > 1)
    if not df:
        return None
    squares = [(value - _mean(group)) ** 2 for group in groups if len(group) > 1 for value in group]
    return math.sqrt(math.fsum(squares) / df), df


def difference(
    left: Sequence[float], right: Sequence[float], sd: Spread | None, confidence: float = 0.95
) -> tuple[float, float] | None:
    """The interval of mean(left) - mean(right) with the pooled spread `sd`; None without one or without values."""
    if sd is None or not left or not right:
        return None
    spread, df = sd
    half = _t(df, confidence) * spread * math.sqrt(1 / len(left) + 1 / len(right))
    centre = _mean(left) - _mean(right)
    return centre - half, centre + half


def paired(differences: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """The interval of the mean of differences between equal seeds; None with fewer than two."""
    spread = pooled_sd([differences])
    if spread is None:
        return None
    sd, df = spread
    half = _t(df, confidence) * sd / math.sqrt(len(differences))
    centre = _mean(differences)
    return centre - half, centre + half


def smallest_resolvable(sd: float, df: int, n: int = 1, confidence: float = 0.95) -> float:
    """The smallest difference of two means of `n` seeds each whose interval leaves zero out."""
    return _t(df, confidence) * sd * math.sqrt(2 / n)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _t(df: int, confidence: float) -> float:
    # Not scipy.stats, whose import takes longer than most commands of the command line.
    from scipy import special

    return float(special.stdtrit(df, (1 + confidence) / 2))
