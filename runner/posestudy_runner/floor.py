"""The declared floor: what a trial must have reached by an epoch, or it has not converged."""

from __future__ import annotations

from collections.abc import Sequence

from posestudy.ledger.records import Json, ValueRecord
from posestudy.vocabulary import Direction


def missed(floor: Json | None, metric: str, direction: Direction, epoch: int, value: float) -> str | None:
    """A sentence where `value`, measured at `epoch`, is worse than the floor; None where it is not."""
    if floor is None or epoch < floor["epoch"] or not direction.better(floor["value"], value):
        return None
    return (
        f"{metric} {value:.4f} at epoch {epoch} is worse than the declared floor: {floor['value']:g} by epoch "
        f"{floor['epoch']}"
    )


def missed_before(
    floor: Json | None, metric: str, direction: Direction, values: Sequence[ValueRecord]
) -> tuple[int, str] | None:
    """The epoch at which accepted values, in order of epoch, missed the floor, and the sentence; None: not (yet)."""
    if floor is None:
        return None
    held = next((v for v in values if v.epoch >= floor["epoch"] and metric in v.metrics), None)
    why = held and missed(floor, metric, direction, held.epoch, held.metrics[metric])
    return (held.epoch, why) if held and why else None
