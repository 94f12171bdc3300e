"""What differences the seeds of a baseline let a study resolve: in one comparison, and in a table of many rows at once.

With a standard deviation s over seeds, known with df degrees of freedom, the means of n seeds each differ resolvably by
t * s * sqrt(2 / n), where t is the 1 - a / (2 k) quantile of Student's t with df degrees of freedom, a is 0.05 and k is
the number of rows that are compared at once (Bonferroni, as the intervals over seeds of a report's table are).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from posestudy.ledger.records import CellRecord, Json, Snapshot
from posestudy.vocabulary import Outcome
from posestudy_studies import resolution, seed_spread

CONFIDENCE = 0.95


@dataclass(frozen=True)
class NoiseFloor:
    """The spread over seeds at the level of a baseline.

    Attributes:
        sd: standard deviation, in the metric's unit. df: its degrees of freedom.
        whose: what it was seen on, in words.
        uids: of the trials behind it; empty where they are another study's.
    """

    sd: float
    df: int
    whose: str
    uids: tuple[str, ...] = ()

    def smallest(self, seeds: int, comparisons: int = 1) -> float:
        """The smallest difference that means of `seeds` seeds each resolve in one of so many comparisons at once."""
        confidence = 1 - (1 - CONFIDENCE) / max(1, comparisons)
        return resolution.smallest_resolvable(self.sd, self.df, max(1, seeds), confidence)


def of_study(snapshot: Snapshot) -> NoiseFloor | None:
    """From the seeds of the first stage's baseline; None with fewer than two that completed."""
    first = next((stage for stage in snapshot.stages if stage.ordinal == 0), None)
    if first is None:
        return None
    cell = next((c for c in snapshot.cells if c.stage_id == first.id and c.name == first.baseline), None)
    if cell is None:
        return None
    values = _finals(snapshot, cell)
    spread = resolution.pooled_sd([list(values.values())])
    if spread is None:
        return None
    return NoiseFloor(*spread, f"{len(values)} seeds of the baseline of stage '{first.name}'", tuple(values))


def of_others(document: Json, key: str, others: Sequence[Snapshot]) -> NoiseFloor | None:
    """From other studies with the same data and metric; None where no configuration of theirs has two seeds.

    The first that trained the configuration `key` with several seeds comes before one that trained others so.

    Args:
        document: the study in question; without the fingerprint of its data nothing is taken from others.
        key: of its baseline.
        others: studies, the oldest first.
    """
    alike = [other for other in others if _comparable(document, other.study.document)]
    for other in alike:
        for cell in (cell for cell in other.cells if cell.key == key):
            values = _finals(other, cell)
            if (spread := resolution.pooled_sd([list(values.values())])) is not None:
                whose = f"{len(values)} seeds of the same configuration in study '{other.study.name}'"
                return NoiseFloor(*spread, whose)
    for other in alike:
        groups = seed_spread.replicates(other)
        if (spread := resolution.pooled_sd(groups)) is not None:
            return NoiseFloor(*spread, f"the seeds of {len(groups)} other configurations in study '{other.study.name}'")
    return None


def _comparable(document: Json, other: Json) -> bool:
    mine, theirs = ((one.get("dataset") or {}).get("fingerprint") for one in (document, other))
    return bool(mine) and mine == theirs and document.get("metric") == other.get("metric")


def _finals(snapshot: Snapshot, cell: CellRecord) -> dict[str, float]:
    """By uid, the final values of the completed trials of a cell."""
    return {
        trial.uid: trial.final_value
        for trial in snapshot.trials
        if trial.cell_id == cell.id
        and trial.outcome is Outcome.COMPLETED
        and trial.final_value is not None
        and math.isfinite(trial.final_value)
    }


def told(floor: NoiseFloor, metric: str, seeds: int, comparisons: int) -> str:
    """The noise floor in words, as it is written into the ledger."""
    at_once = floor.smallest(seeds, comparisons)
    text = f"noise floor: {metric} has a standard deviation of {number(floor.sd)} over {floor.whose}"
    many = f"; {comparisons} comparisons at once of {counted(seeds)} a cell resolve {number(at_once)} at 95 %"
    alone = f"one alone {number(floor.smallest(seeds))}"
    if comparisons > 1:
        return f"{text}{many}, {alone}"
    return f"{text}; {counted(seeds)} a cell resolve {number(at_once)} at 95 %"


def counted(seeds: int) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{seeds} seed{'' if seeds == 1 else 's'}"


def number(value: float) -> str:
    """Three digits, never as a power of ten."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
