"""Turns rows of the ledger into records; nothing here writes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from posestudy.errors import NotFoundError, nearest
from posestudy.ledger import schema, split_uses
from posestudy.ledger.clock import DatabaseClock
from posestudy.ledger.records import (
    AttemptRecord,
    CellRecord,
    Snapshot,
    StageRecord,
    StudyRecord,
    TrialRecord,
    ValueRecord,
)
from posestudy.ledger.value_columns import Collector, ValueColumns
from posestudy.vocabulary import AttemptEnd, Outcome, TrialState

# So many rows are in memory as text, the rest as numbers. They come in batches that are gone before the garbage
# collector looks at them: it would look through everything else with them, again and again.
_FETCHED_ROWS, _PARSED_ROWS = 500, 8000


# Built once: building a statement takes longer than running it.
_STUDY_NAMED = sa.select(schema.study).where(schema.study.c.name == sa.bindparam("its_name"))
_CELL_AND_STAGE = (
    sa.select(schema.cell, schema.stage).join(schema.stage).where(schema.cell.c.id == sa.bindparam("cell"))
)
_VALUES = (
    sa.select(schema.value).where(schema.value.c.trial_uid == sa.bindparam("of_uid")).order_by(schema.value.c.epoch)
)
_VALUES_AT = _VALUES.where(schema.value.c.epoch.in_(sa.bindparam("epochs", expanding=True)))


def _study(row: Mapping[str, Any]) -> StudyRecord:
    return StudyRecord(**row)


def trial_record(row: Mapping[str, Any]) -> TrialRecord:
    """The record of a whole row of the table `trial`."""
    fields = dict(row)
    del fields["ckpt_fence"]
    fields["state"] = TrialState(fields["state"])
    fields["outcome"] = Outcome(fields["outcome"]) if fields["outcome"] else None
    return TrialRecord(**fields)


def _attempt(fields: dict[str, Any]) -> AttemptRecord:
    fields["end"] = AttemptEnd(fields["end"]) if fields["end"] else None
    return AttemptRecord(**fields)


def _rows(connection: sa.Connection, query: sa.Select[Any], **parameters: Any) -> list[dict[str, Any]]:
    result = connection.execute(query, parameters)
    names = tuple(result.keys())
    return [dict(zip(names, row, strict=True)) for row in result]


def studies(connection: sa.Connection) -> list[StudyRecord]:
    return [_study(row) for row in _rows(connection, sa.select(schema.study).order_by(schema.study.c.id))]


def study(connection: sa.Connection, name: str) -> StudyRecord:
    rows = _rows(connection, _STUDY_NAMED, its_name=name)
    if rows:
        return _study(rows[0])
    known = list(connection.scalars(sa.select(schema.study.c.name).order_by(schema.study.c.name)))
    hint = nearest(name, known) or ("known studies: " + ", ".join(known) if known else "there is none yet")
    raise NotFoundError(f"no study '{name}' in this ledger ({hint})")


def cell_and_stage(connection: sa.Connection, cell_id: int) -> tuple[CellRecord, StageRecord]:
    row = connection.execute(_CELL_AND_STAGE, {"cell": cell_id}).one()
    cell = dict(zip(schema.cell.c.keys(), row, strict=False))
    stage = dict(zip(schema.stage.c.keys(), row[len(cell) :], strict=True))
    return CellRecord(**cell), StageRecord(**stage)


def values(connection: sa.Connection, uid: str) -> tuple[ValueRecord, ...]:
    return tuple(ValueRecord(**row) for row in _rows(connection, _VALUES, of_uid=uid))


def values_at(connection: sa.Connection, uid: str, epochs: Collection[int]) -> dict[int, ValueRecord]:
    """The values of some epochs of a trial that are there, by epoch."""
    if not epochs:
        return {}
    rows = _rows(connection, _VALUES_AT, of_uid=uid, epochs=list(epochs))
    return {row["epoch"]: ValueRecord(**row) for row in rows}


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
    # Not sorted by the database, which would write all of it to its disk first; and the metrics as text.
    texts = sa.select(trial.c.number, value.c.epoch, value.c.ts, value.c.fence, sa.cast(value.c.metrics, sa.Text))
    texts = texts.select_from(placed.join(value, value.c.trial_uid == trial.c.uid)).where(in_study)
    attempts = sa.select(attempt).select_from(placed.join(attempt, attempt.c.trial_uid == trial.c.uid))
    attempts = attempts.where(in_study).order_by(trial.c.number, attempt.c.fence)
    placed_trials = tuple(trial_record(row) for row in _rows(connection, trials))
    return Snapshot(
        study=record,
        stages=tuple(StageRecord(**row) for row in _rows(connection, stages)),
        cells=tuple(CellRecord(**row) for row in _rows(connection, cells.order_by(stage.c.ordinal, cell.c.ordinal))),
        trials=placed_trials,
        values=_columns(connection, texts, placed_trials) if with_values else (),
        attempts=tuple(_attempt(row) for row in _rows(connection, attempts)),
        test_uses=split_uses.of_study(connection, record.id),
        at=connection.scalar(sa.select(DatabaseClock())) if _has_deadline(record) else None,
    )


def _has_deadline(record: StudyRecord) -> bool:
    budget = record.document.get("budget")
    return isinstance(budget, Mapping) and budget.get("deadline") is not None


def _columns(connection: sa.Connection, texts: sa.Select[Any], trials: Sequence[TrialRecord]) -> ValueColumns:
    """Values read once, batch by batch, by a cursor of the server where there is one; `trials` in order of number."""
    places = {trial.number: place for place, trial in enumerate(trials)}
    collector, waiting = Collector(), tuple[list[Any], ...](([], [], [], [], []))
    streamed = texts.execution_options(stream_results=True, yield_per=_FETCHED_ROWS)
    for batch in connection.execute(streamed).partitions():
        for column, part in zip(waiting, zip(*batch, strict=True), strict=True):
            column.extend(part)
        if len(waiting[0]) >= _PARSED_ROWS:
            _collect(collector, places, waiting)
    _collect(collector, places, waiting)
    return collector.columns([trial.uid for trial in trials])


def _collect(collector: Collector, places: Mapping[int, int], rows: tuple[list[Any], ...]) -> None:
    numbers, epochs, times, fences, documents = rows
    if numbers:
        collector.add_texts([places[number] for number in numbers], epochs, times, fences, documents)
    for column in rows:
        column.clear()
