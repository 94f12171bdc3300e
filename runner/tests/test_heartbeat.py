"""The lease as the trial sees it: without its worker's word it waits at its next checkpoint."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from pathlib import Path

import pytest
from standin_pool import Standin, advance, importable_standins, in_background, never, until

from posestudy.errors import LedgerUnavailableError
from posestudy.home import Home
from posestudy.journal import JournalWriter
from posestudy.ledger import Ledger
from posestudy.vocabulary import Outcome
from posestudy_runner import attempt
from posestudy_runner.boot_clock import boot_time
from posestudy_runner.control import Control
from posestudy_runner.outcomes import Preempted
from posestudy_runner.steering import Steering

__all__ = ["importable_standins"]

EPOCH = {"type": "epoch", "epoch": 1}


def tell(worker, message: dict) -> None:
    worker.send_bytes(json.dumps(message).encode())


def listening(tmp_path: Path, lease_s: float):
    worker, trial = multiprocessing.Pipe()
    control = Control(trial, JournalWriter(tmp_path / "journal"), lease_s=lease_s)
    control.listen(lambda: None)
    return worker, control


def recorded(control: Control) -> threading.Thread:
    thread = threading.Thread(target=control.record, args=(EPOCH,), daemon=True)
    thread.start()
    return thread


def test_a_trial_without_a_word_of_its_worker_waits_at_its_checkpoint(tmp_path: Path) -> None:
    worker, control = listening(tmp_path, lease_s=-1.0)
    thread = recorded(control)
    thread.join(0.2)
    assert thread.is_alive()
    tell(worker, {"type": "alive", "until": boot_time() - 5})  # lay in the pipe while the trial was frozen
    thread.join(0.2)
    assert thread.is_alive()
    tell(worker, {"type": "alive", "until": boot_time() + 60})
    thread.join(30)
    assert not thread.is_alive()
    control.record(EPOCH)  # and now it goes on without waiting


def test_a_waiting_trial_can_be_stopped(tmp_path: Path) -> None:
    worker, control = listening(tmp_path, lease_s=-1.0)
    tell(worker, {"type": "stop", "why": "the test asks"})
    with pytest.raises(Preempted, match="the test asks"):
        control.record(EPOCH)


class Hanging(Ledger):
    """A ledger whose every answer can be held back, as by a server that is there and says nothing."""

    def hold(self) -> None:
        self.answers = threading.Event()

    def _wait(self) -> None:
        if hasattr(self, "answers") and not self.answers.wait(400):
            raise LedgerUnavailableError("the database does not answer")

    def renew(self, *args, **options):
        self._wait()
        return super().renew(*args, **options)

    def record_epoch(self, *args, **options):
        self._wait()
        return super().record_epoch(*args, **options)


def test_a_worker_that_waits_for_its_ledger_keeps_its_trial_training(home: Home) -> None:
    """The lease would be over four times."""
    ledger = Hanging.open(f"sqlite:///{home.database}")
    study = Standin(home, ledger, {"long": {"steps": 10, "step_s": 0.03, "epochs": 5}})
    thread = in_background(study.pool(lease_s=0.6))
    until(lambda: study.trials() and study.values(study.trials()[0]))
    ledger.hold()
    until((study.folder(1, 1) / "epoch_5.pth").exists)
    assert max(study.values(study.trials()[0])) < 5
    ledger.answers.set()
    thread.join(400)
    (trial,) = study.trials()
    assert (trial.outcome, study.attempts(trial)) == (Outcome.COMPLETED, ["finished"])
    assert study.values(trial) == {1: 0.01, 2: 0.02, 3: 0.03, 4: 0.04, 5: 0.05}
    assert "waiting" not in (study.folder(1, 1) / "training.log").read_text()
    ledger.close()


def test_a_request_to_stop_reaches_the_trial_while_the_ledger_hangs(home: Home) -> None:
    ledger = Hanging.open(f"sqlite:///{home.database}")
    study = Standin(home, ledger, {"long": {"steps": 4, "step_s": 0.05, "epochs": 500}})
    pool = study.pool(lease_s=0.6)
    thread = in_background(pool)
    until(lambda: study.trials() and study.values(study.trials()[0]))
    pid = int((study.folder(1, 1) / "pid").read_text())
    ledger.hold()
    pool.stop.request("the test asks")
    until(lambda: not Path(f"/proc/{pid}").exists())
    ledger.answers.set()
    thread.join(400)
    (trial,) = study.trials()
    assert study.attempts(trial) == ["preempted"]
    ledger.close()


@pytest.mark.slow
def test_a_frozen_trial_is_no_reason_to_take_it_away(home: Home, sqlite_ledger: Ledger) -> None:
    study = Standin(home, sqlite_ledger, {"long": {"steps": 5, "step_s": 0.02, "epochs": 6}})
    thread = in_background(study.pool(lease_s=0.5))
    until(lambda: study.trials() and study.values(study.trials()[0]))
    pid = int((study.folder(1, 1) / "pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    frozen_until = boot_time() + 1.2
    until(lambda: boot_time() > frozen_until)
    os.kill(pid, signal.SIGCONT)
    thread.join(400)
    (trial,) = study.trials()
    assert (trial.outcome, study.attempts(trial)) == (Outcome.COMPLETED, ["finished"])


def test_an_answer_that_comes_while_the_trial_waits_for_its_worker_is_heard(tmp_path: Path) -> None:
    """A worker that was frozen answers the epoch that lay in the pipe before it renews its lease."""
    worker, control = listening(tmp_path, lease_s=-1.0)
    thread = recorded(control)
    tell(worker, {"type": "go", "epoch": 1})
    thread.join(0.2)
    tell(worker, {"type": "alive", "until": boot_time() + 60})
    thread.join(30)
    asked = threading.Thread(target=control.ask, args=(1,), daemon=True)
    asked.start()
    asked.join(5)
    assert not asked.is_alive()


class Away(Ledger):
    """A ledger that cannot be reached until it is told so."""

    back = False

    def renew(self, *args, **options):
        return self._there() and super().renew(*args, **options)

    def record_epoch(self, *args, **options):
        return self._there() and super().record_epoch(*args, **options)

    def _there(self) -> bool:
        if not self.back:
            raise LedgerUnavailableError("the database does not answer")
        return True


def test_a_trial_that_waits_for_the_pruner_during_an_outage_does_not_use_up_its_time(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "LIMIT_GRACE_S", 0.1)
    monkeypatch.setattr(attempt, "RETRY_S", 0.1)
    ledger = Away.open(f"sqlite:///{home.database}")
    steering = Steering(advance, lambda claim: True, never)
    study = Standin(home, ledger, {"a": {"epochs": 2, "steps": 10, "step_s": 0.02}}, steering, limit_s=4.0)
    thread = in_background(study.pool(lease_s=0.6))
    until((study.folder(1, 1) / "epoch_1.pth").exists)
    over = boot_time() + 5.0
    until(lambda: boot_time() > over)
    ledger.back = True
    thread.join(400)
    (trial,) = study.trials()
    assert (trial.outcome, study.attempts(trial)) == (Outcome.COMPLETED, ["finished"])
    ledger.close()
