"""Results a new trial need not be trained for: given with the cell, left by a withdrawn stage, or trained before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from posestudy.ledger import reading, schema
from posestudy.ledger.clock import DatabaseClock
from posestudy.ledger.epochs import summary
from posestudy.ledger.records import Checkpoint, Json, KnownResult, NewCell, TrainedAlike
from posestudy.vocabulary import METRICS, Outcome, TrialState

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
        "profile": result.profile,
        "ended": DatabaseClock(),
    }


def put_values(connection: sa.Connection, uid: str, values: Mapping[int, Mapping[str, float]]) -> None:
    """Accept the values of a result that came whole; no attempt has made them, so their fence is 0."""
    for epoch, metrics in sorted(values.items()):
        row = {"trial_uid": uid, "epoch": epoch, "metrics": dict(metrics), "ts": DatabaseClock(), "fence": 0}
        connection.execute(sa.insert(schema.value).values(**row))


_ONCE_MORE: Json = {"state": TrialState.WAITING, "outcome": None, "message": None, "owner": None, "ended": None}
_NOT_YET: Json = dict.fromkeys(("final_value", "final_epoch", "best_value", "best_epoch"))


def taken_back(
    connection: sa.Connection, study: sa.RowMapping, cell: NewCell, seed: int, cell_id: int
) -> tuple[str, Json] | None:
    """The trial that a withdrawn stage of `study` has of this cell and seed, finished ones first; None without one.

    Returns:
        Its uid and the columns to set, all but the cell it goes over to. Its numbers are those of the study's metric,
        which may have changed. A pruned trial answers only for the same question of a search; where its stage has no
        pruner any more, it goes on from its checkpoint.
    """
    stage, of, trial = schema.stage, schema.cell, schema.trial
    query = (
        sa.select(trial)
        .join(of, trial.c.cell_id == of.c.id)
        .join(stage, of.c.stage_id == stage.c.id)
        .where(stage.c.study_id == study["id"], stage.c.state == schema.WITHDRAWN_STAGE, of.c.key == cell.key)
        .where(trial.c.seed == seed)
        .order_by(sa.case((trial.c.outcome == Outcome.CANCELLED, 1), else_=0), trial.c.number)
    )
    for row in connection.execute(query).mappings():
        optuna = _answering(row["optuna"], cell.optuna)
        columns: Json = {"optuna": cell.optuna if optuna is None else optuna}
        if row["outcome"] == Outcome.CANCELLED:
            if row["message"] == WITHDRAWN:
                # What a pruner said of it may have been an answer to another question.
                return row["uid"], columns | _ONCE_MORE | ({} if optuna is not None else {"decision": None})
            continue
        if row["outcome"] == Outcome.PRUNED and optuna is None:
            continue
        if row["outcome"] == Outcome.PRUNED and _has_no_pruner(connection, study, cell_id):
            return row["uid"], columns | _ONCE_MORE | _NOT_YET | {"decision": None}
        numbers = _numbers(connection, row, study["document"].get("metric", ""))
        if numbers is not None:
            return row["uid"], columns | numbers
    return None


def _has_no_pruner(connection: sa.Connection, study: sa.RowMapping, cell_id: int) -> bool:
    """Whether the study's document says of the search that a cell is of that it prunes nothing."""
    stage, cell = schema.stage, schema.cell
    of_cell = sa.select(stage.c.ordinal).join(cell, cell.c.stage_id == stage.c.id).where(cell.c.id == cell_id)
    ordinal, stages = connection.scalar(of_cell), study["document"].get("stages") or []
    if ordinal is None or ordinal >= len(stages):
        return False
    return (stages[ordinal].get("pruner") or {}).get("type") == "none"


def _answering(old: Json, asked: Json) -> Json | None:
    """What a trial of a search keeps where it answers the same question once more; None where it does not."""
    if not asked or any(old.get(part) != asked.get(part) for part in ("params", "distributions")):
        return None
    # What pruners noted during the trial is the trial's own; what the sampler notes as it asks is of this question.
    return {**old, **asked, "system_attrs": {**old.get("system_attrs", {}), **asked.get("system_attrs", {})}}


def _numbers(connection: sa.Connection, row: sa.RowMapping, metric: str) -> Json | None:
    """Final and best value of a finished trial under `metric`; None where a completed one has no value of it."""
    stated: Json = {name: row[name] for name in ("final_value", "final_epoch", "best_value", "best_epoch")}
    known = METRICS.get(metric)
    if known is None or (row["source"] is not None and row["final_value"] is None):
        return stated
    values = reading.values(connection, row["uid"])
    at_the_end = next((v.metrics.get(metric) for v in values if v.epoch == row["final_epoch"]), None)
    if row["source"] is None or at_the_end != row["final_value"]:
        # What a source states of this metric stays as it states it, even where its own values say otherwise.
        stated = summary(values, metric, known.direction)
    return None if row["outcome"] == Outcome.COMPLETED and stated["final_value"] is None else stated


def reusable(connection: sa.Connection, study: sa.RowMapping, key: str, seed: int) -> KnownResult | None:
    """The result of a trial with the same key and seed that `study` may take over; None where there is none.

    Its final and best value are those of the study's own metric. One's own study comes first, then what was trained
    rather than imported.
    """
    document: dict[str, Any] = study["document"]
    scope, metric = document.get("reuse", "home"), document.get("metric", "")
    if scope == "none" or metric not in METRICS:
        return None
    cell, trial, owner, stage = schema.cell, schema.trial, schema.study, schema.stage
    own = trial.c.study_id == study["id"]
    allowed = sa.or_(
        trial.c.outcome == Outcome.COMPLETED, sa.and_(own, trial.c.outcome.in_([str(o) for o in _OF_THE_SAME_STUDY]))
    )
    query = (
        sa.select(trial, owner.c.name.label("of_study"))
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
        numbers = _numbers(connection, row, metric)
        if numbers is not None:
            return _taken_over(connection, row, numbers)
    return None


def trained_alike(connection: sa.Connection, uid: str) -> tuple[TrainedAlike, ...]:
    """Completed trials that were trained as the trial `uid` is to be, with the same seed, as far as its study reuses.

    Those of its own study come first, then the latest. Whether their files are still there is not known here.
    """
    cell, trial, study = schema.cell, schema.trial, schema.study
    asked = connection.execute(
        sa.select(trial.c.study_id, trial.c.seed, cell.c.training_key, study.c.document)
        .select_from(trial.join(cell).join(study, trial.c.study_id == study.c.id))
        .where(trial.c.uid == uid)
    ).one()
    scope = asked.document.get("reuse", "home")
    if scope == "none" or asked.training_key is None:
        return ()
    own = trial.c.study_id == asked.study_id
    query = (
        sa.select(trial.c.uid, trial.c.number, trial.c.ckpt_path, trial.c.ckpt_sha, trial.c.ckpt_epoch, study.c.name)
        .select_from(trial.join(cell).join(study, trial.c.study_id == study.c.id))
        .where(cell.c.training_key == asked.training_key, trial.c.seed == asked.seed, trial.c.uid != uid)
        .where(trial.c.outcome == Outcome.COMPLETED, trial.c.ckpt_path.is_not(None))
        .order_by(sa.case((own, 0), else_=1), trial.c.ended.desc())
    )
    rows = connection.execute(query if scope == "home" else query.where(own))
    return tuple(
        TrainedAlike(row.name, row.number, row.uid, Checkpoint(row.ckpt_path, row.ckpt_sha, row.ckpt_epoch))
        for row in rows
    )


def _built_elsewhere(source: Json | None) -> bool:
    """Whether an imported result is of another configuration than its cell's, as its own study says in a footnote."""
    while source is not None:
        if source.get("elsewhere"):
            return True
        source = source.get("source")
    return False


def _taken_over(connection: sa.Connection, row: sa.RowMapping, numbers: Json) -> KnownResult:
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
        outcome=Outcome(row["outcome"]),
        source=source,
        message=row["message"],
        values={value.epoch: value.metrics for value in reading.values(connection, row["uid"])},
        duration_s=row["duration_s"],
        peak_memory_mb=row["peak_memory_mb"],
        provenance=row["provenance"],
        profile=row["profile"],
        **numbers,
    )
