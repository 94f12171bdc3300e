"""Creates a ledger's tables or brings them up to date, once, however many processes start together."""

from __future__ import annotations

import fcntl
import logging
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path

import sqlalchemy as sa

from posestudy.durable import commit_file, temporary_beside
from posestudy.errors import LedgerError
from posestudy.ledger.connection import Database
from posestudy.ledger.schema import KNOWN_REVISIONS, REVISION, VERSION_TABLE

_log = logging.getLogger(__name__)

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
    try:
        stream = path.open("w")
    except OSError as error:
        raise LedgerError(
            f"cannot write {path}: {error.strerror}; expected a folder that this user may write, with free space, for "
            "a ledger that is to be made or brought up to date"
        ) from error
    with stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _keep_a_copy(file: Path, revision: str) -> None:
    """Copy a SQLite ledger as it is before it is changed, whole or not at all; says so, since it takes space."""
    kept = file.with_name(f"{file.name}.before-{REVISION}")
    needed = sum(part.stat().st_size for part in (file, file.with_name(file.name + "-wal")) if part.exists())
    if shutil.disk_usage(file.parent).free < 2 * needed:
        raise LedgerError(
            f"the ledger {file} is of an older posestudy (schema {revision}) and its disk has no room for a copy "
            f"before it is brought up to {REVISION}: expected {2 * needed / 1e6:.0f} MB free; free some space"
        )
    temporary = temporary_beside(kept)
    try:
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(temporary)) as copy:
            source.backup(copy)
        commit_file(temporary, kept)
    except (OSError, sqlite3.Error) as error:
        with suppress(OSError):
            temporary.unlink()
        raise LedgerError(
            f"the ledger {file} cannot be copied to {kept} before it is brought up to schema {REVISION}: {error}"
        ) from error
    _log.warning(
        "the ledger %s is brought from schema %s to %s; as it was it is kept in %s (%.1f MB), which may be deleted",
        file, revision, REVISION, kept.name, kept.stat().st_size / 1e6,
    )  # fmt: skip


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


def migrate(database: Database, *, keep_a_copy: bool = True) -> None:
    """Make the tables what this posestudy expects; cheap when they are.

    An older SQLite ledger is copied beside itself first, as `FILE.before-REVISION`, unless `keep_a_copy` is false.

    Raises:
        LedgerError: they are newer than this posestudy, damaged, or cannot be created there.
    """
    if database.file is not None:
        try:
            database.file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LedgerError(f"cannot make the folder of the ledger {database.file}: {error.strerror}") from error
        if database.file.exists() and not database.file.is_file():
            raise LedgerError(f"the ledger {database.file} is not a file; expected posestudy's SQLite file there")
    revision = database.read(_revision)
    _refuse_newer(revision, database.place)
    if revision == REVISION:
        return
    lock = _file_lock(database.file.with_name(database.file.name + ".lock")) if database.file else nullcontext()
    with lock:
        if database.file is not None:
            _set_wal(database)
            revision = database.read(_revision)
            _refuse_newer(revision, database.place)
            if keep_a_copy and revision is not None and revision != REVISION:
                _keep_a_copy(database.file, revision)
        database.write(lambda connection: _upgrade(connection, database.place))
