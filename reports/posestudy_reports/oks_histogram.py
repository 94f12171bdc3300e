"""How alike predictions and truth are: instances by OKS, of one cell or two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

EDGES: Final[Floats] = np.linspace(0.0, 1.0, 21)


@dataclass(frozen=True)
class OksHistogram:
    """Instances by OKS.

    Attributes:
        labels: of the cells. counts: for each, instances in each of the 20 bins between `EDGES`, the last one closed.
        medians: of each cell. instances: with a prediction, by cell. missed: without one, in no bin.
    """

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    medians: tuple[float, ...]
    instances: tuple[int, ...]
    missed: tuple[int, ...]


def oks_histogram(labels: tuple[str, ...], values: tuple[Floats, ...], missed: tuple[int, ...]) -> OksHistogram | None:
    """Of the OKS of matched instances [N] of each cell, NaN where an instance has no prediction; None of nothing."""
    known = [each[np.isfinite(each)] for each in values]
    if not all(len(each) for each in known):
        return None
    counts = tuple(tuple(int(n) for n in np.histogram(each, EDGES)[0]) for each in known)
    medians = tuple(float(np.median(each)) for each in known)
    return OksHistogram(labels, counts, medians, tuple(len(each) for each in known), missed)
