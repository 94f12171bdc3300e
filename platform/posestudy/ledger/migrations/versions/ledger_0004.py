"""Every prediction of a test split, so that a report can say how often it was looked at."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision: str | None = "0003"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "test_use",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("trial_uid", sa.String(32), nullable=False),
        sa.Column("ts", sa.Double(), nullable=False),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("instances", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_test_use_study_id")),
        sa.ForeignKeyConstraint(["trial_uid"], ["trial.uid"], name=op.f("fk_test_use_trial_uid")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_test_use")),
    )
    op.create_index(op.f("ix_test_use_study_id_ts"), "test_use", ["study_id", "ts"], unique=False)
