"""Whether a trial that ended still owes its last checkpoint to others, whatever its study keeps."""

from __future__ import annotations

from posestudy.ledger.records import Snapshot
from posestudy.vocabulary import TrialState


def is_awaited(snapshot: Snapshot, uid: str) -> bool:
    """Whether an open trial of the study trains just as `uid` did: it will evaluate these weights instead."""
    keys = {cell.id: cell.training_key for cell in snapshot.cells}
    one = next((trial for trial in snapshot.trials if trial.uid == uid), None)
    key = keys.get(one.cell_id) if one is not None else None
    if one is None or key is None:
        return False
    return any(
        trial.state is not TrialState.DONE and trial.seed == one.seed and keys.get(trial.cell_id) == key
        for trial in snapshot.trials
        if trial.uid != uid
    )
