"""Workers of a pool with nothing to do hear of it at once when there is something."""

from __future__ import annotations

import threading

import pytest
from standin_pool import Standin, importable_standins, in_background

from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.vocabulary import Outcome
from posestudy_runner.bell import Bell
from posestudy_runner.stop import Stop

__all__ = ["importable_standins"]

NEVER_S = 3600.0


@pytest.fixture
def stop() -> Stop:
    return Stop()


def asleep(bell: Bell, stop: Stop, heard: int) -> threading.Thread:
    thread = threading.Thread(target=bell.sleep, args=(NEVER_S, stop, heard), daemon=True)
    thread.start()
    return thread


def test_it_wakes_all_who_sleep(stop: Stop) -> None:
    bell = Bell()
    sleepers = [asleep(bell, stop, bell.rung) for _ in range(3)]
    bell.ring()
    for sleeper in sleepers:
        sleeper.join(400)
        assert not sleeper.is_alive()


def test_nobody_sleeps_who_missed_it_while_looking(stop: Stop) -> None:
    bell = Bell()
    heard = bell.rung
    bell.ring()
    bell.sleep(NEVER_S, stop, heard)
    bell.ring()
    bell.sleep(NEVER_S, stop, heard)


def test_the_end_of_the_pool_wakes_them_too(stop: Stop) -> None:
    bell = Bell()
    sleeper = asleep(bell, stop, bell.rung)
    stop.request("the user wants it")
    sleeper.join(400)
    assert not sleeper.is_alive()


def test_a_pool_does_not_wait_for_its_next_look(home: Home, sqlite_ledger: Ledger) -> None:
    cells = {"short": {}, "long": {"step_s": 0.2}, "third": {}}
    run = Standin(home, sqlite_ledger, cells)
    thread = in_background(run.pool(poll_s=NEVER_S), workers=3)
    thread.join(400)
    assert not thread.is_alive(), "a worker sleeps although its study has ended"
    assert [trial.outcome for trial in run.trials()] == [Outcome.COMPLETED] * 3
