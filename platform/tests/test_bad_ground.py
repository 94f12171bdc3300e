"""A ledger whose disk, file, server or network fails: a clear sentence, nothing lost, and on with it afterwards."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from posestudy.commands.app import main
from posestudy.errors import LedgerError, LedgerUnavailableError
from posestudy.home import Home
from posestudy.ledger import Ledger, schema
from posestudy.ledger.records import AddCells, Checkpoint, Claim
from posestudy.testing import Mount, PostgresServer, new_cell, put_small_study
from posestudy.testing_network import TcpProxy
from posestudy.vocabulary import AttemptEnd, Direction, Outcome

STUDY = "small"
SHA = "0" * 64


def claim(ledger: Ledger) -> Claim:
    granted = ledger.claim(STUDY, "worker", 60.0)
    assert granted is not None
    return granted


def record(ledger: Ledger, granted: Claim, epoch: int, padding: int = 0) -> bool:
    checkpoint = Checkpoint(f"/runs/{'x' * padding}{epoch}.pth", SHA, epoch)
    return ledger.record_epoch(granted.trial.uid, granted.trial.fence, {epoch: {"coco/AP": 0.1}}, checkpoint, 1.0)


def epochs(ledger: Ledger) -> list[int]:
    return [value.epoch for value in ledger.snapshot(STUDY).values]


def sound(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as connection:
        return bool(connection.execute("PRAGMA integrity_check").fetchone() == ("ok",))


# ---- SQLite and its disk


@pytest.fixture
def disk(tmp_path: Path, mount: Mount) -> Path:
    """A file system of 2 MB."""
    return mount(tmp_path / "disk", "size=2m")


def test_a_disk_that_becomes_read_only_is_an_outage(disk: Path) -> None:
    ledger = Ledger.open(f"sqlite:///{disk}/posestudy.db")
    put_small_study(ledger)
    granted = claim(ledger)
    assert record(ledger, granted, 1)
    # The kernel does not take away from under open files what it takes away from a failing disk.
    ledger.close()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with pytest.raises(LedgerUnavailableError, match=r"read-only|full or failing|cannot be opened"):
        record(ledger, granted, 2)
    with pytest.raises(LedgerUnavailableError, match=r"read-only|full or failing|cannot be opened"):
        Ledger.open(f"sqlite:///{disk}/another.db")
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    assert record(ledger, granted, 2)
    assert epochs(ledger) == [1, 2]
    ledger.close()


def test_a_disk_that_is_full_loses_nothing_that_was_accepted(disk: Path) -> None:
    file = disk / "posestudy.db"
    ledger = Ledger.open(f"sqlite:///{file}")
    put_small_study(ledger)
    granted = claim(ledger)
    filler = disk / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(disk).free - 200_000))
    accepted = 0
    with suppress(LedgerUnavailableError):
        while accepted < 500:
            assert record(ledger, granted, accepted + 1, padding=3000)
            accepted += 1
    assert 0 < accepted < 500
    with pytest.raises(LedgerUnavailableError, match="full"):
        record(ledger, granted, accepted + 1, padding=3000)
    for _ in range(3):
        with suppress(LedgerUnavailableError):
            # Some smaller change may find room; none may be half of one.
            ledger.renew(granted.trial.uid, 1, 60.0)
    filler.unlink()
    assert record(ledger, granted, accepted + 1, padding=3000), "the very call that was refused"
    assert epochs(ledger) == list(range(1, accepted + 2))
    ledger.close()
    assert sound(file)


def write_studies(url: str, count: int, told: Path) -> None:
    """Put studies, saying of each that it is there, and die without closing anything."""
    ledger = Ledger.open(url)
    for index in range(count):
        ledger.put_study(f"s{index:03}", {"n": "x" * 500}, "")
        with told.open("a") as stream:
            stream.write(f"s{index:03}\n")
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def crashed(home: Home, tmp_path: Path) -> tuple[Home, list[str]]:
    """A home whose only process was killed, its newest rows still in the write-ahead log; and what it had been told."""
    told = tmp_path / "told"
    process = multiprocessing.get_context("fork").Process(
        target=write_studies, args=(f"sqlite:///{home.database}", 40, told)
    )
    process.start()
    process.join(400)
    assert process.exitcode == -signal.SIGKILL
    return home, told.read_text().split()


def names(home: Home) -> list[str]:
    ledger = Ledger.open(f"sqlite:///{home.database}")
    found = [study.name for study in ledger.studies()]
    ledger.close()
    return found


def test_after_a_kill_all_that_was_told_is_there(crashed: tuple[Home, list[str]]) -> None:
    home, told = crashed
    assert home.database.with_name("posestudy.db-wal").stat().st_size > 0
    assert names(home) == told


def test_a_write_ahead_log_that_lost_its_end_leaves_the_ledger_of_an_earlier_moment(
    crashed: tuple[Home, list[str]], tmp_path: Path
) -> None:
    home, told = crashed
    log = home.database.with_name("posestudy.db-wal")
    whole = log.stat().st_size
    found = set()
    for turn, size in enumerate(sorted(random.Random(3).sample(range(whole), 8))):
        copy = Home.resolve(shutil.copytree(home.root, tmp_path / f"copy{turn}"))
        os.truncate(copy.database.with_name(log.name), size)
        copy.database.with_name("posestudy.db-shm").unlink(missing_ok=True)
        kept = names(copy)
        assert kept == told[: len(kept)], "what is there is what was first"
        assert sound(copy.database)
        found.add(len(kept))
    assert len(found) > 3


@pytest.mark.parametrize("damage", ["half", "folder", "text", "page"])
def test_a_damaged_file_is_a_sentence_in_every_command(
    home: Home, damage: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = Ledger.open(f"sqlite:///{home.database}")
    put_small_study(ledger, cells=tuple(f"c{index}" for index in range(60)))
    ledger.close()
    size = home.database.stat().st_size
    if damage == "half":
        os.truncate(home.database, size // 2)
    elif damage == "folder":
        home.database.unlink()
        home.database.mkdir()
    elif damage == "text":
        home.database.write_text("x" * size)
    else:
        with home.database.open("r+b") as stream:
            for page in range(1, size // 4096):
                stream.seek(page * 4096)
                stream.write(random.Random(page).randbytes(4096))
    monkeypatch.delenv("POSESTUDY_DATABASE_URL", raising=False)
    monkeypatch.setenv("POSESTUDY_HOME", str(home.root))
    for command in (["status"], ["status", STUDY], ["cancel", STUDY], ["logs", STUDY, "1"],
                    ["backup", str(home.root.with_name("kept"))]):  # fmt: skip
        assert main(command) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: the ledger")
        assert "damaged or not a ledger" in said or "is not a file" in said


def test_a_document_that_is_no_json_is_damage(home: Home) -> None:
    ledger = Ledger.open(f"sqlite:///{home.database}")
    put_small_study(ledger)
    with closing(sqlite3.connect(home.database)) as connection, connection:
        connection.execute("UPDATE study SET document = '{half'")
    with pytest.raises(LedgerError, match="damaged or not a ledger"):
        ledger.studies()
    ledger.close()


# ---- PostgreSQL and its network


class LossyProxy(TcpProxy):
    """Once `armed`, it kills the next connection that commits, `before` or `after` the server hears of it."""

    armed: str | None = None
    losses = 0

    def _deliver(self, data: bytes, source: socket.socket, target: socket.socket) -> None:
        if not (self.armed and b"COMMIT\0" in data and self._asks(source)):
            super()._deliver(data, source, target)
            return
        when, self.armed = self.armed, None
        self.losses += 1
        source.shutdown(socket.SHUT_WR)
        if when == "after":
            target.sendall(data)
            time.sleep(0.2)
        raise ConnectionAbortedError


@pytest.fixture
def proxy(postgres_server: PostgresServer) -> Iterator[LossyProxy]:
    made = LossyProxy(postgres_server.port)
    yield made
    made.close()


@pytest.fixture
def shaky(postgres_server: PostgresServer, postgres_url: str, proxy: LossyProxy) -> Iterator[Ledger]:
    """A ledger that is reached through the proxy."""
    ledger = Ledger.open(postgres_url.replace(f":{postgres_server.port}/", f":{proxy.port}/"))
    yield ledger
    ledger.close()


@pytest.mark.postgres
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_commit_whose_answer_is_lost_may_be_said_again(shaky: Ledger, proxy: LossyProxy, when: str) -> None:
    study = put_small_study(shaky, cells=("a", "b", "c"))
    stage = shaky.snapshot(STUDY).stages[0]
    first = claim(shaky)
    uid = first.trial.uid

    def again(call: Callable[[], Any]) -> Any:
        proxy.armed = when
        with pytest.raises(LedgerUnavailableError, match="cannot be used just now"):
            call()
        assert proxy.armed is None
        return call()

    def finish() -> bool:
        return shaky.finish(
            uid, 1, Outcome.COMPLETED, None, metric="coco/AP", direction=Direction.MORE, peak_memory_mb=None
        )

    assert again(lambda: shaky.renew(uid, 1, 60.0))
    assert again(lambda: shaky.started(uid, 1, {"host": "a"}))
    assert again(lambda: record(shaky, first, 1))
    assert again(lambda: record(shaky, first, 2))
    assert again(lambda: shaky.decide(uid, 1, {"epoch": 2, "prune": False}, {}))
    assert again(finish)
    row = shaky.snapshot(STUDY).trials[0]
    assert (row.outcome, row.duration_s, row.final_epoch, row.fence) == (Outcome.COMPLETED, 2.0, 2, 1)
    assert shaky.late_values(uid) == ()

    second = again(lambda: shaky.claim(STUDY, "worker", 60.0))
    # The first answer granted trial 2, which comes free with its lease; a server that never got it did not.
    assert second.trial.number == (3 if when == "after" else 2)
    assert again(lambda: shaky.release(second.trial.uid, second.trial.fence, AttemptEnd.PREEMPTED, "stop"))
    assert [a.end for a in shaky.snapshot(STUDY).attempts if a.trial_uid == second.trial.uid] == [AttemptEnd.PREEMPTED]

    # `apply` says false the second time, as to anybody who comes second; what it did is there once.
    change = AddCells(stage.id, stage.version, (new_cell("d"),))
    assert again(lambda: shaky.apply(study.id, [change])) is (when == "before")
    assert [cell.name for cell in shaky.snapshot(STUDY).cells] == ["a", "b", "c", "d"]
    assert again(lambda: shaky.put_study("another", {}, "")).name == "another"
    assert proxy.losses == 10


@pytest.mark.postgres
@pytest.mark.parametrize("how", ["killed", "idle"])
def test_a_transaction_whose_session_ends_changes_nothing(
    postgres_server: PostgresServer, postgres_url: str, how: str
) -> None:
    ledger = Ledger.open(postgres_url)
    put_small_study(ledger)
    before = ledger.snapshot(STUDY)

    def body(connection: sa.Connection) -> None:
        connection.execute(sa.update(schema.trial).values(owner="half"))
        if how == "killed":
            pid = connection.scalar(sa.text("SELECT pg_backend_pid()"))
            postgres_server.execute(f"SELECT pg_terminate_backend({pid})")
        else:
            connection.execute(sa.text("SET idle_in_transaction_session_timeout = '50ms'"))
            time.sleep(0.5)
        connection.execute(sa.update(schema.study).values(source="half"))

    with pytest.raises(LedgerUnavailableError, match="cannot be used just now"):
        ledger._database.write(body)
    assert ledger.snapshot(STUDY) == before
    ledger.close()


@pytest.mark.postgres
def test_what_a_server_refuses_is_said_plainly_and_without_the_password(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    Ledger.open(postgres_url).close()
    role = f"role_{os.getpid()}_{random.randrange(10**9)}"
    postgres_server.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'hidden-word' CONNECTION LIMIT 0")
    address, database = f"127.0.0.1:{postgres_server.port}", postgres_url.rsplit("/", 1)[1]
    try:
        cases: list[tuple[str, type[LedgerError], str]] = [
            (f"postgresql://posestudy:hidden-word@{address}/{database}", LedgerUnavailableError, "password"),
            (f"postgresql://nobody:hidden-word@{address}/{database}", LedgerUnavailableError, "nobody"),
            (postgres_url.rsplit("/", 1)[0] + "/no_such_database", LedgerUnavailableError, "does not exist"),
            (f"postgresql://{role}:hidden-word@{address}/{database}", LedgerUnavailableError, "too many connections"),
        ]
        for url, kind, words in cases:
            with pytest.raises(kind, match=words) as raised:
                Ledger.open(url)
            assert "hidden-word" not in str(raised.value)
            assert postgres_server.password not in str(raised.value)
            assert "\n" not in str(raised.value)
        postgres_server.execute(f"ALTER ROLE {role} CONNECTION LIMIT -1")
        with pytest.raises(LedgerError, match="lacks a right: permission denied") as refused:
            Ledger.open(f"postgresql://{role}:hidden-word@{address}/{database}")
        assert not isinstance(refused.value, LedgerUnavailableError), "waiting does not help"
    finally:
        postgres_server.execute(f"DROP ROLE {role}")


_BLACK_HOLE = """
    import subprocess, tempfile, time
    from pathlib import Path
    from posestudy.errors import LedgerUnavailableError
    from posestudy.ledger import Ledger
    from posestudy import testing
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    server, process = testing._start(folder, testing._find("initdb"), testing._find("postgres"))
    try:
        server.execute("CREATE DATABASE one")
        ledger = Ledger.open(server.url("one"))
        ledger.put_study("s", {}, "")
        subprocess.run(["ip", "link", "set", "lo", "down"], check=True)
        began = time.monotonic()
        try:
            ledger.put_study("t", {}, "")
        except LedgerUnavailableError as error:
            print("NOTICED", time.monotonic() - began, error)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        ledger.put_study("u", {}, "")
        print("STUDIES", [study.name for study in ledger.studies()])
    finally:
        process.kill()
"""


@pytest.mark.slow
@pytest.mark.postgres
def test_a_network_that_swallows_packets_is_an_outage_within_a_minute(postgres_server: PostgresServer) -> None:
    if os.geteuid() != 0 or None in (shutil.which("unshare"), shutil.which("ip")):
        pytest.skip("a network of one's own needs root and iproute2")
    code = textwrap.dedent(_BLACK_HOLE)
    done = subprocess.run(
        ["unshare", "-n", sys.executable, "-c", code], capture_output=True, text=True, timeout=400, check=False
    )
    if "unshare" in done.stderr:
        pytest.skip("no network of one's own here")
    assert "NOTICED" in done.stdout, done.stderr
    # The kernel alone would take a quarter of an hour.
    assert float(done.stdout.split()[1]) < 60
    assert "STUDIES ['s', 'u']" in done.stdout
