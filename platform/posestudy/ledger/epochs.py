"""What a trial measured: accepted under the current fence, kept as late under an older one, summed up at the end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import sqlalchemy as sa

from posestudy.ledger import reading, schema
from posestudy.ledger.claims import end_attempt, mine, storable
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


def _checkpoint_columns(row: sa.RowMapping, fence: int, new: Checkpoint, first_changed: int) -> Json:
    """Columns to set for a new checkpoint; empty where the row's is as new or newer.

    Under a newer fence values from an epoch the row's checkpoint holds mean that the attempt could not read it and
    started earlier: it must not become the fallback.
    """
    if new.path == row["ckpt_path"] or (row["ckpt_fence"] == fence and new.epoch <= row["ckpt_epoch"]):
        return {}
    columns: Json = {"ckpt_path": new.path, "ckpt_sha": new.sha, "ckpt_epoch": new.epoch, "ckpt_fence": fence}
    for kind in ("ckpt", "prev"):
        if row[f"{kind}_path"] is not None and row[f"{kind}_epoch"] < min(new.epoch, first_changed):
            earlier = {f"prev_{part}": row[f"{kind}_{part}"] for part in ("path", "sha", "epoch")}
            return columns | earlier
    return columns | {"prev_path": None, "prev_sha": None, "prev_epoch": 0}


def record_epoch(
    connection: sa.Connection, uid: str, fence: int, values: Values, checkpoint: Checkpoint | None, duration_s: float
) -> bool:
    row = connection.execute(sa.select(schema.trial).where(mine(uid, fence)).with_for_update()).mappings().first()
    accepted = {value.epoch: value for value in reading.values(connection, uid)}
    changed = {
        epoch: _clean(metrics)
        for epoch, metrics in sorted(values.items())
        if epoch not in accepted or not _same(accepted[epoch].metrics, _clean(metrics))
    }
    if row is None:
        # A replay, after the end of the trial, of what was accepted before it is no news and no contradiction.
        return not changed and _ended_under(connection, uid, fence)
    for epoch, metrics in list(changed.items()):
        old = accepted.get(epoch)
        if old is not None and old.fence == fence:
            # One attempt says two things of one epoch: the first was acted upon, the second is history.
            now = connection.scalar(sa.select(DatabaseClock())) or 0.0
            _keep_late(connection, ValueRecord(uid, epoch, metrics, now, fence))
            del changed[epoch]
            continue
        if old is not None:
            set_aside(connection, [old])
        new = {"trial_uid": uid, "epoch": epoch, "metrics": metrics, "ts": DatabaseClock(), "fence": fence}
        connection.execute(sa.insert(schema.value).values(**new))
    columns: Json = {}
    if checkpoint is not None:
        columns = _checkpoint_columns(row, fence, checkpoint, min(changed, default=checkpoint.epoch))
    if changed or columns:
        columns["duration_s"] = (row["duration_s"] or 0.0) + duration_s
        connection.execute(sa.update(schema.trial).where(schema.trial.c.uid == uid).values(**columns))
    return True


def _ended_under(connection: sa.Connection, uid: str, fence: int) -> bool:
    trial = schema.trial
    ended = sa.and_(trial.c.uid == uid, trial.c.fence == fence, trial.c.state == TrialState.DONE)
    return connection.scalar(sa.select(trial.c.uid).where(ended)) is not None


def keep_as_late(connection: sa.Connection, uid: str, fence: int, values: Values) -> None:
    """Keep what an attempt sent after it lost its trial; what had been accepted from it before is not kept twice."""
    now = connection.scalar(sa.select(DatabaseClock())) or 0.0
    accepted = {value.epoch: value for value in reading.values(connection, uid)}
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
    trial = schema.trial
    row = connection.execute(sa.select(trial).where(trial.c.uid == uid).with_for_update()).mappings().first()
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
        "ended": DatabaseClock(),
        "peak_memory_mb": max(peaks, default=None),
        **summary(reading.values(connection, uid), metric, direction),
    }
    connection.execute(sa.update(trial).where(trial.c.uid == uid).values(**columns))
    end_attempt(connection, uid, fence, AttemptEnd.FINISHED, message)
    return True
