"""Shared pytest fixtures (`-p posestudy.testing`): a temporary home and ledgers on SQLite and a real PostgreSQL."""

from __future__ import annotations

import glob
import logging
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from posestudy.errors import MissingPieceError
from posestudy.home import Home
from posestudy.testing_network import free_port

if TYPE_CHECKING:
    from posestudy.ledger import Ledger
    from posestudy.ledger.records import NewCell, StudyRecord
    from posestudy.settings import Settings

_START_LIMIT_S = 60.0
# Nobody pulls the plug of a test's server: only what makes a database fast to make and drop.
_HASTY = ("fsync=off", "full_page_writes=off")
_SETTINGS = ("wal_level=minimal", "max_wal_senders=0", "max_connections=200")


@pytest.fixture(autouse=True, scope="module")
def _own_training_logs() -> Iterator[None]:
    """Log files that trainings of one module opened are not left to the next.

    MMEngine writes to the current logger's files by itself, and MLflow's import closes all log files there are.
    """
    yield
    known = sys.modules.get("mmengine.logging")
    for logger in known.MMLogger._instance_dict.values() if known else ():
        for handler in [each for each in logger.handlers if isinstance(each, logging.FileHandler)]:
            logger.removeHandler(handler)
            handler.close()


Mount = Callable[[Path, str], Path]


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Mounts small file systems of the test's own, which really can be full: a folder to make, options of tmpfs."""
    places: list[Path] = []

    def mounted(place: Path, options: str) -> Path:
        if os.geteuid() != 0 or shutil.which("mount") is None:
            pytest.skip("mounting a small file system needs root")
        place.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", options, "posestudy-test", str(place)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("nothing can be mounted here")
        places.append(place)
        return place

    yield mounted
    for place in places:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@dataclass(frozen=True)
class PostgresServer:
    """A throwaway PostgreSQL on a loopback port; `url(database)` is what SQLAlchemy connects to."""

    port: int
    password: str

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://posestudy:{self.password}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str) -> None:
        """Run one statement outside a transaction, as the superuser of the server."""
        import psycopg

        with psycopg.connect(
            host="127.0.0.1", port=self.port, user="posestudy", password=self.password, dbname="postgres",
            autocommit=True, connect_timeout=10,
        ) as connection:  # fmt: skip
            connection.execute(statement.encode())

    def new_database(self, name: str) -> str:
        """Make an empty database; its URL."""
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)


def _find(program: str) -> str | None:
    found = shutil.which(program)
    if found:
        return str(Path(found).resolve())
    installed = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{program}"))
    return installed[-1] if installed else None


def _as_server_user() -> list[str]:
    """What to put before a server command: PostgreSQL refuses root, and should end with the process that tests."""
    if os.geteuid() != 0:
        return ["setpriv", "--pdeathsig", "INT"] if shutil.which("setpriv") else []
    if shutil.which("setpriv"):
        user = ["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
        return ["setpriv", *user, "--pdeathsig", "INT"]
    return ["runuser", "-u", "postgres", "--"]


def _wait_until_up(server: PostgresServer, process: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg

    limit = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < limit and process.poll() is None:
        with suppress(psycopg.OperationalError):
            return server.execute("SELECT 1")
        time.sleep(0.1)
    raise RuntimeError(f"PostgreSQL did not start: {log.read_text(errors='replace')[-2000:]}")


def _start(
    folder: Path, initdb: str, postgres: str, *, durable: bool = False
) -> tuple[PostgresServer, subprocess.Popen[bytes]]:
    prefix = _as_server_user()
    password_file = folder / "password"
    server = PostgresServer(free_port(), secrets.token_hex(16))
    password_file.write_text(server.password)
    if os.geteuid() == 0:
        for place in (folder, password_file):
            shutil.chown(place, "postgres", "postgres")
    data = folder / "data"
    subprocess.run(
        [*prefix, initdb, "-D", str(data), "-U", "posestudy", "--auth=scram-sha-256", f"--pwfile={password_file}",
         "--encoding=UTF8", "--locale=C", "--no-sync"],
        check=True, capture_output=True, cwd=folder,
    )  # fmt: skip
    log = folder / "log"
    settings = _SETTINGS if durable else (*_SETTINGS, *_HASTY)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*prefix, postgres, "-D", str(data), "-h", "127.0.0.1", "-p", str(server.port), "-k", "",
             *(part for setting in settings for part in ("-c", setting))],
            stdout=output, stderr=subprocess.STDOUT, cwd=folder,
        )  # fmt: skip
    try:
        _wait_until_up(server, process, log)
    except BaseException:
        _stop(process)
        raise
    return server, process


@contextmanager
def running_postgres(*, durable: bool = False) -> Iterator[PostgresServer]:
    """A real PostgreSQL of one's own while the block runs; `durable`: it syncs every commit to the disk.

    Raises:
        MissingPieceError: it is not installed.
    """
    initdb, postgres = _find("initdb"), _find("postgres")
    if initdb is None or postgres is None:
        raise MissingPieceError("PostgreSQL is not installed: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="posestudy-postgres-"))
    try:
        server, process = _start(folder, initdb, postgres, durable=durable)
        try:
            yield server
        finally:
            _stop(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(5)
        return
    process.send_signal(3)  # immediate shutdown: sessions of killed children may hold a smart one up
    process.wait(20)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty posestudy home."""
    return Home.resolve(tmp_path / "home")


@pytest.fixture(scope="session")
def empty_mlflow_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's schema in SQLite, made once: it takes MLflow ten seconds."""
    from posestudy.projections.quiet_mlflow import open_client

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    open_client(f"sqlite:///{path}")
    return path


@pytest.fixture
def mlflow_settings(home: Home, empty_mlflow_store: Path) -> Settings:
    """A home on SQLite throughout, with an empty MLflow store in it."""
    from posestudy.settings import Settings

    home.root.mkdir(parents=True)
    shutil.copy(empty_mlflow_store, home.mlflow_database)
    place = f"sqlite:///{home.database}"
    return Settings(home, place, f"sqlite:///{home.mlflow_database}", f"sqlite:///{home.optuna_database}")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One real PostgreSQL for the whole run; skips, saying why, where it is not installed."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'posestudy[postgres]'")
    if _find("initdb") is None or _find("postgres") is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with running_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of an empty database of this test's own."""
    database = f"test_{secrets.token_hex(6)}"
    yield postgres_server.new_database(database)
    postgres_server.execute(f"DROP DATABASE {database} WITH (FORCE)")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def ledger_url(request: pytest.FixtureRequest, home: Home) -> str:
    """The URL of an empty ledger, once on each backend."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{home.database}"


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """An empty ledger, once on each backend."""
    from posestudy.ledger import Ledger

    book = Ledger.open(ledger_url)
    yield book
    book.close()


@pytest.fixture
def sqlite_ledger(home: Home) -> Iterator[Ledger]:
    """An empty ledger in `home`, for tests to which the backend does not matter."""
    from posestudy.ledger import Ledger

    book = Ledger.open(f"sqlite:///{home.database}")
    yield book
    book.close()


def new_cell(name: str, *, seeds: tuple[int, ...] = (0,)) -> NewCell:
    """A cell fit for a ledger, its configuration a function of its name."""
    from posestudy.ledger.records import NewCell

    key = name.encode().hex().ljust(64, "0")[:64]
    return NewCell(name, name.title(), "", key, {"factor": name}, {"epochs": 3, "factor": name}, seeds)


def put_small_study(
    ledger: Ledger,
    *,
    name: str = "small",
    cells: tuple[str, ...] = ("baseline", "variant"),
    seeds: tuple[int, ...] = (0,),
) -> StudyRecord:
    """A study whose only stage is open, with a waiting trial for each cell and seed, numbered in that order."""
    from posestudy.ledger.records import OpenStage

    record = ledger.put_study(name, {"study": name, "metric": "coco/AP", "baseline": {"epochs": 3}}, f"study: {name}\n")
    opened = OpenStage(0, "first", "variants", cells[0], {}, tuple(new_cell(cell, seeds=seeds) for cell in cells))
    if not ledger.apply(record.id, [opened]):
        raise RuntimeError(f"the study {name} has a stage already")
    return record
