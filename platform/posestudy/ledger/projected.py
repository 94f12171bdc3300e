"""How far projections have come, and the leased locks that keep each of them in one pair of hands."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from posestudy.ledger import schema
from posestudy.ledger.clock import DatabaseClock
from posestudy.ledger.records import ProjectedRun


def _insert(connection: sa.Connection, table: sa.Table) -> Any:
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


def lock(connection: sa.Connection, name: str, holder: str, lease_s: float) -> bool:
    table = schema.lock
    until = DatabaseClock() + lease_s
    free = sa.or_(table.c.holder == holder, table.c.until < DatabaseClock())
    take = _insert(connection, table).values(name=name, holder=holder, until=until)
    take = take.on_conflict_do_update(
        index_elements=[table.c.name], set_={"holder": holder, "until": until}, where=free
    ).returning(table.c.holder)
    return bool(connection.scalar(take) == holder)


def relock(connection: sa.Connection, name: str, holder: str, lease_s: float) -> bool:
    table = schema.lock
    mine = sa.and_(table.c.name == name, table.c.holder == holder)
    return connection.execute(sa.update(table).where(mine).values(until=DatabaseClock() + lease_s)).rowcount == 1


def lock_holder(connection: sa.Connection, name: str) -> str | None:
    table = schema.lock
    return connection.scalar(sa.select(table.c.holder).where(table.c.name == name))


def unlock(connection: sa.Connection, name: str, holder: str) -> None:
    table = schema.lock
    connection.execute(sa.delete(table).where(table.c.name == name, table.c.holder == holder))


def projected(connection: sa.Connection, projection: str) -> dict[str, ProjectedRun]:
    table = schema.projected_run
    rows = connection.execute(sa.select(table).where(table.c.projection == projection)).mappings()
    return {row["trial_uid"]: ProjectedRun(**row) for row in rows}


def put_projected(connection: sa.Connection, run: ProjectedRun, under: tuple[str, str] | None) -> bool:
    if under is not None:
        held = sa.select(schema.lock.c.holder).where(schema.lock.c.name == under[0]).with_for_update()
        if connection.scalar(held) != under[1]:
            return False
    table = schema.projected_run
    row = asdict(run)
    changes = {key: row[key] for key in ("run_id", "epoch", "state")}
    put = _insert(connection, table).values(**row)
    connection.execute(put.on_conflict_do_update(index_elements=[table.c.projection, table.c.trial_uid], set_=changes))
    return True


def forget_projection(connection: sa.Connection, projection: str) -> None:
    table = schema.projected_run
    connection.execute(sa.delete(table).where(table.c.projection == projection))
