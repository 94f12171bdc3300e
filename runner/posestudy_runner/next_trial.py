"""Which trial the ledger will grant next, told from a snapshot: so a slot can see that it has no room before it claims.

The order is that of `posestudy.ledger.claims`. Another pool may be quicker, so what was granted is looked at again.
"""

from __future__ import annotations

from dataclasses import dataclass

from posestudy.ledger.records import CellRecord, Claim, Snapshot, TrialRecord
from posestudy.vocabulary import TrialState
from posestudy_studies.costs import class_of

BESIDE_OTHERS = "beside other trials on its GPU"
"""How the reason of an attempt begins whose end was no result, for the neighbours it had."""


@dataclass(frozen=True)
class NextTrial:
    """A trial that is to be run.

    Attributes:
        cost_class: what its need of a GPU depends on.
        alone: it must have the GPU to itself, because it ended early for its neighbours before.
    """

    uid: str
    number: int
    cost_class: str
    alone: bool


def next_trial(snapshot: Snapshot, now: float) -> NextTrial | None:
    """The trial that a claim would be granted at `now` (the ledger's clock); None where there is none."""
    cells = {cell.id: cell for cell in snapshot.cells}
    training: set[tuple[str, int]] = set()
    for trial in sorted(snapshot.trials, key=lambda t: t.number):
        if trial.state in (TrialState.PAUSED, TrialState.DONE):
            continue
        cell = cells[trial.cell_id]
        key = None if cell.training_key is None else (cell.training_key, trial.seed)
        if _is_free(trial, now) and key not in training:
            return _described(snapshot, cell, trial)
        if key is not None:
            # Later trials that are trained alike wait for its weights.
            training.add(key)
    return None


def granted(snapshot: Snapshot, claim: Claim) -> NextTrial:
    """The trial of `claim`, whose earlier attempts are in `snapshot`."""
    return _described(snapshot, claim.cell, claim.trial)


def _is_free(trial: TrialRecord, now: float) -> bool:
    expired = trial.lease_until is not None and trial.lease_until < now
    return trial.state is TrialState.WAITING or (trial.state is TrialState.RUNNING and expired)


def _described(snapshot: Snapshot, cell: CellRecord, trial: TrialRecord) -> NextTrial:
    # What was before a `--retry`, which makes `started` None, is to be forgotten.
    attempts = [a for a in snapshot.attempts if a.trial_uid == trial.uid] if trial.started is not None else []
    since = trial.started or 0.0
    alone = any(a.started >= since and (a.why or "").startswith(BESIDE_OTHERS) for a in attempts)
    return NextTrial(trial.uid, trial.number, class_of(cell.config), alone)
