"""Results that were not trained here, what a study was expected to cost, and cells found by their key."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Add the columns and the index."""
    with op.batch_alter_table("study") as study:
        study.add_column(sa.Column("estimate", sa.JSON(), nullable=True))
    with op.batch_alter_table("trial") as trial:
        trial.add_column(sa.Column("source", sa.JSON(), nullable=True))
    op.create_index(op.f("ix_cell_key"), "cell", ["key"], unique=False)
