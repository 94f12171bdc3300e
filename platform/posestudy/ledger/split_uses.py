"""Every prediction of a test split: written once each, never changed, and read with the study."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from posestudy.ledger import schema
from posestudy.ledger.clock import DatabaseClock
from posestudy.ledger.records import NewSplitUse, SplitUse
from posestudy.vocabulary import Purpose


def record(connection: sa.Connection, uid: str, use: NewSplitUse) -> None:
    """Write the use unless one of that id is there: a call whose answer was lost may be made again."""
    table, trial = schema.test_use, schema.trial
    if connection.scalar(sa.select(table.c.id).where(table.c.id == use.id)) is not None:
        return
    study_id = sa.select(trial.c.study_id).where(trial.c.uid == uid).scalar_subquery()
    row = {
        "id": use.id,
        "study_id": study_id,
        "trial_uid": uid,
        "ts": DatabaseClock(),
        "purpose": use.purpose,
        "images": use.images,
        "instances": use.instances,
        "sha256": use.sha256,
    }
    connection.execute(sa.insert(table).values(**row))


def of_study(connection: sa.Connection, study_id: int) -> tuple[SplitUse, ...]:
    """Oldest first; also those by trials that an edited study file no longer has."""
    table = schema.test_use
    query = sa.select(table).where(table.c.study_id == study_id).order_by(table.c.ts, table.c.id)
    return _records(connection.execute(query).mappings().all())


def _records(rows: Sequence[sa.RowMapping]) -> tuple[SplitUse, ...]:
    return tuple(SplitUse(**{**row, "purpose": Purpose(row["purpose"])}) for row in rows)
