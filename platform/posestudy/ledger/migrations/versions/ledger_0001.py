"""The first ledger: studies, stages, cells, trials, their values and attempts, projections and leased locks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "lock",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("holder", sa.String(length=200), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lock")),
    )
    op.create_table(
        "projected_run",
        sa.Column("projection", sa.String(length=64), nullable=False),
        sa.Column("trial_uid", sa.String(length=200), nullable=False),
        sa.Column("run_id", sa.String(length=200), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("projection", "trial_uid", name=op.f("pk_projected_run")),
    )
    op.create_table(
        "study",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_study")),
        sa.UniqueConstraint("name", name=op.f("uq_study_name")),
    )
    op.create_table(
        "stage",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("design", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("baseline", sa.String(length=200), nullable=True),
        sa.Column("start", sa.JSON(), nullable=False),
        sa.Column("carried", sa.String(length=200), nullable=True),
        sa.Column("carry_reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_stage_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stage")),
        sa.UniqueConstraint("study_id", "ordinal", name=op.f("uq_stage_study_id_ordinal")),
    )
    op.create_table(
        "cell",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("stage_id", sa.Integer(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("levels", sa.JSON(), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["stage_id"], ["stage.id"], name=op.f("fk_cell_stage_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cell")),
        sa.UniqueConstraint("stage_id", "name", name=op.f("uq_cell_stage_id_name")),
    )
    op.create_table(
        "trial",
        sa.Column("uid", sa.String(length=32), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("cell_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("outcome", sa.String(length=32), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(length=200), nullable=True),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("ckpt_path", sa.Text(), nullable=True),
        sa.Column("ckpt_sha", sa.String(length=64), nullable=True),
        sa.Column("ckpt_epoch", sa.Integer(), nullable=False),
        sa.Column("ckpt_fence", sa.Integer(), nullable=False),
        sa.Column("prev_path", sa.Text(), nullable=True),
        sa.Column("prev_sha", sa.String(length=64), nullable=True),
        sa.Column("prev_epoch", sa.Integer(), nullable=False),
        sa.Column("decision", sa.JSON(), nullable=True),
        sa.Column("optuna", sa.JSON(), nullable=False),
        sa.Column("final_value", sa.Double(), nullable=True),
        sa.Column("final_epoch", sa.Integer(), nullable=True),
        sa.Column("best_value", sa.Double(), nullable=True),
        sa.Column("best_epoch", sa.Integer(), nullable=True),
        sa.Column("started", sa.Double(), nullable=True),
        sa.Column("ended", sa.Double(), nullable=True),
        sa.Column("duration_s", sa.Double(), nullable=True),
        sa.Column("peak_memory_mb", sa.Double(), nullable=True),
        sa.Column("provenance", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["cell_id"], ["cell.id"], name=op.f("fk_trial_cell_id")),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_trial_study_id")),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_trial")),
        sa.UniqueConstraint("study_id", "number", name=op.f("uq_trial_study_id_number")),
    )
    op.create_index(op.f("ix_trial_cell_id"), "trial", ["cell_id"], unique=False)
    op.create_index(op.f("ix_trial_study_id_state_number"), "trial", ["study_id", "state", "number"], unique=False)
    op.create_table(
        "attempt",
        sa.Column("trial_uid", sa.String(length=32), nullable=False),
        sa.Column("fence", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("owner", sa.String(length=200), nullable=False),
        sa.Column("started", sa.Double(), nullable=False),
        sa.Column("ended", sa.Double(), nullable=True),
        sa.Column("end", sa.String(length=16), nullable=True),
        sa.Column("why", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["trial_uid"], ["trial.uid"], name=op.f("fk_attempt_trial_uid")),
        sa.PrimaryKeyConstraint("trial_uid", "fence", name=op.f("pk_attempt")),
    )
    op.create_table(
        "late_value",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("trial_uid", sa.String(length=32), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("ts", sa.Double(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["trial_uid"], ["trial.uid"], name=op.f("fk_late_value_trial_uid")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_late_value")),
    )
    op.create_index(op.f("ix_late_value_trial_uid_epoch"), "late_value", ["trial_uid", "epoch"], unique=False)
    op.create_table(
        "value",
        sa.Column("trial_uid", sa.String(length=32), nullable=False),
        sa.Column("epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("ts", sa.Double(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["trial_uid"], ["trial.uid"], name=op.f("fk_value_trial_uid")),
        sa.PrimaryKeyConstraint("trial_uid", "epoch", name=op.f("pk_value")),
    )
