"""How a pool ends, or goes on, where something it stands on is killed or hangs."""

from __future__ import annotations

import os
import signal
import threading
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil
import pytest
from standin_pool import Standin, alive, importable_standins, in_background, until
from standin_pool_process import start

from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.vocabulary import Outcome, TrialState
from posestudy_runner import attempt, guard, pool
from posestudy_runner.forkserver import Starter

__all__ = ["importable_standins"]


@pytest.mark.slow
def test_a_pool_told_to_end_while_the_packages_load_ends_at_once(
    home: Home, sqlite_ledger: Ledger, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    url = f"sqlite:///{home.database}"
    process = start(home, url, {"a": {}}, output, preload="slow_preload")
    until(lambda: "loading the training packages" in output.read_text())
    until(lambda: psutil.Process(process.pid).children())
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    assert process.wait(400) == 0
    until(lambda: not any(alive(child.pid) for child in children))
    assert "Traceback" not in output.read_text()
    assert sqlite_ledger.snapshot("standin").attempts == ()


def test_a_forkserver_killed_while_a_trial_starts_costs_one_attempt(
    home: Home, sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, begun = Starter.start, []

    def dies_once(self: Starter, target: Any, arguments: Any, name: str) -> BaseProcess:
        begun.append(name)
        if begun == ["probe", "trial 1"]:
            os.kill(self.server_pid(), signal.SIGKILL)
            raise EOFError  # what multiprocessing makes of it
        return real(self, target, arguments, name)

    monkeypatch.setattr(Starter, "start", dies_once)
    study = Standin(home, sqlite_ledger, {"a": {}})
    study.pool(disk_retry_s=0.1).run(1)
    (trial,) = study.trials()
    assert (trial.outcome, study.attempts(trial)) == (Outcome.COMPLETED, ["preempted", "finished"])
    assert "could not be started" in study.output.getvalue()


class Silent(Ledger):
    """A ledger that does not answer a renewal any more, and does not refuse it either."""

    def hold(self) -> None:
        self.asked, self.released = threading.Event(), threading.Event()

    def renew(self, *args: Any, **options: Any) -> bool:
        if hasattr(self, "released"):
            self.asked.set()
            self.released.wait()
        return super().renew(*args, **options)


@pytest.mark.slow
def test_a_second_signal_ends_a_pool_whose_ledger_hangs(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "GIVE_UP_S", 0.2)
    ledger = Silent.open(f"sqlite:///{home.database}")
    study = Standin(home, ledger, {"deaf": {"behaviour": "deaf"}})
    ends = study.pool(lease_s=0.5)
    thread = in_background(ends)
    until(lambda: study.trials() and study.values(study.trials()[0]))
    trial = int((study.folder(1, 1) / "pid").read_text())
    ledger.hold()
    assert ledger.asked.wait(400)
    ends.stop.now("the test has no patience")
    thread.join(400)
    assert not thread.is_alive()
    until(lambda: not alive(trial))
    assert "the leases end by themselves" in study.output.getvalue()
    ledger.released.set()
    until(lambda: study.trials()[0].state is TrialState.WAITING)
    ledger.close()


@pytest.mark.slow
def test_a_trial_whose_loaders_got_the_same_signal_first_gives_way(home: Home, sqlite_ledger: Ledger) -> None:
    """A scheduler signals every process of a job, and a trial without its data loaders raises."""
    study = Standin(home, sqlite_ledger, {"a": {"epochs": 3}})
    ends = study.pool(target="standin_loader_death:train")
    thread = in_background(ends)
    until(lambda: study.trials() and study.values(study.trials()[0]))
    ends.stop.request("the pool got SIGTERM")
    thread.join(400)
    (trial,) = study.trials()
    assert (trial.state, study.attempts(trial)) == (TrialState.WAITING, ["preempted"])


def test_an_order_that_cannot_be_read_is_a_pause_and_no_failure(
    home: Home, sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = attempt.TrialProcess

    def damaged(starter: Starter, order: Path, name: str) -> attempt.TrialProcess:
        if order.parent.name == "1":
            order.write_bytes(order.read_bytes()[:100])
        return real(starter, order, name)

    monkeypatch.setattr(attempt, "TrialProcess", damaged)
    study = Standin(home, sqlite_ledger, {"a": {}})
    study.pool(disk_retry_s=0.1).run(1)
    (trial,) = study.trials()
    assert (trial.outcome, study.attempts(trial)) == (Outcome.COMPLETED, ["preempted", "finished"])


def test_a_kill_long_after_the_kernel_killed_something_else_is_no_lack_of_memory(
    home: Home, sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    kills = iter([0])
    monkeypatch.setattr(attempt, "kernel_oom_kills", lambda: next(kills, 1))
    monkeypatch.setattr(attempt, "KERNEL_KILL_S", 0.1)
    study = Standin(
        home, sqlite_ledger, {"a": {"behaviour": "die_once_at_2", "epochs": 2, "steps": 20, "step_s": 0.05}}
    )
    study.pool(lease_s=0.3).run(1)
    (trial,) = study.trials()
    assert (trial.outcome, study.attempts(trial)) == (Outcome.COMPLETED, ["lost", "finished"])


def test_a_trial_that_the_kernel_kills_is_out_of_memory(
    home: Home, sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Standin(home, sqlite_ledger, {"a": {"behaviour": "die_once_at_2", "steps": 4, "step_s": 0.05}})

    def kills() -> int:
        pid = study.folder(1, 1) / "pid"
        return int(pid.exists() and not alive(int(pid.read_text() or os.getpid())))

    monkeypatch.setattr(attempt, "kernel_oom_kills", kills)
    study.pool(lease_s=0.6).run(1)
    (trial,) = study.trials()
    assert (trial.outcome, study.attempts(trial)) == (Outcome.OUT_OF_MEMORY, ["finished"])


def test_a_machine_without_another_thread_costs_one_attempt(
    home: Home, sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tried = guard.Guard.start, []

    def refused_once(self: guard.Guard) -> None:
        tried.append(self)
        if len(tried) == 1:
            raise RuntimeError("can't start new thread")
        real(self)

    monkeypatch.setattr(guard.Guard, "start", refused_once)
    study = Standin(home, sqlite_ledger, {"a": {}})
    study.pool(disk_retry_s=0.1).run(1)
    (trial,) = study.trials()
    assert (trial.outcome, study.attempts(trial)) == (Outcome.COMPLETED, ["preempted", "finished"])
    assert "could not be started" in study.output.getvalue()
