"""Cells trained alike and only evaluated otherwise, and what a trial's network costs to run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Add the columns and the index."""
    with op.batch_alter_table("cell") as cell:
        cell.add_column(sa.Column("training_key", sa.String(64), nullable=True))
    with op.batch_alter_table("trial") as trial:
        trial.add_column(sa.Column("profile", sa.JSON(), nullable=True))
    op.create_index(op.f("ix_cell_training_key"), "cell", ["training_key"], unique=False)
