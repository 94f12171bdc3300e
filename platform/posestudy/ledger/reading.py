"""Turns rows of the ledger into records; nothing here writes."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from posestudy.errors import NotFoundError, nearest
from posestudy.ledger import schema
from posestudy.ledger.records import (
    AttemptRecord,
    CellRecord,
    Snapshot,
    StageRecord,
    StudyRecord,
    TrialRecord,
    ValueRecord,
)
from posestudy.vocabulary import AttemptEnd, Outcome, TrialState


def _study(row: sa.RowMapping) -> StudyRecord:
    return StudyRecord(**row)


def _trial(row: sa.RowMapping) -> TrialRecord:
    fields: dict[str, Any] = dict(row)
    del fields["ckpt_fence"]
    fields["state"] = TrialState(fields["state"])
    fields["outcome"] = Outcome(fields["outcome"]) if fields["outcome"] else None
    return TrialRecord(**fields)


def _attempt(row: sa.RowMapping) -> AttemptRecord:
    fields: dict[str, Any] = dict(row)
    fields["end"] = AttemptEnd(fields["end"]) if fields["end"] else None
    return AttemptRecord(**fields)


def _rows(connection: sa.Connection, query: sa.Select[Any]) -> list[sa.RowMapping]:
    return list(connection.execute(query).mappings())


def studies(connection: sa.Connection) -> list[StudyRecord]:
    return [_study(row) for row in _rows(connection, sa.select(schema.study).order_by(schema.study.c.id))]


def study(connection: sa.Connection, name: str) -> StudyRecord:
    rows = _rows(connection, sa.select(schema.study).where(schema.study.c.name == name))
    if rows:
        return _study(rows[0])
    known = list(connection.scalars(sa.select(schema.study.c.name).order_by(schema.study.c.name)))
    hint = nearest(name, known) or ("known studies: " + ", ".join(known) if known else "there is none yet")
    raise NotFoundError(f"no study '{name}' in this ledger ({hint})")


def trial(connection: sa.Connection, uid: str) -> TrialRecord:
    return _trial(_rows(connection, sa.select(schema.trial).where(schema.trial.c.uid == uid))[0])


def cell_and_stage(connection: sa.Connection, cell_id: int) -> tuple[CellRecord, StageRecord]:
    cell = CellRecord(**_rows(connection, sa.select(schema.cell).where(schema.cell.c.id == cell_id))[0])
    stage = StageRecord(**_rows(connection, sa.select(schema.stage).where(schema.stage.c.id == cell.stage_id))[0])
    return cell, stage


def values(connection: sa.Connection, uid: str) -> tuple[ValueRecord, ...]:
    query = sa.select(schema.value).where(schema.value.c.trial_uid == uid).order_by(schema.value.c.epoch)
    return tuple(ValueRecord(**row) for row in _rows(connection, query))


def late_values(connection: sa.Connection, uid: str) -> tuple[ValueRecord, ...]:
    late = schema.late_value
    query = sa.select(late.c.trial_uid, late.c.epoch, late.c.metrics, late.c.ts, late.c.fence)
    return tuple(
        ValueRecord(**row) for row in _rows(connection, query.where(late.c.trial_uid == uid).order_by(late.c.id))
    )


def snapshot(connection: sa.Connection, name: str, *, with_values: bool) -> Snapshot:
    record = study(connection, name)
    stage, cell, trial, value, attempt = schema.stage, schema.cell, schema.trial, schema.value, schema.attempt
    in_study = sa.and_(stage.c.study_id == record.id, stage.c.state != schema.WITHDRAWN_STAGE)
    stages = sa.select(stage).where(in_study).order_by(stage.c.ordinal)
    cells = sa.select(cell).join(stage).where(in_study)
    placed = trial.join(cell, trial.c.cell_id == cell.c.id).join(stage, cell.c.stage_id == stage.c.id)
    trials = sa.select(trial).select_from(placed).where(in_study).order_by(trial.c.number)
    all_values = sa.select(value).select_from(placed.join(value, value.c.trial_uid == trial.c.uid)).where(in_study)
    all_values = all_values.order_by(trial.c.number, value.c.epoch)
    attempts = sa.select(attempt).select_from(placed.join(attempt, attempt.c.trial_uid == trial.c.uid))
    attempts = attempts.where(in_study).order_by(trial.c.number, attempt.c.fence)
    return Snapshot(
        study=record,
        stages=tuple(StageRecord(**row) for row in _rows(connection, stages)),
        cells=tuple(CellRecord(**row) for row in _rows(connection, cells.order_by(stage.c.ordinal, cell.c.ordinal))),
        trials=tuple(_trial(row) for row in _rows(connection, trials)),
        values=tuple(ValueRecord(**row) for row in _rows(connection, all_values)) if with_values else (),
        attempts=tuple(_attempt(row) for row in _rows(connection, attempts)),
    )
