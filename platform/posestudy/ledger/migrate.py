"""Creates a ledger's tables or brings them up to date, once, however many processes start together."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import sqlalchemy as sa

from posestudy.errors import LedgerError
from posestudy.ledger.connection import Database
from posestudy.ledger.schema import KNOWN_REVISIONS, REVISION, VERSION_TABLE

_ADVISORY_KEY = 0x706F7365_73747564  # "posestud": the same number in every process, of no other program


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    revision: str | None = connection.scalar(sa.text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608
    return revision


def _refuse_newer(revision: str | None, place: str) -> None:
    if revision is not None and revision not in KNOWN_REVISIONS:
        raise LedgerError(
            f"the ledger {place} was written by a newer posestudy: found schema {revision}, this one knows up to "
            f"{REVISION}; upgrade posestudy or choose another home"
        )


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _set_wal(database: Database) -> None:
    mode = database.use_write_ahead_log()
    if mode != "wal":
        raise LedgerError(
            f"the file system of {database.file} cannot hold a ledger that several processes write (SQLite's "
            f"write-ahead log is refused, journal mode is {mode}); choose a home on a local disk or use PostgreSQL"
        )


def _upgrade(connection: sa.Connection, place: str) -> None:
    from alembic import command
    from alembic.config import Config

    if connection.dialect.name != "sqlite":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_KEY)))
    revision = _revision(connection)
    _refuse_newer(revision, place)
    if revision != REVISION:
        config = Config()
        config.set_main_option("script_location", "posestudy.ledger:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def migrate(database: Database) -> None:
    """Make the tables what this posestudy expects; cheap when they are.

    Raises:
        LedgerError: they are newer than this posestudy, damaged, or cannot be created there.
    """
    if database.file is not None:
        try:
            database.file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LedgerError(f"cannot make the folder of the ledger {database.file}: {error.strerror}") from error
    revision = database.read(_revision)
    _refuse_newer(revision, database.place)
    if revision == REVISION:
        return
    lock = _file_lock(database.file.with_name(database.file.name + ".lock")) if database.file else nullcontext()
    with lock:
        if database.is_sqlite:
            _set_wal(database)
        database.write(lambda connection: _upgrade(connection, database.place))
