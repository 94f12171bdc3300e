"""How a forward pass is timed; apart from the timing itself, which needs torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """How a forward pass is timed.

    Attributes:
        batch: images of a pass.
        flip_test: each prediction is the mean of two passes, over the images and over their mirror images.
        budget_s: seconds that warm-up and timed passes may take together, where the least are done in them.
        least: timed passes that are done in any case, after one that is not timed.
    """

    batch: int = 1
    flip_test: bool = False
    budget_s: float = 5.0
    least: int = 3
