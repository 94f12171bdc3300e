"""The engine of one machine: the pool in this very process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from posestudy_runner.pool import Pool

if TYPE_CHECKING:
    from posestudy_runner.engines import Placement


def run(placement: Placement) -> bool:
    """Run a pool here; True where the user ended it before the study was done."""
    pool = Pool(
        placement.ledger,
        placement.home,
        placement.goal,
        placement.steering,
        placement.display,
        placement.options,
    )
    return pool.run(placement.workers)
