"""Results a new trial need not be trained for: given with the cell, left by a withdrawn stage, or trained before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from posestudy.ledger import reading, schema
from posestudy.ledger.clock import DatabaseClock
from posestudy.ledger.epochs import summary
from posestudy.ledger.records import Json, KnownResult
from posestudy.vocabulary import METRICS, Direction, Outcome, TrialState

WITHDRAWN = "withdrawn: the study file was edited and does not ask for it any more"
"""Message of a trial that a withdrawn stage cancelled."""

_OF_THE_SAME_STUDY = (Outcome.OUT_OF_MEMORY, Outcome.DIVERGED, Outcome.NOT_CONVERGED)
"""Beside completed ones: they depend on the study's own limits and floor."""


def columns(result: KnownResult) -> Json:
    """What the row of a trial with this result holds."""
    return {
        "state": TrialState.DONE,
        "outcome": result.outcome,
        "message": result.message,
        "source": result.source,
        "final_value": result.final_value,
        "final_epoch": result.final_epoch,
        "best_value": result.best_value,
        "best_epoch": result.best_epoch,
        "duration_s": result.duration_s,
        "peak_memory_mb": result.peak_memory_mb,
        "provenance": result.provenance,
        "ended": DatabaseClock(),
    }


def put_values(connection: sa.Connection, uid: str, values: Mapping[int, Mapping[str, float]]) -> None:
    """Accept the values of a result that came whole; no attempt has made them, so their fence is 0."""
    for epoch, metrics in sorted(values.items()):
        row = {"trial_uid": uid, "epoch": epoch, "metrics": dict(metrics), "ts": DatabaseClock(), "fence": 0}
        connection.execute(sa.insert(schema.value).values(**row))


def left_behind(connection: sa.Connection, study_id: int, key: str, seed: int) -> sa.RowMapping | None:
    """The trial of a withdrawn stage of the study with this key and seed, finished ones first; None without one."""
    stage, cell, trial = schema.stage, schema.cell, schema.trial
    query = (
        sa.select(trial.c.uid, trial.c.outcome, trial.c.message)
        .join(cell, trial.c.cell_id == cell.c.id)
        .join(stage, cell.c.stage_id == stage.c.id)
        .where(stage.c.study_id == study_id, stage.c.state == schema.WITHDRAWN_STAGE, cell.c.key == key)
        .where(trial.c.seed == seed)
        .order_by(trial.c.number)
    )
    found = list(connection.execute(query).mappings())
    kept = [row for row in found if row["outcome"] != Outcome.CANCELLED]
    return next(iter(kept + [row for row in found if row["message"] == WITHDRAWN]), None)


def reusable(connection: sa.Connection, study: sa.RowMapping, key: str, seed: int) -> KnownResult | None:
    """The result of a trial with the same key and seed that `study` may take over; None where there is none.

    Its final and best value are those of the study's own metric. One's own study comes first, then what was trained
    rather than imported.
    """
    document: dict[str, Any] = study["document"]
    scope, metric = document.get("reuse", "home"), METRICS.get(document.get("metric", ""))
    if scope == "none" or metric is None:
        return None
    cell, trial, owner, stage = schema.cell, schema.trial, schema.study, schema.stage
    own = trial.c.study_id == study["id"]
    allowed = sa.or_(
        trial.c.outcome == Outcome.COMPLETED, sa.and_(own, trial.c.outcome.in_([str(o) for o in _OF_THE_SAME_STUDY]))
    )
    query = (
        sa.select(trial, owner.c.name.label("of_study"), owner.c.document.label("of_document"))
        .add_columns(stage.c.name.label("of_stage"), cell.c.name.label("of_cell"))
        .select_from(trial.join(cell).join(stage).join(owner, trial.c.study_id == owner.c.id))
        .where(cell.c.key == key, trial.c.seed == seed, trial.c.state == TrialState.DONE, allowed)
        .order_by(sa.case((own, 0), else_=1), sa.case((trial.c.source.is_(None), 0), else_=1), trial.c.number)
    )
    if scope == "study":
        query = query.where(own)
    for row in connection.execute(query).mappings():
        if row["study_id"] != study["id"] and _built_elsewhere(row["source"]):
            continue
        result = _taken_over(connection, row, metric.name, metric.direction)
        if result is not None:
            return result
    return None


def _built_elsewhere(source: Json | None) -> bool:
    """Whether an imported result is of another configuration than its cell's, as its own study says in a footnote."""
    while source is not None:
        if source.get("elsewhere"):
            return True
        source = source.get("source")
    return False


def _taken_over(connection: sa.Connection, row: sa.RowMapping, metric: str, direction: Direction) -> KnownResult | None:
    values = reading.values(connection, row["uid"])
    names = ("final_value", "final_epoch", "best_value", "best_epoch")
    numbers: Json = {name: row[name] for name in names}
    if row["of_document"].get("metric") != metric:
        numbers = summary(values, metric, direction)
    outcome = Outcome(row["outcome"])
    if outcome is Outcome.COMPLETED and numbers["final_value"] is None:
        return None
    source = {
        "kind": "reused",
        "study": row["of_study"],
        "stage": row["of_stage"],
        "cell": row["of_cell"],
        "number": row["number"],
        "uid": row["uid"],
    }
    before: Json | None = row["source"]
    if before is not None and before.get("kind") == "reused":
        source = before
    elif before is not None:
        source["source"] = before
    return KnownResult(
        outcome=outcome,
        source=source,
        message=row["message"],
        values={value.epoch: value.metrics for value in values},
        duration_s=row["duration_s"],
        peak_memory_mb=row["peak_memory_mb"],
        provenance=row["provenance"],
        **numbers,
    )
