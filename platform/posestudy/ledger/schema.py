"""The ledger's tables. A change here needs a migration beside it and its name in `revisions`; a test compares them."""

from __future__ import annotations

import json
import math
from typing import Any

import sqlalchemy as sa

from posestudy.ledger.revisions import KNOWN_REVISIONS as KNOWN_REVISIONS
from posestudy.ledger.revisions import REVISION as REVISION
from posestudy.ledger.revisions import VERSION_TABLE as VERSION_TABLE

WITHDRAWN_STAGE = "withdrawn"
"""State of a stage that an edited study file no longer has: not read with the study, its trials wait for new cells."""


class StrictJson(sa.TypeDecorator[Any]):
    """JSON as the standard has it: PostgreSQL refuses NaN, and SQLite would store it and surprise the next reader."""

    impl = sa.JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:
        json.dumps(value, allow_nan=False)
        return value


class Metrics(sa.TypeDecorator[dict[str, float]]):
    """`{name: number}` as strict JSON: what is not finite is stored as text, since JSON has no NaN."""

    impl = sa.JSON
    cache_ok = True

    def process_bind_param(self, value: dict[str, float] | None, dialect: sa.Dialect) -> dict[str, Any] | None:
        if value is None:
            return None
        return {name: number if math.isfinite(number) else repr(number) for name, number in value.items()}

    def process_result_value(self, value: dict[str, Any] | None, dialect: sa.Dialect) -> dict[str, float] | None:
        return None if value is None else {name: float(number) for name, number in value.items()}


metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

study = sa.Table(
    "study",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(200), nullable=False, unique=True),
    sa.Column("document", StrictJson, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("estimate", StrictJson),
)

stage = sa.Table(
    "stage",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("study_id", sa.ForeignKey("study.id"), nullable=False),
    sa.Column("ordinal", sa.Integer, nullable=False),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("design", sa.String(64), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("baseline", sa.String(200)),
    sa.Column("start", StrictJson, nullable=False),
    sa.Column("carried", sa.String(200)),
    sa.Column("carry_reason", sa.Text),
    sa.UniqueConstraint("study_id", "ordinal"),
)

cell = sa.Table(
    "cell",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("stage_id", sa.ForeignKey("stage.id"), nullable=False),
    sa.Column("ordinal", sa.Integer, nullable=False),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("key", sa.String(64), nullable=False),
    sa.Column("levels", StrictJson, nullable=False),
    sa.Column("config", StrictJson, nullable=False),
    sa.Column("training_key", sa.String(64)),
    sa.UniqueConstraint("stage_id", "name"),
    sa.Index(None, "key"),
    sa.Index(None, "training_key"),
)

trial = sa.Table(
    "trial",
    metadata,
    sa.Column("uid", sa.String(32), primary_key=True),
    sa.Column("study_id", sa.ForeignKey("study.id"), nullable=False),
    sa.Column("cell_id", sa.ForeignKey("cell.id"), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("outcome", sa.String(32)),
    sa.Column("message", sa.Text),
    sa.Column("fence", sa.Integer, nullable=False),
    sa.Column("owner", sa.String(200)),
    sa.Column("lease_until", sa.Double),
    sa.Column("ckpt_path", sa.Text),
    sa.Column("ckpt_sha", sa.String(64)),
    sa.Column("ckpt_epoch", sa.Integer, nullable=False),
    # The fence that wrote the checkpoint: tells a replay under one fence from a fallback under a newer one.
    sa.Column("ckpt_fence", sa.Integer, nullable=False),
    sa.Column("prev_path", sa.Text),
    sa.Column("prev_sha", sa.String(64)),
    sa.Column("prev_epoch", sa.Integer, nullable=False),
    sa.Column("decision", StrictJson),
    sa.Column("optuna", StrictJson, nullable=False),
    sa.Column("final_value", sa.Double),
    sa.Column("final_epoch", sa.Integer),
    sa.Column("best_value", sa.Double),
    sa.Column("best_epoch", sa.Integer),
    sa.Column("started", sa.Double),
    sa.Column("ended", sa.Double),
    sa.Column("duration_s", sa.Double),
    sa.Column("peak_memory_mb", sa.Double),
    sa.Column("provenance", StrictJson, nullable=False),
    sa.Column("source", StrictJson),
    sa.Column("profile", StrictJson),
    sa.UniqueConstraint("study_id", "number"),
    sa.Index(None, "study_id", "state", "number"),
    sa.Index(None, "cell_id"),
)

value = sa.Table(
    "value",
    metadata,
    sa.Column("trial_uid", sa.ForeignKey("trial.uid"), primary_key=True),
    sa.Column("epoch", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("metrics", Metrics, nullable=False),
    sa.Column("ts", sa.Double, nullable=False),
    sa.Column("fence", sa.Integer, nullable=False),
)

late_value = sa.Table(
    "late_value",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("trial_uid", sa.ForeignKey("trial.uid"), nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("metrics", Metrics, nullable=False),
    sa.Column("ts", sa.Double, nullable=False),
    sa.Column("fence", sa.Integer, nullable=False),
    sa.Index(None, "trial_uid", "epoch"),
)

attempt = sa.Table(
    "attempt",
    metadata,
    sa.Column("trial_uid", sa.ForeignKey("trial.uid"), primary_key=True),
    sa.Column("fence", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("owner", sa.String(200), nullable=False),
    sa.Column("started", sa.Double, nullable=False),
    sa.Column("ended", sa.Double),
    sa.Column("end", sa.String(16)),
    sa.Column("why", sa.Text),
)

test_use = sa.Table(
    "test_use",
    metadata,
    # Of whoever predicted, so that saying it twice writes it once.
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("study_id", sa.ForeignKey("study.id"), nullable=False),
    sa.Column("trial_uid", sa.ForeignKey("trial.uid"), nullable=False),
    sa.Column("ts", sa.Double, nullable=False),
    sa.Column("purpose", sa.String(16), nullable=False),
    sa.Column("images", sa.Integer, nullable=False),
    sa.Column("instances", sa.Integer, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Index(None, "study_id", "ts"),
)

# No foreign key: a projection may be deleted and rebuilt at any time and never holds the ledger up.
projected_run = sa.Table(
    "projected_run",
    metadata,
    sa.Column("projection", sa.String(64), primary_key=True),
    sa.Column("trial_uid", sa.String(200), primary_key=True),
    sa.Column("run_id", sa.String(200), nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
)

lock = sa.Table(
    "lock",
    metadata,
    sa.Column("name", sa.String(200), primary_key=True),
    sa.Column("holder", sa.String(200), nullable=False),
    sa.Column("until", sa.Double, nullable=False),
)
