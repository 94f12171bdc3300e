"""Opening a ledger: made once, brought up to date, refused where it is newer, damaged or out of reach."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import alembic.command
import alembic.config
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from posestudy.commands.app import main
from posestudy.errors import LedgerError, LedgerUnavailableError, NotFoundError
from posestudy.home import Home
from posestudy.ledger import Ledger, schema
from posestudy.ledger.records import OpenStage
from posestudy.testing import new_cell, put_small_study


@pytest.fixture
def engine(ledger_url: str) -> Iterator[sa.Engine]:
    made = sa.create_engine(ledger_url)
    yield made
    made.dispose()


def open_and_put(url: str, index: int) -> None:
    ledger = Ledger.open(url)
    ledger.put_study(f"s{index}", {}, "")
    ledger.close()


def test_the_migrations_make_exactly_the_schema(ledger_url: str, engine: sa.Engine) -> None:
    Ledger.open(ledger_url).close()
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": schema.VERSION_TABLE})
        assert compare_metadata(context, schema.metadata) == []
        assert context.get_current_revision() == schema.REVISION


def test_the_revisions_named_are_those_shipped() -> None:
    folder = resources.files("posestudy.ledger").joinpath("migrations")
    script = ScriptDirectory(str(folder))
    assert script.get_heads() == [schema.REVISION]
    shipped = [revision.revision for revision in script.walk_revisions()]
    assert tuple(reversed(shipped)) == schema.KNOWN_REVISIONS


@pytest.mark.parametrize("count", [6, pytest.param(32, marks=pytest.mark.slow)])
def test_many_processes_may_start_at_once_on_an_empty_place(ledger_url: str, count: int) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=open_and_put, args=(ledger_url, index)) for index in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(400)
    assert [process.exitcode for process in processes] == [0] * count
    ledger = Ledger.open(ledger_url)
    assert {study.name for study in ledger.studies()} == {f"s{index}" for index in range(count)}
    ledger.close()


def test_opening_again_finds_what_was_written(ledger_url: str) -> None:
    first = Ledger.open(ledger_url)
    put_small_study(first)
    first.close()
    second = Ledger.open(ledger_url)
    assert [study.name for study in second.studies()] == ["small"]
    second.close()


def test_a_ledger_of_the_first_revision_keeps_its_results_and_they_are_reused(
    ledger_url: str, engine: sa.Engine, home: Home
) -> None:
    home.root.mkdir(parents=True, exist_ok=True)
    config = alembic.config.Config()
    config.set_main_option("script_location", "posestudy.ledger:migrations")
    cell, document = new_cell("baseline"), {"study": "old", "metric": "coco/AP"}
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, "0001")
        tables = sa.MetaData()
        tables.reflect(connection)
        rows = {
            "study": {"name": "old", "document": document, "source": "", "state": "closed", "created": 1.0},
            "stage": {
                "study_id": 1, "ordinal": 0, "name": "a", "design": "variants", "state": "closed",
                "version": 2, "start": {},
            },
            "cell": {
                "stage_id": 1, "ordinal": 0, "name": "baseline", "label": "", "note": "", "key": cell.key,
                "levels": {}, "config": {},
            },
            "trial": {
                "uid": "f" * 32, "study_id": 1, "cell_id": 1, "number": 1, "seed": 0, "state": "DONE",
                "outcome": "completed", "fence": 1, "ckpt_epoch": 2, "ckpt_fence": 1, "prev_epoch": 0, "optuna": {},
                "provenance": {}, "final_value": 0.5, "final_epoch": 2, "best_value": 0.5, "best_epoch": 2,
            },
            "value": {"trial_uid": "f" * 32, "epoch": 2, "metrics": {"coco/AP": 0.5}, "ts": 1.0, "fence": 1},
        }  # fmt: skip
        for name, row in rows.items():
            connection.execute(sa.insert(tables.tables[name]).values(**row))
    ledger = Ledger.open(ledger_url)
    (old,) = ledger.snapshot("old").trials
    assert (old.final_value, old.source, ledger.study("old").estimate) == (0.5, None, None)
    record = ledger.put_study("new", {**document, "study": "new"}, "")
    assert ledger.apply(record.id, [OpenStage(0, "a", "variants", "baseline", {}, (cell,))])
    (new,) = ledger.snapshot("new").trials
    assert (new.final_value, (new.source or {})["uid"]) == (0.5, old.uid)
    ledger.close()


def test_a_newer_ledger_is_refused_and_left_alone(ledger_url: str, engine: sa.Engine) -> None:
    Ledger.open(ledger_url).close()
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE posestudy_version SET version_num = '9999'"))
    with pytest.raises(LedgerError, match=r"newer posestudy: found schema 9999.*upgrade posestudy"):
        Ledger.open(ledger_url)
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT version_num FROM posestudy_version")) == "9999"


def test_a_first_start_that_dies_half_way_leaves_nothing(
    ledger_url: str, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_upgrade = alembic.command.upgrade

    def die_after(*arguments: object) -> None:
        really_upgrade(*arguments)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(alembic.command, "upgrade", die_after)
    with pytest.raises(KeyboardInterrupt):
        Ledger.open(ledger_url)
    assert sa.inspect(engine).get_table_names() == []
    monkeypatch.undo()
    ledger = Ledger.open(ledger_url)
    put_small_study(ledger)
    ledger.close()


def test_sqlite_is_durable_and_shared(home: Home) -> None:
    ledger = Ledger.open(f"sqlite:///{home.database}")
    settings = ledger._database.read(
        lambda c: [c.exec_driver_sql(f"PRAGMA {p}").scalar() for p in ("journal_mode", "synchronous", "foreign_keys")]
    )
    ledger.close()
    assert settings == ["wal", 2, 1]


def test_asking_for_a_ledger_that_is_not_there_makes_none(home: Home) -> None:
    with pytest.raises(NotFoundError, match="no ledger at"):
        Ledger.open(f"sqlite:///{home.database}", create=False)
    assert not home.root.exists()


def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "posestudy.db"
    path.write_text("these are not the bytes of a database, and there are many of them " * 20)
    with pytest.raises(LedgerError, match="damaged or not a ledger"):
        Ledger.open(f"sqlite:///{path}")


def test_a_ledger_whose_tables_are_gone_is_damaged(home: Home) -> None:
    ledger = Ledger.open(f"sqlite:///{home.database}")
    with sqlite3.connect(home.database) as connection:
        connection.execute("DROP TABLE value")
    put_small_study(ledger)
    with pytest.raises(LedgerError, match="restore it from a backup"):
        ledger.snapshot("small")
    ledger.close()


def test_a_home_below_a_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="cannot make the folder"):
        Ledger.open(f"sqlite:///{tmp_path}/file/home/posestudy.db")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "not a database URL"),
        ("mysql://user:secret@host/db", "cannot live in mysql"),
        ("sqlite://", "needs a file"),
    ],
)
def test_urls_that_cannot_hold_a_ledger(url: str, words: str) -> None:
    with pytest.raises(LedgerError, match=words) as raised:
        Ledger.open(url)
    assert "secret" not in str(raised.value)


@pytest.mark.postgres
def test_a_server_out_of_reach_is_unavailable_and_its_password_stays_hidden() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(LedgerUnavailableError, match="cannot be used just now") as raised:
        Ledger.open("postgresql://user:secret@127.0.0.1:1/db")
    assert "secret" not in str(raised.value)


def old_ledger(url: str, home: Home, studies: int = 3) -> None:
    """A ledger of the first revision with some studies in it."""
    home.root.mkdir(parents=True, exist_ok=True)
    if url.startswith("sqlite"):
        with sqlite3.connect(home.database) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
    config = alembic.config.Config()
    config.set_main_option("script_location", "posestudy.ledger:migrations")
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        alembic.command.upgrade(config, "0001")
        put_old_studies(connection, [f"old{index}" for index in range(studies)])
    engine.dispose()


def put_old_studies(connection: sa.Connection, names: list[str]) -> None:
    """What a worker of the first revision writes: the columns it knows, by name."""
    for name in names:
        text = "INSERT INTO study (name, document, source, state, created) VALUES (:name, '{}', '', 'open', 1.0)"
        connection.execute(sa.text(text), {"name": name})


def upgrade_and_die(url: str) -> None:
    really_upgrade = alembic.command.upgrade

    def die_after(*arguments: object) -> None:
        really_upgrade(*arguments)  # type: ignore[arg-type]
        os.kill(os.getpid(), signal.SIGKILL)

    alembic.command.upgrade = die_after  # type: ignore[assignment]
    Ledger.open(url)


def test_a_kill_in_the_middle_of_a_migration_leaves_the_older_ledger_whole(
    ledger_url: str, engine: sa.Engine, home: Home
) -> None:
    old_ledger(ledger_url, home)
    process = multiprocessing.get_context("fork").Process(target=upgrade_and_die, args=(ledger_url,))
    process.start()
    process.join(400)
    assert process.exitcode == -signal.SIGKILL
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT version_num FROM posestudy_version")) == "0001"
        assert not sa.inspect(connection).has_table("test_use")
        assert "source" not in {column["name"] for column in sa.inspect(connection).get_columns("trial")}
    ledger = Ledger.open(ledger_url)
    assert [study.name for study in ledger.studies()] == ["old0", "old1", "old2"]
    ledger.close()


def test_a_worker_of_an_older_posestudy_writes_on_while_a_newer_one_migrates(
    ledger_url: str, engine: sa.Engine, home: Home
) -> None:
    old_ledger(ledger_url, home, studies=0)
    written: list[str] = []
    failed: list[BaseException] = []
    stop = threading.Event()

    def write() -> None:
        try:
            while not stop.is_set() or len(written) < 5:
                name = f"study{len(written)}"
                with engine.begin() as connection:
                    put_old_studies(connection, [name])
                written.append(name)
        except BaseException as error:  # noqa: BLE001 - shown by the test's own thread
            failed.append(error)

    worker = threading.Thread(target=write)
    worker.start()
    while not written and not failed:
        time.sleep(0.01)
    ledger = Ledger.open(ledger_url)
    before = len(written)
    while len(written) < before + 3 and not failed:
        time.sleep(0.01)
    stop.set()
    worker.join(400)
    assert failed == []
    assert [study.name for study in ledger.studies()] == written
    ledger.close()


def test_an_older_sqlite_ledger_is_kept_beside_the_new_one_and_that_is_said(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    old_ledger(f"sqlite:///{home.database}", home)
    Ledger.open(f"sqlite:///{home.database}").close()
    kept = home.root / f"posestudy.db.before-{schema.REVISION}"
    (said,) = [record.getMessage() for record in caplog.records if record.name.startswith("posestudy")]
    assert kept.name in said
    assert "may be deleted" in said
    with sqlite3.connect(kept) as connection:
        assert connection.execute("SELECT version_num FROM posestudy_version").fetchone() == ("0001",)
        assert len(connection.execute("SELECT name FROM study").fetchall()) == 3
    caplog.clear()
    Ledger.open(f"sqlite:///{home.database}").close()
    assert caplog.records == [], "once"


def test_without_room_for_a_copy_an_older_ledger_is_left_as_it_is(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    old_ledger(f"sqlite:///{home.database}", home)
    usage = shutil.disk_usage(home.root)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(LedgerError, match="no room for a copy"):
        Ledger.open(f"sqlite:///{home.database}")
    with sqlite3.connect(home.database) as connection:
        assert connection.execute("SELECT version_num FROM posestudy_version").fetchone() == ("0001",)
    assert [path.name for path in home.root.iterdir() if "before" in path.name] == []


def test_every_command_that_opens_a_newer_ledger_refuses_it_in_one_sentence(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = Ledger.open(f"sqlite:///{home.database}")
    put_small_study(ledger)
    ledger.close()
    with sqlite3.connect(home.database) as connection:
        connection.execute("UPDATE posestudy_version SET version_num = '9999'")
    monkeypatch.delenv("POSESTUDY_DATABASE_URL", raising=False)
    monkeypatch.setenv("POSESTUDY_HOME", str(home.root))
    commands = (
        ["status"],
        ["report", "small", "--out", str(tmp_path / "out")],
        ["worker", "small"],
        ["sync"],
        ["cancel", "small"],
        ["logs", "small", "1"],
        ["backup", str(tmp_path / "kept")],
    )
    for command in commands:
        assert main(command) == 2, command
        said = capsys.readouterr().err
        assert "was written by a newer posestudy: found schema 9999" in said, command
        assert "upgrade posestudy" in said
        assert "Traceback" not in said
    assert not (tmp_path / "kept").exists()
