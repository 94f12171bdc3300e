"""A ledger as a portable file: copied out at one moment while workers write, and back into an empty ledger."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from posestudy.errors import LedgerError, PoseStudyError
from posestudy.ledger import schema
from posestudy.ledger.claims import end_attempt
from posestudy.ledger.connection import Database
from posestudy.ledger.migrate import migrate
from posestudy.ledger.records import RESTORED_FENCES
from posestudy.vocabulary import AttemptEnd, TrialState

LEFT_OUT = (schema.projected_run, schema.lock)
"""Tables that say what was sent and who holds what just now: neither is so in another place."""

_ROWS = 500
_TRIAL = schema.trial.c


class NotEmptyError(PoseStudyError):
    """A ledger that something was to be restored into holds studies already."""


def _tables() -> list[sa.Table]:
    return [table for table in schema.metadata.sorted_tables if table not in LEFT_OUT]


def _batches(connection: sa.Connection, table: sa.Table) -> Iterator[list[dict[str, Any]]]:
    # In order of the key, so that a foreign reader of the file finds it as the ledger has it.
    query = sa.select(table).order_by(*table.primary_key.columns)
    streamed = query.execution_options(stream_results=True, yield_per=_ROWS)
    for batch in connection.execute(streamed).mappings().partitions():
        yield [dict(row) for row in batch]


@contextmanager
def _written(path: Path) -> Iterator[None]:
    """Errors of the copy as those of a file: what the ledger says of itself is told apart from them."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise OSError(f"cannot write {path}: {error.orig}") from error


def _engine(path: Path) -> sa.Engine:
    return sa.create_engine(sa.URL.create("sqlite", database=str(path)))


def copy_out(connection: sa.Connection, path: Path) -> dict[str, int]:
    """Write the tables as they are at this moment to a SQLite file at `path`; returns rows by table.

    Raises:
        OSError: the disk is full or failing, or the file cannot be made.
    """
    path.unlink(missing_ok=True)
    engine = _engine(path)
    counts: dict[str, int] = {}
    try:
        with engine.connect() as copy:
            with _written(path):
                schema.metadata.create_all(copy)
                copy.exec_driver_sql(f"CREATE TABLE {schema.VERSION_TABLE} (version_num VARCHAR(32) PRIMARY KEY)")
                copy.exec_driver_sql(f"INSERT INTO {schema.VERSION_TABLE} VALUES (?)", (schema.REVISION,))  # noqa: S608
            for table in _tables():
                counts[table.name] = 0
                for batch in _batches(connection, table):
                    with _written(path):
                        copy.execute(sa.insert(table), batch)
                    counts[table.name] += len(batch)
            with _written(path):
                copy.commit()
    finally:
        engine.dispose()
    return counts


def check(path: Path) -> None:
    """Check a copy and bring it up to this posestudy's schema.

    Raises:
        LedgerError: it is damaged, no copy of a ledger, or newer than this posestudy.
    """
    try:
        with closing(sqlite3.connect(path)) as connection:
            problems = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            loose = connection.execute("PRAGMA foreign_key_check").fetchone()
    except sqlite3.Error as error:
        raise LedgerError(f"the copy of the ledger is damaged: {error}") from error
    if problems != "ok" or loose is not None:
        raise LedgerError(f"the copy of the ledger is damaged: {problems if loose is None else loose}")
    database = Database(sa.URL.create("sqlite", database=str(path)).render_as_string())
    try:
        migrate(database, keep_a_copy=False)
    finally:
        database.close()


@dataclass(frozen=True)
class KeptCheckpoint:
    """A checkpoint that a copied ledger names; `is_open`: its trial is not done and resumes from it."""

    study: str
    number: int
    path: str
    sha: str
    epoch: int
    is_open: bool


@dataclass(frozen=True)
class Contents:
    """What a copy holds: names of studies, `(study, number)` of every trial, and the checkpoints they name."""

    studies: tuple[str, ...]
    trials: tuple[tuple[str, int], ...]
    checkpoints: tuple[KeptCheckpoint, ...]


def contents(path: Path) -> Contents:
    """Read what the copy at `path` names; checkpoints of open trials come first, of each the newest first."""
    of, trial = schema.study, schema.trial
    query = sa.select(trial, of.c.name.label("of_study")).join(of, trial.c.study_id == of.c.id)
    engine = _engine(path)
    try:
        with engine.connect() as copy:
            studies = tuple(copy.scalars(sa.select(of.c.name).order_by(of.c.id)))
            rows = copy.execute(query.order_by(of.c.id, trial.c.number)).mappings().all()
    finally:
        engine.dispose()
    named = [
        KeptCheckpoint(
            row["of_study"], row["number"], row[f"{kind}_path"], row[f"{kind}_sha"] or "", row[f"{kind}_epoch"],
            row["state"] != TrialState.DONE,
        )
        for kind in ("ckpt", "prev")
        for row in rows
        if row[f"{kind}_path"] is not None
    ]  # fmt: skip
    trials = tuple((row["of_study"], row["number"]) for row in rows)
    return Contents(studies, trials, tuple(sorted(named, key=lambda checkpoint: not checkpoint.is_open)))


def is_empty(connection: sa.Connection) -> bool:
    return connection.scalar(sa.select(sa.func.count()).select_from(schema.study)) == 0


def copy_in(connection: sa.Connection, path: Path, moved: Callable[[str], str], why: str) -> dict[str, int]:
    """Fill an empty ledger from the copy at `path`, which `check` has passed; returns rows by table.

    Trials that ran wait now, and every fence is beyond those that workers of the old ledger can hold.

    Args:
        moved: where a checkpoint lies now, by where it lay.
        why: how attempts ended that were running, as a sentence.

    Raises:
        NotEmptyError: there are studies in the ledger.
    """
    if not is_empty(connection):
        raise NotEmptyError("the ledger holds studies already; expected an empty home or database to restore into")
    engine = _engine(path)
    counts: dict[str, int] = {}
    try:
        with engine.connect() as copy:
            for table in _tables():
                counts[table.name] = 0
                for rows in _batches(copy, table):
                    batch = [_at_rest(row, moved) for row in rows] if table is schema.trial else rows
                    connection.execute(sa.insert(table), batch)
                    counts[table.name] += len(batch)
    finally:
        engine.dispose()
    _end_attempts(connection, why)
    _go_on_counting(connection)
    return counts


def _at_rest(row: dict[str, Any], moved: Callable[[str], str]) -> dict[str, Any]:
    row["fence"] = (row["fence"] // RESTORED_FENCES + 1) * RESTORED_FENCES
    if row["state"] == TrialState.RUNNING:
        row |= {"state": TrialState.WAITING, "owner": None, "lease_until": None}
    for column in ("ckpt_path", "prev_path"):
        if row[column] is not None:
            row[column] = moved(row[column])
    return row


def _end_attempts(connection: sa.Connection, why: str) -> None:
    attempt = schema.attempt
    running = sa.select(attempt.c.trial_uid, attempt.c.fence).where(attempt.c.ended.is_(None))
    for row in connection.execute(running).all():
        end_attempt(connection, row.trial_uid, row.fence, AttemptEnd.PREEMPTED, why)


def _go_on_counting(connection: sa.Connection) -> None:
    """PostgreSQL numbers rows by counters of its own, which do not see rows that bring their number along."""
    if connection.dialect.name != "postgresql":
        return
    for table in _tables():
        column = table.autoincrement_column
        if column is None:
            continue
        last = sa.select(sa.func.max(column)).scalar_subquery()
        counter = sa.func.pg_get_serial_sequence(table.name, column.name)
        connection.execute(sa.select(sa.func.setval(counter, sa.func.coalesce(last, 1), last.is_not(None))))
