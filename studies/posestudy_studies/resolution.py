"""What differences the spread over seeds lets one resolve: Student's t, and nothing that few seeds cannot bear.

A bootstrap over three seeds means nothing, and a sign-flip test over n pairs cannot go below 2 / 2**n.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Spread = tuple[float, int]
"""A standard deviation over seeds and its degrees of freedom."""

_NEAR = 4.0


def pooled_sd(groups: Sequence[Sequence[float]]) -> Spread | None:
    """The standard deviation within groups (the seeds of one cell each); None where no group has two values."""
    df = sum(len(group) - 1 for group in groups if len(group) > 1)
    if not df:
        return None
    squares = [(value - _mean(group)) ** 2 for group in groups if len(group) > 1 for value in group]
    return math.sqrt(math.fsum(squares) / df), df


def pooled_near(groups: Sequence[Sequence[float]], cells: Sequence[Sequence[float]], *, share: bool) -> Spread | None:
    """`pooled_sd` of those groups whose spread may stand for that of `cells`.

    A share varies least near 0 and 1: seeds that all stay at AP 0.002 say nothing of those of a network at 0.5. So a
    group counts only where its p (1 - p) is within a factor of four of the largest of `cells`.

    Args:
        groups: values of the seeds of one configuration each.
        cells: values of the cells in question.
        share: whether the metric is a share of one, as AP and PCK are; of others nothing is known.
    """
    needed = max((_scale(values, share) for values in cells if values), default=0.0)
    scales = [(group, _scale(group, share)) for group in groups if group]
    return pooled_sd([group for group, own in scales if needed / _NEAR <= own <= needed * _NEAR])


def _scale(values: Sequence[float], share: bool) -> float:
    """What the variance of the metric is about proportional to."""
    mean = _mean(values)
    return mean * (1 - mean) if share and 0 <= mean <= 1 else 1.0


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


def chance(
    left: Sequence[float], right: Sequence[float], sd: Spread, most: tuple[int, int], confidence: float = 0.95
) -> float:
    """The probability that `difference` leaves zero out once `left` and `right` have `most` values each.

    It is the predictive probability (Spiegelhalter, Freedman & Parmar 1994, doi:10.2307/2983527) with no opinion
    beforehand: given the means of n values now, those of N values in the end lie around them with the variance
    sd**2 * (1 / n - 1 / N), and Student's t stands for the normal distribution since the spread is estimated.

    Args:
        left, right: values, one a seed, at least one each.
        sd: the pooled spread.
        most: how many values there will be; no fewer than there are.
        confidence: of the interval.
    """
    from scipy import special

    spread, df = sd
    there, then = (len(left), len(right)), most
    limit = _t(df + sum(then) - sum(there), confidence) * spread * math.sqrt(1 / then[0] + 1 / then[1])
    centre = _mean(left) - _mean(right)
    moves = spread * math.sqrt(max(0.0, sum(1 / n - 1 / later for n, later in zip(there, then, strict=True))))
    if not moves:
        return float(abs(centre) > limit)
    return float(special.stdtr(df, (centre - limit) / moves) + special.stdtr(df, (-centre - limit) / moves))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _t(df: int, confidence: float) -> float:
    # Not scipy.stats, whose import takes longer than most commands of the command line.
    from scipy import special

    return float(special.stdtrit(df, (1 + confidence) / 2))
