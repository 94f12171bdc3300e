"""Trials that gave way to better ones: paused under their fence, promoted to go on, or ended with their stage."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from posestudy.ledger import reading, schema
from posestudy.ledger.claims import end_attempt, update_mine
from posestudy.ledger.clock import DatabaseClock
from posestudy.ledger.epochs import summary
from posestudy.vocabulary import AttemptEnd, Direction, Outcome, TrialState

_TRIAL = schema.trial.c


def pause(connection: sa.Connection, uid: str, fence: int, why: str, peak_memory_mb: float | None) -> bool:
    row = connection.execute(_locked(uid)).mappings().first()
    if row is None or row["fence"] != fence:
        return False
    if row["state"] == TrialState.PAUSED:
        # The same call once more, after an answer was lost on the way.
        return True
    peaks = [peak for peak in (row["peak_memory_mb"], peak_memory_mb) if peak is not None]
    at_rest = {"state": TrialState.PAUSED, "owner": None, "lease_until": None}
    if not update_mine(connection, uid, fence, **at_rest, peak_memory_mb=max(peaks, default=None)):
        return False
    end_attempt(connection, uid, fence, AttemptEnd.PAUSED, why)
    return True


def promote(connection: sa.Connection, study_id: int, uid: str, fence: int) -> bool:
    """Let a trial that paused under `fence` wait for a worker; whether it still paused there."""
    here = sa.and_(_TRIAL.study_id == study_id, _TRIAL.state == TrialState.PAUSED)
    row = connection.execute(_locked(uid).where(here)).mappings().first()
    if row is None or row["fence"] != fence:
        return False
    decision = {key: value for key, value in (row["decision"] or {}).items() if key != "pause"}
    on = {"state": TrialState.WAITING, "decision": decision or None}
    connection.execute(sa.update(schema.trial).where(_TRIAL.uid == uid).values(**on))
    return True


def end_of_stage(connection: sa.Connection, stage_id: int, metric: str, direction: Direction) -> None:
    """End the paused trials of a stage as pruned, with what they have measured, at the time they paused."""
    cells = sa.select(schema.cell.c.id).where(schema.cell.c.stage_id == stage_id)
    paused = sa.and_(_TRIAL.cell_id.in_(cells), _TRIAL.state == TrialState.PAUSED)
    attempt = schema.attempt.c
    gave_way = sa.select(sa.func.max(attempt.ended)).where(attempt.trial_uid == _TRIAL.uid).scalar_subquery()
    query = sa.select(_TRIAL.uid, _TRIAL.ckpt_epoch).where(paused).order_by(_TRIAL.number).with_for_update()
    for row in connection.execute(query).all():
        ending = {
            "state": TrialState.DONE,
            "outcome": Outcome.PRUNED,
            "message": f"pruned after epoch {row.ckpt_epoch}",
            "ended": sa.func.coalesce(gave_way, DatabaseClock()),
            **summary(reading.values(connection, row.uid), metric, direction),
        }
        connection.execute(sa.update(schema.trial).where(_TRIAL.uid == row.uid).values(**ending))


def _locked(uid: str) -> sa.Select[Any]:
    columns = (_TRIAL.fence, _TRIAL.state, _TRIAL.decision, _TRIAL.peak_memory_mb)
    return sa.select(*columns).where(_TRIAL.uid == uid).with_for_update()
