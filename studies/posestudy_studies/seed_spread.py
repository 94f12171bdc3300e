"""How much the study's metric varies between seeds of one configuration, as far as the study has seen it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from posestudy.ledger.records import Snapshot
from posestudy.vocabulary import METRICS, Outcome
from posestudy_studies import resolution


def replicates(snapshot: Snapshot) -> list[list[float]]:
    """The final values of each configuration with several seeds, in whichever stages they were trained.

    What a later stage takes over from an earlier one is the same number, not one more.
    """
    keys = {cell.id: cell.key for cell in snapshot.cells}
    found: dict[str, dict[int, float]] = {}
    for trial in snapshot.trials:
        value = trial.final_value
        if trial.outcome is Outcome.COMPLETED and value is not None and math.isfinite(value):
            found.setdefault(keys[trial.cell_id], {})[trial.seed] = value
    return [list(seeds.values()) for seeds in found.values() if len(seeds) > 1]


def resolved(snapshot: Snapshot, left: Sequence[float], right: Sequence[float]) -> bool | None:
    """Whether the means of two cells' final values differ by more than the seeds; None where nothing is known.

    Args:
        snapshot: the study, whose replicates tell the spread.
        left, right: final values, one a seed.
    """
    interval = resolution.difference(left, right, near(snapshot, left, right))
    return None if interval is None else not interval[0] <= 0 <= interval[1]


def near(snapshot: Snapshot, *cells: Sequence[float]) -> resolution.Spread | None:
    """The spread of the study's replicates that may stand for that of `cells`; None where there are none like them."""
    share = METRICS[snapshot.study.document["metric"]].is_share
    return resolution.pooled_near(replicates(snapshot), cells, share=share)
