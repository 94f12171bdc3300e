"""Processes that write to one SQLite file queue up, and nobody who died, froze or gave up holds the queue up."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from posestudy.home import Home
from posestudy.ledger import Ledger, turns
from posestudy.ledger.turns import Turn
from posestudy.testing import put_small_study

FORK = multiprocessing.get_context("fork")


def until(condition: Callable[[], Any]) -> None:
    limit = time.monotonic() + 400
    while not condition():
        assert time.monotonic() < limit, "what the test waits for did not happen"
        time.sleep(0.01)


def is_free(file: Path) -> bool:
    with file.with_name(file.name + ".turn").open() as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def queued(file: Path) -> int:
    """How many wait for a turn, as the kernel lists them."""
    inode = f":{file.with_name(file.name + '.turn').stat().st_ino} "
    return sum("->" in line and inode in line for line in Path("/proc/locks").read_text().splitlines())


def hold(file: Path, said: Connection) -> None:
    with Turn(file):
        said.send("mine")
        said.recv()


def holder(file: Path) -> tuple[BaseProcess, Connection]:
    """A process that has the turn until it is sent something."""
    here, there = FORK.Pipe()
    process = FORK.Process(target=hold, args=(file, there), daemon=True)
    process.start()
    assert here.recv() == "mine"
    return process, here


def sign(file: Path, name: int, book: Path) -> None:
    with Turn(file), book.open("a") as stream:
        stream.write(f"{name}\n")


def test_who_waits_longest_writes_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_LONGEST_WAIT_S", 60.0)
    file, book = tmp_path / "ledger.db", tmp_path / "book"
    first, release = holder(file)
    processes = []
    for name in range(5):
        process = FORK.Process(target=sign, args=(file, name, book))
        process.start()
        processes.append(process)
        until(lambda name=name: queued(file) == name + 1)
    release.send("go")
    for process in [first, *processes]:
        process.join(400)
    assert book.read_text().split() == ["0", "1", "2", "3", "4"]


def test_a_killed_process_gives_its_turn_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_LONGEST_WAIT_S", 60.0)
    file = tmp_path / "ledger.db"
    process, _ = holder(file)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(sign, file, 7, tmp_path / "book")
        until(lambda: queued(file) == 1)
        process.kill()
        waiting.result(60)
    assert (tmp_path / "book").read_text() == "7\n"


@pytest.fixture
def frozen(home: Home) -> Any:
    """A process that froze with the turn of the home's ledger."""
    home.root.mkdir(parents=True)
    process, _release = holder(home.database)
    os.kill(process.pid, signal.SIGSTOP)
    yield process
    process.kill()
    process.join(400)


def test_a_frozen_process_that_has_the_turn_does_not_keep_others_from_writing(
    home: Home, frozen: BaseProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_LONGEST_WAIT_S", 0.05)
    ledger = Ledger.open(f"sqlite:///{home.database}")
    put_small_study(ledger)
    granted = ledger.claim("small", "worker", 60.0)
    assert granted is not None
    assert ledger.renew(granted.trial.uid, 1, 60.0)
    ledger.close()


def test_a_place_in_the_queue_that_was_given_up_is_not_kept(
    home: Home, frozen: BaseProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_LONGEST_WAIT_S", 0.05)
    turn = Turn(home.database)
    for _ in range(3):
        with turn:
            pass
    assert not is_free(home.database)
    frozen.kill()
    until(lambda: not any(thread.name == "turn to write" for thread in threading.enumerate()))
    until(lambda: is_free(home.database))
    with turn:
        assert not is_free(home.database), "once there is nobody in the way, turns are taken again"
    assert is_free(home.database)


def test_one_of_a_process_waits_for_a_turn_that_does_not_come(
    home: Home, frozen: BaseProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_LONGEST_WAIT_S", 0.05)
    turn = Turn(home.database)
    files = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with turn:
            pass
    assert sum(thread.name == "turn to write" for thread in threading.enumerate()) == 1
    assert len(os.listdir("/proc/self/fd")) <= files + 1
    assert queued(home.database) == 1


def test_without_a_thread_to_wait_with_nobody_waits(
    home: Home, frozen: BaseProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with Turn(home.database):
        assert queued(home.database) == 0


def test_closing_does_not_wait_for_a_write_that_hangs(tmp_path: Path) -> None:
    turn, begun, over = Turn(tmp_path / "ledger.db"), threading.Event(), threading.Event()

    def hang() -> None:
        with turn:
            begun.set()
            over.wait(400)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(hang)
        assert begun.wait(400)
        turn.close()
        assert not over.is_set()
        over.set()
    assert is_free(tmp_path / "ledger.db")


def test_threads_of_a_process_write_one_at_a_time(tmp_path: Path) -> None:
    turn, inside, most = Turn(tmp_path / "ledger.db"), [], []

    def write(_: int) -> None:
        with turn:
            inside.append(threading.get_ident())
            time.sleep(0.001)
            most.append(len(inside))
            inside.pop()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(64)))
    assert set(most) == {1}
    assert len(most) == 64


def test_where_no_file_can_be_made_nothing_is_in_the_way(tmp_path: Path) -> None:
    turn = Turn(tmp_path / "not_there" / "ledger.db")
    with turn:
        assert not (tmp_path / "not_there").exists()
    with pytest.raises(ZeroDivisionError), turn:
        1 / 0  # noqa: B018
    with turn:
        pass
    turn.close()
