"""One ledger database: how it is connected to, and how a transaction is run, repeated and reported."""

from __future__ import annotations

import json
import math
import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    DisconnectionError,
    IntegrityError,
    ProgrammingError,
    StatementError,
)
from sqlalchemy.exc import TimeoutError as NoConnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from posestudy.errors import LedgerError, LedgerUnavailableError, MissingPieceError
from posestudy.ledger.turns import Turn
from posestudy.masking import hidden, masked

Result = TypeVar("Result")

_BUSY_TIMEOUT_MS = 10_000
_PATIENCE_S = 60.0
_WRITE = "posestudy_write"
_SURELY_ALIVE_S = 1.0
"""After its last use: a server that went away within it is noticed by the next statement instead."""
_BUSY_STATES = {"40001", "40P01", "55P03"}  # serialization failure, deadlock, lock not available
_NO_RIGHT = "42501"  # insufficient privilege

_WHAT_SQLITE_MEANS = {
    sqlite3.SQLITE_READONLY: "its file or folder is read-only; expected both writable, for reading, too (SQLite keeps "
    "its write-ahead log beside the file)",
    sqlite3.SQLITE_CANTOPEN: "its file cannot be opened; expected a file and a folder that this user may read and "
    "write, on a disk that is not full",
    sqlite3.SQLITE_FULL: "its disk is full; free some space, nothing that was written is lost",
    sqlite3.SQLITE_IOERR: "its disk is full or failing; free some space or look into the system's log",
}


class ConstraintError(LedgerError):
    """A transaction was rolled back because it would have broken a constraint of the schema."""


def parse_url(url: str) -> URL:
    """`url` as SQLAlchemy's, checked to name a database this ledger can live in.

    Raises:
        LedgerError: not a URL, not SQLite or PostgreSQL, or SQLite in memory.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Both quote the URL or a part of it, which may be the password.
        raise LedgerError(
            "the ledger's URL is not a database URL: expected sqlite:///FILE or postgresql://USER@HOST/DATABASE, "
            "see POSESTUDY_DATABASE_URL"
        ) from None
    backend = parsed.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise LedgerError(f"the ledger cannot live in {backend}: expected sqlite or postgresql")
    if backend == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise LedgerError("the ledger needs a file that several processes can open: expected sqlite:///FILE")
    if backend == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    return parsed


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # The driver begins transactions by itself, and too late; the `begin` event below does it instead.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (f"busy_timeout={_BUSY_TIMEOUT_MS}", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    # A reader that turns writer can fail in the middle; a writer that says so first only waits.
    writes = connection.get_execution_options().get(_WRITE)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _make_engine(url: URL) -> sa.Engine:
    options: dict[str, Any] = {"pool_size": 2, "max_overflow": 62}
    if url.get_backend_name() == "sqlite":
        engine = sa.create_engine(url, connect_args={"timeout": _BUSY_TIMEOUT_MS / 1000}, **options)
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return engine
    connect_args = {
        "application_name": "posestudy",
        "connect_timeout": 10,
        # A network that swallows packets is an outage after some 20 s, not after the kernel's quarter of an hour:
        # what is not acknowledged and what is only waited for.
        "tcp_user_timeout": 20_000,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        # A worker that is frozen in a transaction must not hold the others up for ever.
        "options": "-c lock_timeout=30s -c idle_in_transaction_session_timeout=60s",
    }
    try:
        engine = sa.create_engine(url, connect_args=connect_args, **options)
    except ModuleNotFoundError as error:
        raise MissingPieceError(
            "a ledger in PostgreSQL needs psycopg, which is not installed: pip install 'posestudy[postgres]'"
        ) from error
    sa.event.listen(engine, "checkin", _put_back)
    sa.event.listen(engine, "checkout", partial(_taken_out, engine))
    return engine


def _put_back(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info["put_back"] = time.monotonic()


def _taken_out(engine: sa.Engine, connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
    """See that the server still knows a connection that lay idle; one used a moment ago is not asked each time."""
    if time.monotonic() - record.info.get("put_back", math.inf) < _SURELY_ALIVE_S:
        return
    try:
        engine.dialect.do_ping(connection)
    except engine.dialect.loaded_dbapi.Error as error:
        raise DisconnectionError from error


def _is_busy(error: DBAPIError) -> bool:
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return getattr(error.orig, "sqlstate", None) in _BUSY_STATES


def _reason(error: DBAPIError) -> str:
    """What the database said, in the user's words where it said it in its own."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    meant = None if code is None else _WHAT_SQLITE_MEANS.get(code & 0xFF)
    said = _first_line(error)
    return said if meant is None else f"{meant} ({said})"


def _is_damage(error: DBAPIError) -> bool:
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR)
    # Whatever the server understood and refused stays refused; what it could not do just now is operational.
    return isinstance(error, ProgrammingError | DataError)


class Database:
    """Runs transactions against one ledger database; safe to use from several threads.

    A body handed to `read` or `write` may be run more than once, so it does nothing but talk to its connection.
    """

    def __init__(self, url: str) -> None:
        parsed = parse_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.place = masked(parsed.render_as_string(hide_password=False))
        self.file = Path(parsed.database) if self.is_sqlite and parsed.database else None
        self._engine = _make_engine(parsed)
        self._turn = Turn(self.file) if self.file is not None else None
        self._is_down = False
        self._back_since: float | None = None

    def close(self) -> None:
        """Close every idle connection."""
        self._engine.dispose()
        if self._turn is not None:
            self._turn.close()

    def read(self, body: Callable[[sa.Connection], Result]) -> Result:
        """What `body` returns, seeing the database as it is at one moment.

        Raises:
            LedgerUnavailableError: the database cannot be reached now.
            LedgerError: it is reached and not usable.
        """
        return self._run(body, writes=False)

    def write(self, body: Callable[[sa.Connection], Result]) -> Result:
        """Run `body` in one transaction that is durable when this returns; an exception in it rolls it back.

        Raises:
            ConstraintError: a constraint of the schema refused it.
            LedgerUnavailableError: the database cannot be reached now, its disk is full, or it stays busy.
            LedgerError: it is reached and not usable.
        """
        return self._run(body, writes=True)

    def settling(self, lease_s: float) -> bool:
        """Whether an outage ended less than `lease_s` ago, so that holders of leases may not have renewed yet.

        Also while none of the calls since has got through: the next one is then the first contact.
        """
        return self._is_down or (self._back_since is not None and time.monotonic() - self._back_since < lease_s)

    def use_write_ahead_log(self) -> str:
        """Switch a SQLite file to its write-ahead log, for good; returns the journal mode it has then."""
        give_up = time.monotonic() + _PATIENCE_S
        with closing(sqlite3.connect(str(self.file), isolation_level=None)) as connection:
            while True:
                try:
                    return str(connection.execute("PRAGMA journal_mode=WAL").fetchone()[0])
                except sqlite3.OperationalError as error:
                    # Not waited for by SQLite itself: any reader of the file is in the way.
                    if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                        raise self._down(str(error)) from error
                time.sleep(0.02)

    def _connect(self, writes: bool) -> sa.Connection:
        connection = self._engine.connect()
        if self.is_sqlite:
            return connection.execution_options(**{_WRITE: writes})
        return connection.execution_options(isolation_level="READ COMMITTED" if writes else "REPEATABLE READ")

    def _once(self, body: Callable[[sa.Connection], Result], writes: bool) -> Result:
        turn = self._turn if writes and self._turn is not None else nullcontext()
        with turn, self._connect(writes) as connection, connection.begin():
            return body(connection)

    def _run(self, body: Callable[[sa.Connection], Result], *, writes: bool) -> Result:
        give_up = time.monotonic() + _PATIENCE_S
        pause_s = 0.005
        while True:
            try:
                result = self._once(body, writes)
            except IntegrityError as error:
                raise ConstraintError(f"the ledger {self.place} refused a change: {_first_line(error)}") from error
            except DBAPIError as error:
                if not _is_busy(error) or time.monotonic() > give_up:
                    raise self._explained(error) from error
            except json.JSONDecodeError as error:
                raise self._damaged(f"a document in it cannot be read, {error}") from error
            except NoConnectionError as error:
                raise self._down("too many threads of this process use it at once") from error
            except StatementError as error:
                raise LedgerError(f"a value cannot be stored in the ledger: {error.orig}") from error
            else:
                if self._is_down:
                    self._is_down, self._back_since = False, time.monotonic()
                return result
            time.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads retries, guards nothing
            pause_s = min(2 * pause_s, 1.0)

    def _down(self, reason: str) -> LedgerUnavailableError:
        self._is_down = True
        return LedgerUnavailableError(f"the ledger {self.place} cannot be used just now: {reason}")

    def _explained(self, error: DBAPIError) -> LedgerError:
        if _is_busy(error):
            return self._down(f"another process has been writing to it for {_PATIENCE_S:.0f} s; end that process")
        if getattr(error.orig, "sqlstate", None) == _NO_RIGHT:
            return LedgerError(
                f"the user of the ledger {self.place} lacks a right: {_first_line(error)}; expected the owner of its "
                "tables"
            )
        if _is_damage(error):
            return self._damaged(_first_line(error))
        return self._down(_reason(error))

    def _damaged(self, reason: str) -> LedgerError:
        return LedgerError(
            f"the ledger {self.place} is damaged or not a ledger: {reason}; restore it from a backup (`posestudy "
            "restore`) or choose another home"
        )


def _first_line(error: DBAPIError) -> str:
    lines = [line.strip(" \t-") for line in str(error.orig).strip().splitlines()]
    if len(lines) > 1 and lines[0].endswith(":"):
        # A heading over one line for each address of the host.
        return hidden(f"{lines[0]} {lines[1]}")
    return hidden(lines[0]) if lines else type(error.orig).__name__
