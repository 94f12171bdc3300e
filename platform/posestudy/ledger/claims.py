"""A worker's right to a trial: claimed with a new fence, renewed, given back."""

from __future__ import annotations

import functools
from typing import Any

import sqlalchemy as sa

from posestudy.ledger import reading, schema
from posestudy.ledger.clock import DatabaseClock
from posestudy.ledger.records import Claim, Json
from posestudy.vocabulary import AttemptEnd, Outcome, TrialState

_TRIAL = schema.trial.c


def mine() -> sa.ColumnElement[bool]:
    """The trial `mine_uid` runs under the fence `mine_fence`: parameters that `holding` gives values to.

    The lease may be over: while nobody else took the trial, it is still mine.
    """
    uid, fence = sa.bindparam("mine_uid", type_=sa.String), sa.bindparam("mine_fence", type_=sa.Integer)
    return sa.and_(_TRIAL.uid == uid, _TRIAL.fence == fence, _TRIAL.state == TrialState.RUNNING)


def holding(uid: str, fence: int) -> Json:
    """The parameters of `mine`."""
    return {"mine_uid": uid, "mine_fence": fence}


# Statements are built once: building one takes ten times as long as running it, and others wait for the lock meanwhile.
# Not before they are needed, since what `mine` is may be replaced (`benchmarks.faults.planted`).


@functools.cache
def _updating() -> sa.Update:
    return sa.update(schema.trial).where(mine())


@functools.cache
def _renewing() -> sa.Update:
    return _updating().values(lease_until=DatabaseClock() + sa.bindparam("lease_s", type_=sa.Double))


@functools.cache
def _provenance() -> sa.Select[Any]:
    return sa.select(_TRIAL.provenance).where(mine()).with_for_update()


def update_mine(connection: sa.Connection, uid: str, fence: int, **columns: Any) -> bool:
    """Set columns of the trial to plain values where the fence is mine; whether it was."""
    return connection.execute(_updating(), {**holding(uid, fence), **columns}).rowcount == 1


def storable(text: str | None) -> str | None:
    """`text` without what PostgreSQL cannot hold: messages of a crashed process may have any bytes in them."""
    return None if text is None else text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


_ATTEMPT = schema.attempt.c
_OPEN_ATTEMPT = sa.and_(
    _ATTEMPT.trial_uid == sa.bindparam("of_uid"), _ATTEMPT.fence == sa.bindparam("of_fence"), _ATTEMPT.ended.is_(None)
)
_END_ATTEMPT = sa.update(schema.attempt).where(_OPEN_ATTEMPT).values(ended=DatabaseClock())


def end_attempt(connection: sa.Connection, uid: str, fence: int, end: AttemptEnd, why: str | None) -> None:
    """Write how the attempt under `fence` ended, once: an earlier ending stays."""
    connection.execute(_END_ATTEMPT, {"of_uid": uid, "of_fence": fence, "end": end, "why": storable(why)})


def _trained_alike_now() -> sa.ColumnElement[bool]:
    """Whether an earlier trial that waits or runs trains the same: its weights will do for this one, too.

    One that paused may never go on.
    """
    own, cell, trial = schema.cell.alias(), schema.cell.alias(), schema.trial.alias()
    query = (
        sa.select(trial.c.uid)
        .select_from(own.join(cell, cell.c.training_key == own.c.training_key))
        .join(trial, trial.c.cell_id == cell.c.id)
        .where(own.c.id == _TRIAL.cell_id, trial.c.study_id == _TRIAL.study_id, trial.c.seed == _TRIAL.seed)
        .where(trial.c.number < _TRIAL.number, trial.c.state.in_([TrialState.WAITING, TrialState.RUNNING]))
    )
    return query.correlate(schema.trial).exists()


def _first(state: TrialState, *conditions: sa.ColumnElement[bool]) -> sa.Select[Any]:
    # One state each: the index has trials of one state in order of number, and nothing needs to be sorted.
    query = sa.select(_TRIAL.uid, _TRIAL.fence, _TRIAL.cell_id, _TRIAL.state, _TRIAL.owner, _TRIAL.number)
    query = query.where(_TRIAL.study_id == sa.bindparam("in_study"), _TRIAL.state == state, *conditions)
    query = query.where(~_trained_alike_now()).order_by(_TRIAL.number).limit(1)
    return query.with_for_update(skip_locked=True, of=schema.trial)


_FIRST_EXPIRED = _first(TrialState.RUNNING, _TRIAL.lease_until < DatabaseClock())
_FIRST_WAITING = _first(TrialState.WAITING)
_FIRST_WAITING_BEFORE = _first(TrialState.WAITING, _TRIAL.number < sa.bindparam("before"))


def _candidate(connection: sa.Connection, study_id: int, *, expired: bool) -> sa.RowMapping | None:
    place: Json = {"in_study": study_id}
    lapsed = connection.execute(_FIRST_EXPIRED, place).mappings().first() if expired else None
    if lapsed is None:
        return connection.execute(_FIRST_WAITING, place).mappings().first()
    earlier = connection.execute(_FIRST_WAITING_BEFORE, {**place, "before": lapsed["number"]}).mappings().first()
    return lapsed if earlier is None else earlier


_GRANT = (
    sa.update(schema.trial)
    .where(_TRIAL.uid == sa.bindparam("of_uid"))
    .values(
        lease_until=DatabaseClock() + sa.bindparam("lease_s", type_=sa.Double),
        started=sa.func.coalesce(_TRIAL.started, DatabaseClock()),
    )
    .returning(*schema.trial.c)
)
_ADD_ATTEMPT = sa.insert(schema.attempt).values(started=DatabaseClock())


def claim(connection: sa.Connection, name: str, owner: str, lease_s: float, *, settling: bool) -> Claim | None:
    study = reading.study(connection, name)
    found = _candidate(connection, study.id, expired=not settling)
    if found is None:
        return None
    uid, fence = found["uid"], found["fence"] + 1
    if found["state"] == TrialState.RUNNING:
        why = f"the lease of {found['owner']} ran out, {owner} took over"
        end_attempt(connection, uid, found["fence"], AttemptEnd.LOST, why)
    grant = {"state": TrialState.RUNNING, "fence": fence, "owner": owner}
    granted = connection.execute(_GRANT, {"of_uid": uid, "lease_s": lease_s, **grant}).mappings().one()
    connection.execute(_ADD_ATTEMPT, {"trial_uid": uid, "fence": fence, "owner": owner})
    cell, stage = reading.cell_and_stage(connection, found["cell_id"])
    # Nobody had it before: there is nothing to look for.
    values = reading.values(connection, uid) if fence > 1 else ()
    return Claim(study, stage, cell, reading.trial_record(dict(granted)), values)


def renew(connection: sa.Connection, uid: str, fence: int, lease_s: float) -> bool:
    return connection.execute(_renewing(), {**holding(uid, fence), "lease_s": lease_s}).rowcount == 1


def started(connection: sa.Connection, uid: str, fence: int, provenance: Json) -> bool:
    old = connection.scalar(_provenance(), holding(uid, fence))
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


def hand_over(
    connection: sa.Connection, uid: str, fence: int, to: int, owner: str, end: AttemptEnd, why: str | None
) -> bool:
    later = {**holding(uid, fence), "fence": to, "owner": owner}
    if to <= fence or connection.execute(_updating(), later).rowcount != 1:
        return False
    end_attempt(connection, uid, fence, end, why)
    connection.execute(_ADD_ATTEMPT, {"trial_uid": uid, "fence": to, "owner": owner})
    return True


def cancelled(connection: sa.Connection, uid: str, fence: int) -> bool:
    taken_away = sa.and_(_TRIAL.uid == uid, _TRIAL.fence > fence, _TRIAL.outcome == Outcome.CANCELLED)
    return connection.scalar(sa.select(_TRIAL.uid).where(taken_away)) is not None
