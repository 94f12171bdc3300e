"""The engine of one machine: the pool in this very process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from posestudy_runner.engines import Ended
from posestudy_runner.pool import Pool

if TYPE_CHECKING:
    from posestudy_runner.engines import Placement


def run(placement: Placement) -> Ended:
    """Run a pool here until the study is done or the user ends it."""
    pool = Pool(
        placement.ledger,
        placement.home,
        placement.goal,
        placement.steering,
        placement.display,
        placement.options,
    )
    return Ended.BY_USER if pool.run(placement.workers) else Ended.DONE
