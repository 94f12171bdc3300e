"""Trials may pause: no table changes, but a program that does not know the state must not read the ledger."""

from __future__ import annotations

revision = "0005"
down_revision: str | None = "0004"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Nothing: the revision itself is what an older posestudy refuses."""
