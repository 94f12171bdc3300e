"""A worker that was frozen past its lease and wakes up: nothing of the finished trial changes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Iterator
from pathlib import Path

import psutil
import pytest
from standin_pool import METRIC, STUDY, Standin, importable_standins, in_background, until
from standin_pool_process import start

from posestudy import journal
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.vocabulary import Outcome, TrialState

__all__ = ["importable_standins"]

EPOCHS = 16
CELLS = {"a": {"epochs": EPOCHS, "steps": 10, "step_s": 0.02}}
pytestmark = pytest.mark.slow


@pytest.fixture
def frozen() -> Iterator[list[psutil.Process]]:
    """Processes the test has stopped; whatever happens, they are gone after it."""
    processes: list[psutil.Process] = []
    yield processes
    for process in processes:
        if process.is_running():
            process.kill()


def freeze(processes: Collection[psutil.Process]) -> None:
    for process in processes:
        process.suspend()


def epochs_written(study: Standin, fence: int) -> list[int]:
    frames = journal.read(study.folder(1, fence) / "journal")
    return [frame["epoch"] for frame in frames if frame["type"] == "epoch"]


def everything(study: Standin) -> object:
    """All that the study's result consists of: rows of the ledger, and files of the attempt that finished it."""
    snapshot = study.ledger.snapshot(STUDY)
    files = {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in study.folder(1, 2).rglob("*")
        if path.is_file()
    }
    return snapshot.trials, tuple(snapshot.values), snapshot.attempts, files


@pytest.mark.parametrize("whole_machine", [False, True], ids=["the pool alone", "the whole machine"])
def test_a_worker_that_wakes_up_changes_nothing(
    home: Home, ledger_url: str, tmp_path: Path, frozen: list[psutil.Process], whole_machine: bool
) -> None:
    ledger = Ledger.open(ledger_url)
    study = Standin(home, ledger, CELLS)
    first = start(home, ledger_url, CELLS, tmp_path / "first", lease_s=1.0)
    until(lambda: study.trials() and study.values(study.trials()[0]))
    pool = psutil.Process(first.pid)
    others = pool.children(recursive=True)
    trial = psutil.Process(int((study.folder(1, 1) / "pid").read_text()))
    frozen += [pool, *others]
    freeze([pool, *others] if whole_machine else [pool])

    second = in_background(study.pool(lease_s=1.0))
    until(lambda: study.trials()[0].fence == 2)
    trained = epochs_written(study, 1)
    second.join(400)
    (record,) = study.trials()
    assert (record.state, record.outcome, record.fence) == (TrialState.DONE, Outcome.COMPLETED, 2)
    if not whole_machine:
        assert trial.is_running(), "it waits at its checkpoint"
        assert "waiting: the worker is not heard of" in (study.folder(1, 1) / "training.log").read_text()
    before = everything(study)
    assert len(epochs_written(study, 1)) <= len(trained) + 1

    # The trial wakes first, as it may.
    for process in others if whole_machine else []:
        process.resume()
    until(lambda: not whole_machine or len(epochs_written(study, 1)) > len(trained) or not trial.is_running())
    time.sleep(0.5)
    assert len(epochs_written(study, 1)) <= len(trained) + 1
    pool.resume()
    assert first.wait(400) == 0
    until(lambda: not trial.is_running())
    assert len(epochs_written(study, 1)) <= len(trained) + 1
    assert len(epochs_written(study, 1)) < EPOCHS
    assert everything(study) == before
    assert study.values(record) == {epoch: round(epoch / 100, 4) for epoch in range(1, EPOCHS + 1)}
    accepted_first = {v.epoch for v in ledger.snapshot(STUDY).values if v.fence == 1}
    late = {value.epoch: value.metrics[METRIC] for value in ledger.late_values(record.uid) if value.fence == 1}
    assert set(late) == set(epochs_written(study, 1)) - accepted_first
    assert late
    assert "another worker took the trial over" in (tmp_path / "first").read_text()
    ledger.close()
