"""A worker's right to a trial: claimed with a new fence, renewed, given back."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from posestudy.ledger import reading, schema
from posestudy.ledger.clock import DatabaseClock
from posestudy.ledger.records import Claim, Json
from posestudy.vocabulary import AttemptEnd, Outcome, TrialState

_TRIAL = schema.trial.c


def mine(uid: str, fence: int) -> sa.ColumnElement[bool]:
    """The trial runs under this fence. The lease may be over: while nobody else took the trial, it is still mine."""
    return sa.and_(_TRIAL.uid == uid, _TRIAL.fence == fence, _TRIAL.state == TrialState.RUNNING)


def update_mine(connection: sa.Connection, uid: str, fence: int, **changes: Any) -> bool:
    """Set columns of the trial where the fence is mine; whether it was."""
    return connection.execute(sa.update(schema.trial).where(mine(uid, fence)).values(**changes)).rowcount == 1


def storable(text: str | None) -> str | None:
    """`text` without what PostgreSQL cannot hold: messages of a crashed process may have any bytes in them."""
    return None if text is None else text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def end_attempt(connection: sa.Connection, uid: str, fence: int, end: AttemptEnd, why: str | None) -> None:
    """Write how the attempt under `fence` ended, once: an earlier ending stays."""
    table = schema.attempt
    still_open = sa.and_(table.c.trial_uid == uid, table.c.fence == fence, table.c.ended.is_(None))
    ending = {"ended": DatabaseClock(), "end": end, "why": storable(why)}
    connection.execute(sa.update(table).where(still_open).values(**ending))


def _candidate(connection: sa.Connection, study_id: int, *, expired: bool) -> sa.RowMapping | None:
    free = _TRIAL.state == TrialState.WAITING
    if expired:
        free = sa.or_(free, sa.and_(_TRIAL.state == TrialState.RUNNING, _TRIAL.lease_until < DatabaseClock()))
    query = sa.select(_TRIAL.uid, _TRIAL.fence, _TRIAL.cell_id, _TRIAL.state, _TRIAL.owner)
    query = query.where(_TRIAL.study_id == study_id, free, ~_trained_alike_now()).order_by(_TRIAL.number).limit(1)
    return connection.execute(query.with_for_update(skip_locked=True, of=schema.trial)).mappings().first()


def _trained_alike_now() -> sa.ColumnElement[bool]:
    """Whether an earlier trial that is not done trains the same: its weights will do for this one, too."""
    own, cell, trial = schema.cell.alias(), schema.cell.alias(), schema.trial.alias()
    query = (
        sa.select(trial.c.uid)
        .select_from(own.join(cell, cell.c.training_key == own.c.training_key))
        .join(trial, trial.c.cell_id == cell.c.id)
        .where(own.c.id == _TRIAL.cell_id, trial.c.study_id == _TRIAL.study_id, trial.c.seed == _TRIAL.seed)
        .where(trial.c.number < _TRIAL.number, trial.c.state != TrialState.DONE)
    )
    return query.correlate(schema.trial).exists()


def claim(connection: sa.Connection, name: str, owner: str, lease_s: float, *, settling: bool) -> Claim | None:
    study = reading.study(connection, name)
    found = _candidate(connection, study.id, expired=not settling)
    if found is None:
        return None
    uid, fence = found["uid"], found["fence"] + 1
    if found["state"] == TrialState.RUNNING:
        why = f"the lease of {found['owner']} ran out, {owner} took over"
        end_attempt(connection, uid, found["fence"], AttemptEnd.LOST, why)
    grant = {
        "state": TrialState.RUNNING,
        "fence": fence,
        "owner": owner,
        "lease_until": DatabaseClock() + lease_s,
        "started": sa.func.coalesce(_TRIAL.started, DatabaseClock()),
    }
    connection.execute(sa.update(schema.trial).where(_TRIAL.uid == uid).values(**grant))
    attempt = {"trial_uid": uid, "fence": fence, "owner": owner, "started": DatabaseClock()}
    connection.execute(sa.insert(schema.attempt).values(**attempt))
    cell, stage = reading.cell_and_stage(connection, found["cell_id"])
    return Claim(study, stage, cell, reading.trial(connection, uid), reading.values(connection, uid))


def renew(connection: sa.Connection, uid: str, fence: int, lease_s: float) -> bool:
    return update_mine(connection, uid, fence, lease_until=DatabaseClock() + lease_s)


def started(connection: sa.Connection, uid: str, fence: int, provenance: Json) -> bool:
    old = connection.scalar(sa.select(_TRIAL.provenance).where(mine(uid, fence)).with_for_update())
    return old is not None and update_mine(connection, uid, fence, provenance={**old, **provenance})


def profiled(connection: sa.Connection, uid: str, fence: int, profile: Json) -> bool:
    return update_mine(connection, uid, fence, profile=profile)


def decide(connection: sa.Connection, uid: str, fence: int, decision: Json, optuna: Json) -> bool:
    return update_mine(connection, uid, fence, decision=decision, optuna=optuna)


def release(connection: sa.Connection, uid: str, fence: int, end: AttemptEnd, why: str) -> bool:
    if update_mine(connection, uid, fence, state=TrialState.WAITING, owner=None, lease_until=None):
        end_attempt(connection, uid, fence, end, why)
        return True
    # The same call once more, after an answer was lost on the way: it holds, nobody took the trial since.
    table, waiting = (
        schema.attempt,
        sa.and_(_TRIAL.uid == uid, _TRIAL.fence == fence, _TRIAL.state == TrialState.WAITING),
    )
    ended = sa.select(table.c.end).where(table.c.trial_uid == uid, table.c.fence == fence)
    return connection.scalar(sa.select(_TRIAL.uid).where(waiting)) is not None and connection.scalar(ended) == end


def cancelled(connection: sa.Connection, uid: str, fence: int) -> bool:
    taken_away = sa.and_(_TRIAL.uid == uid, _TRIAL.fence > fence, _TRIAL.outcome == Outcome.CANCELLED)
    return connection.scalar(sa.select(_TRIAL.uid).where(taken_away)) is not None
