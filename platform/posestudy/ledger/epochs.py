"""What a trial measured: accepted under the current fence, kept as late under an older one, summed up at the end."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from posestudy.ledger import reading, schema
from posestudy.ledger.claims import end_attempt, holding, mine, storable
from posestudy.ledger.clock import DatabaseClock
from posestudy.ledger.records import Checkpoint, Json, ValueRecord
from posestudy.vocabulary import AttemptEnd, Direction, Outcome, TrialState

Values = Mapping[int, Mapping[str, float]]


def _same(left: Mapping[str, float], right: Mapping[str, float]) -> bool:
    # NaN is not equal to itself, yet a replay of it is the same value.
    return left.keys() == right.keys() and all(
        left[name] == right[name] or (math.isnan(left[name]) and math.isnan(right[name])) for name in left
    )


def _clean(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: float(number) for name, number in metrics.items()}


def _keep_late(connection: sa.Connection, value: ValueRecord) -> None:
    known = [late for late in reading.late_values(connection, value.trial_uid) if late.fence == value.fence]
    if any(late.epoch == value.epoch and _same(late.metrics, value.metrics) for late in known):
        return
    connection.execute(
        sa.insert(schema.late_value).values(
            trial_uid=value.trial_uid, epoch=value.epoch, metrics=value.metrics, ts=value.ts, fence=value.fence
        )
    )


def set_aside(connection: sa.Connection, values: Iterable[ValueRecord]) -> None:
    """Move accepted values to the late ones."""
    table = schema.value
    for value in values:
        _keep_late(connection, value)
        here = sa.and_(table.c.trial_uid == value.trial_uid, table.c.epoch == value.epoch)
        connection.execute(sa.delete(table).where(here))


def _checkpoint_columns(row: sa.RowMapping, fence: int, new: Checkpoint, values: Values, *, news: bool) -> Json:
    """Columns to set for a new checkpoint; empty where the row's is as new or newer, or the call is a replay.

    One attempt may send two of the same epoch: the later holds a part of the next epoch, too, and becomes the one to
    resume from. `news` tells whether the call brings values the ledger does not have.
    """
    if new.path == row["ckpt_path"]:
        return {}
    columns: Json = {"ckpt_path": new.path, "ckpt_sha": new.sha, "ckpt_epoch": new.epoch, "ckpt_fence": fence}
    if row["ckpt_fence"] != fence:
        return columns | _fallback(row, _readable_before(row, min([new.epoch, *(epoch - 1 for epoch in values)])))
    of_this_epoch = new.epoch == row["ckpt_epoch"]
    replayed = of_this_epoch and (new.path == row["prev_path"] or (bool(values) and not news))
    if replayed or new.epoch < row["ckpt_epoch"]:
        return {}
    return columns | _fallback(row, "ckpt")


def _readable_before(row: sa.RowMapping, finished: int) -> str | None:
    """Which of the row's two checkpoints a new attempt that began with at most `finished` epochs can have started from.

    One with more epochs it could not read. Of two of the same epoch it took the newer if it could read it, which
    nothing says; the older one is sound either way.
    """
    kinds = ("prev", "ckpt") if row["prev_epoch"] == row["ckpt_epoch"] else ("ckpt", "prev")
    return next((k for k in kinds if row[f"{k}_path"] is not None and row[f"{k}_epoch"] <= finished), None)


def _fallback(row: sa.RowMapping, kind: str | None) -> Json:
    if kind is None:
        return {"prev_path": None, "prev_sha": None, "prev_epoch": 0}
    return {f"prev_{part}": row[f"{kind}_{part}"] for part in ("path", "sha", "epoch")}


_TRIAL = schema.trial.c
_RESUMED = tuple(_TRIAL[f"{kind}_{part}"] for kind in ("ckpt", "prev") for part in ("path", "sha", "epoch"))
_UPDATE_TRIAL = sa.update(schema.trial).where(_TRIAL.uid == sa.bindparam("of_uid"))
# What is there stays: so an epoch that is news, as nearly all are, needs no look at what is there first.
_ADD_VALUE = {
    "sqlite": sqlite.insert(schema.value).values(ts=DatabaseClock()).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(schema.value).values(ts=DatabaseClock()).on_conflict_do_nothing(),
}
_ENDING = (_TRIAL.fence, _TRIAL.state, _TRIAL.outcome, _TRIAL.peak_memory_mb)
_LOCK_TO_END = sa.select(*_ENDING).where(_TRIAL.uid == sa.bindparam("of_uid")).with_for_update()
_END = _UPDATE_TRIAL.values(ended=DatabaseClock())


@functools.cache
def _lock_mine() -> sa.Select[Any]:
    return sa.select(*_RESUMED, _TRIAL.ckpt_fence, _TRIAL.duration_s).where(mine()).with_for_update()


def record_epoch(
    connection: sa.Connection, uid: str, fence: int, values: Values, checkpoint: Checkpoint | None, duration_s: float
) -> bool:
    row = connection.execute(_lock_mine(), holding(uid, fence)).mappings().first()
    if row is None:
        # A replay, after the end of the trial, of what was accepted before it is no news and no contradiction.
        accepted = reading.values_at(connection, uid, values)
        replayed = all(
            epoch in accepted and _same(accepted[epoch].metrics, _clean(metrics)) for epoch, metrics in values.items()
        )
        return replayed and _ended_under(connection, uid, fence)
    news = False
    for epoch in sorted(values):
        news |= _accept(connection, uid, fence, epoch, _clean(values[epoch]))
    columns: Json = {}
    if checkpoint is not None:
        columns = _checkpoint_columns(row, fence, checkpoint, values, news=news)
    if news or columns:
        columns["duration_s"] = (row["duration_s"] or 0.0) + duration_s
        connection.execute(_UPDATE_TRIAL, {"of_uid": uid, **columns})
    return True


def _accept(connection: sa.Connection, uid: str, fence: int, epoch: int, metrics: Mapping[str, float]) -> bool:
    """Accept the values of an epoch; whether they are news."""
    new = {"trial_uid": uid, "epoch": epoch, "metrics": metrics, "fence": fence}
    if connection.execute(_ADD_VALUE[connection.dialect.name], new).rowcount == 1:
        return True
    old = reading.values_at(connection, uid, [epoch])[epoch]
    if _same(old.metrics, metrics):
        return False
    if old.fence == fence:
        # One attempt says two things of one epoch: the first was acted upon, the second is history.
        now = connection.scalar(sa.select(DatabaseClock())) or 0.0
        _keep_late(connection, ValueRecord(uid, epoch, dict(metrics), now, fence))
        return False
    set_aside(connection, [old])
    connection.execute(_ADD_VALUE[connection.dialect.name], new)
    return True


def _ended_under(connection: sa.Connection, uid: str, fence: int) -> bool:
    trial = schema.trial
    over = trial.c.state.in_([TrialState.PAUSED, TrialState.DONE])
    ended = sa.and_(trial.c.uid == uid, trial.c.fence == fence, over)
    return connection.scalar(sa.select(trial.c.uid).where(ended)) is not None


def keep_as_late(connection: sa.Connection, uid: str, fence: int, values: Values) -> None:
    """Keep what an attempt sent after it lost its trial; what had been accepted from it before is not kept twice."""
    now = connection.scalar(sa.select(DatabaseClock())) or 0.0
    accepted = reading.values_at(connection, uid, values)
    for epoch, metrics in sorted(values.items()):
        late = ValueRecord(uid, epoch, _clean(metrics), now, fence)
        old = accepted.get(epoch)
        if old is None or old.fence != fence or not _same(old.metrics, late.metrics):
            _keep_late(connection, late)


def summary(values: Iterable[ValueRecord], metric: str, direction: Direction) -> Json:
    """The metric at the last and at the best evaluated epoch (the earliest of equals); null where never evaluated."""
    curve = [(v.epoch, v.metrics[metric]) for v in values if math.isfinite(v.metrics.get(metric, math.nan))]
    summary: Json = {"final_value": None, "final_epoch": None, "best_value": None, "best_epoch": None}
    for epoch, number in curve:
        summary |= {"final_value": number, "final_epoch": epoch}
        if summary["best_value"] is None or direction.better(number, summary["best_value"]):
            summary |= {"best_value": number, "best_epoch": epoch}
    return summary


def finish(
    connection: sa.Connection,
    uid: str,
    fence: int,
    outcome: Outcome,
    message: str | None,
    *,
    metric: str,
    direction: Direction,
    peak_memory_mb: float | None,
) -> bool:
    row = connection.execute(_LOCK_TO_END, {"of_uid": uid}).mappings().first()
    if row is None or row["fence"] != fence:
        return False
    if row["state"] != TrialState.RUNNING:
        return bool(row["state"] == TrialState.DONE and row["outcome"] == outcome)
    peaks = [peak for peak in (row["peak_memory_mb"], peak_memory_mb) if peak is not None]
    columns: Json = {
        "state": TrialState.DONE,
        "outcome": outcome,
        "message": storable(message),
        "lease_until": None,
        "peak_memory_mb": max(peaks, default=None),
        **summary(reading.values(connection, uid), metric, direction),
    }
    connection.execute(_END, {"of_uid": uid, **columns})
    end_attempt(connection, uid, fence, AttemptEnd.FINISHED, message)
    return True
