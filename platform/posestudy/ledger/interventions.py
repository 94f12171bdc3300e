"""What a user does to a study from outside: cancel trials, put ended ones back."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import sqlalchemy as sa

from posestudy.errors import NotFoundError
from posestudy.ledger import reading, schema
from posestudy.ledger.claims import end_attempt
from posestudy.ledger.clock import DatabaseClock
from posestudy.ledger.epochs import set_aside
from posestudy.ledger.records import Json
from posestudy.ledger.stages import lock_study
from posestudy.vocabulary import AttemptEnd, Outcome, TrialState

_TRIAL = schema.trial.c
_WHY = "cancelled by the user"

_FROM_THE_START: Json = {
    "state": TrialState.WAITING,
    "owner": None,
    "ckpt_path": None,
    "ckpt_sha": None,
    "ckpt_epoch": 0,
    "ckpt_fence": 0,
    "prev_path": None,
    "prev_sha": None,
    "prev_epoch": 0,
} | dict.fromkeys(
    (
        "outcome",
        "message",
        "decision",
        "final_value",
        "final_epoch",
        "best_value",
        "best_epoch",
        "started",
        "ended",
        "duration_s",
        "peak_memory_mb",
        "source",
        "profile",
    )
)


def _step_stages(connection: sa.Connection, cell_ids: Iterable[int]) -> None:
    """Whoever computed the next step of these stages computed it from trials that are not so any more."""
    stages = sa.select(schema.cell.c.stage_id).where(schema.cell.c.id.in_(set(cell_ids)))
    table = schema.stage
    connection.execute(sa.update(table).where(table.c.id.in_(stages)).values(version=table.c.version + 1))


def cancel(connection: sa.Connection, name: str, number: int | None) -> int:
    study = reading.study(connection, name)
    lock_study(connection, study.id)
    query = sa.select(_TRIAL.uid, _TRIAL.fence, _TRIAL.cell_id, _TRIAL.state).where(_TRIAL.study_id == study.id)
    if number is not None:
        query = query.where(_TRIAL.number == number)
        if connection.execute(query).first() is None:
            last = connection.scalar(sa.select(sa.func.max(_TRIAL.number)).where(_TRIAL.study_id == study.id)) or 0
            raise NotFoundError(f"no trial {number} in the study '{name}': its trials are numbered 1 to {last}")
    open_trials = connection.execute(query.where(_TRIAL.state != TrialState.DONE).with_for_update()).all()
    for row in open_trials:
        ending = {
            "state": TrialState.DONE,
            "outcome": Outcome.CANCELLED,
            "message": _WHY,
            # Its worker finds its fence gone at the next renewal, kills the trial process and goes on.
            "fence": _TRIAL.fence + 1,
            "lease_until": None,
            "ended": DatabaseClock(),
        }
        connection.execute(sa.update(schema.trial).where(_TRIAL.uid == row.uid).values(**ending))
        if row.state == TrialState.RUNNING:
            end_attempt(connection, row.uid, row.fence, AttemptEnd.FINISHED, _WHY)
    _step_stages(connection, [row.cell_id for row in open_trials])
    if number is None:
        connection.execute(sa.update(schema.study).where(schema.study.c.id == study.id).values(state="closed"))
    return len(open_trials)


def retry(connection: sa.Connection, name: str, outcomes: Collection[Outcome]) -> int:
    study = reading.study(connection, name)
    lock_study(connection, study.id)
    stage, cell = schema.stage, schema.cell
    present = sa.select(cell.c.id).join(stage).where(stage.c.state != schema.WITHDRAWN_STAGE)
    ended = sa.and_(
        _TRIAL.study_id == study.id, _TRIAL.state == TrialState.DONE, _TRIAL.outcome.in_([str(o) for o in outcomes])
    )
    ended = sa.and_(ended, _TRIAL.cell_id.in_(present))
    rows = connection.execute(sa.select(_TRIAL.uid, _TRIAL.cell_id).where(ended).with_for_update()).all()
    for row in rows:
        set_aside(connection, reading.values(connection, row.uid))
        connection.execute(sa.update(schema.trial).where(_TRIAL.uid == row.uid).values(**_FROM_THE_START))
    if rows:
        _step_stages(connection, [row.cell_id for row in rows])
        connection.execute(sa.update(schema.study).where(schema.study.c.id == study.id).values(state="open"))
    return len(rows)
