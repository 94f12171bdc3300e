"""Mistakes planted on purpose, to see that the campaign finds them: each takes one of the ledger's safeguards away."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa


def no_fence() -> None:
    """Whoever runs a trial may write, whether or not another was granted it since."""
    from posestudy.ledger import claims, epochs, schema
    from posestudy.vocabulary import TrialState

    def mine() -> sa.ColumnElement[bool]:
        any_fence = sa.bindparam("mine_fence", type_=sa.Integer) >= 0
        running = schema.trial.c.state == TrialState.RUNNING
        return sa.and_(schema.trial.c.uid == sa.bindparam("mine_uid"), running, any_fence)

    for module in (claims, epochs):
        vars(module)["mine"] = mine


def no_fsync_order() -> None:
    """Checkpoints get their name before their bytes are on the disk."""
    from posestudy import durable

    def commit_file(temporary: Path, final: Path) -> None:
        os.replace(temporary, final)

    durable.commit_file = commit_file


def double_advance() -> None:
    """A stage moves on for everyone who computed its next step, not for the first alone."""
    from dataclasses import replace

    from posestudy.ledger import schema, stages

    growth: Any = stages._Growth
    stock_open = growth._open_stage

    def _open_stage(self: Any, change: Any) -> None:
        table = schema.stage
        taken = sa.select(sa.func.max(table.c.ordinal)).where(table.c.study_id == self._study_id)
        last = self._connection.scalar(taken)
        ordinal = change.ordinal if last is None else max(change.ordinal, last + 1)
        stock_open(self, replace(change, ordinal=ordinal))

    def _touch(self: Any, stage_id: int, _version: int, changes: Any, *, closed_too: bool = False) -> None:
        table = schema.stage
        step = sa.update(table).where(table.c.id == stage_id).values(version=table.c.version + 1, **changes)
        self._connection.execute(step)

    growth._open_stage, growth._touch = _open_stage, _touch


PLANTED: dict[str, Callable[[], None]] = {
    "no_fence": no_fence,
    "no_fsync_order": no_fsync_order,
    "double_advance": double_advance,
}
"""What `--plant` may name."""

VARIABLE = "FAULTS_PLANTED"


def plant() -> None:
    """Plant what the environment names, in this process."""
    name = os.environ.get(VARIABLE)
    if name:
        PLANTED[name]()
