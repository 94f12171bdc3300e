"""A disk that fills up at any write: the trial pauses or gives way with a message, and goes on where there is room."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import standin_pool_process
from standin_pool import STUDY, Standin, importable_standins, in_background, until

from posestudy import journal
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.testing import Mount
from posestudy.vocabulary import Outcome
from posestudy_runner import attempt

__all__ = ["importable_standins"]

PAGE = 4096
EPOCHS = 3


class Filler:
    """Takes all of a disk but some pages or names, until it is removed."""

    def __init__(self, disk: Path, *, pages_left: int | None = None, names_left: int | None = None) -> None:
        self._disk = disk
        if pages_left is not None:
            (disk / "filler").write_bytes(b"\0" * PAGE * max(0, self._free("f_bavail") - pages_left))
        for number in range(0 if names_left is None else max(0, self._free("f_favail") - names_left)):
            (disk / f"filler{number}").touch()

    def _free(self, field: str) -> int:
        return int(getattr(os.statvfs(self._disk), field))

    def remove(self) -> None:
        for path in self._disk.glob("filler*"):
            path.unlink()


def run_through(study: Standin, filler: Filler) -> None:
    """The study ends with the right values once the disk has room again."""
    thread = in_background(study.pool(target="standin_disk:train", disk_retry_s=0.1))
    until(lambda: "paused" in study.output.getvalue() or not thread.is_alive())
    assert thread.is_alive(), "the disk was full, and nothing was said of it"
    filler.remove()
    thread.join(400)
    assert not thread.is_alive()
    assert thread.error is None  # type: ignore[attr-defined]
    (trial,) = study.trials()
    assert (trial.outcome, trial.message) == (Outcome.COMPLETED, None)
    assert study.values(trial) == {epoch: round(epoch / 100, 4) for epoch in range(1, EPOCHS + 1)}
    folder = study.folder(1, trial.fence)
    assert not list(folder.parent.rglob("*.tmp")), "half-written files take up the room"
    last = [frame["epoch"] for frame in journal.read(folder / "journal") if frame["type"] == "epoch"][-1]
    assert last == EPOCHS
    assert len((folder / "best.pth").read_text()) > PAGE


def on_small_disk(home: Home, ledger: Ledger, mount: Mount, options: str) -> Standin:
    mount(home.runs, options)
    return Standin(home, ledger, {"a": {"epochs": EPOCHS}})


@pytest.mark.slow
@pytest.mark.parametrize("pages_left", range(0, 20, 3))
def test_no_room_for_the_next_page(home: Home, sqlite_ledger: Ledger, mount: Mount, pages_left: int) -> None:
    study = on_small_disk(home, sqlite_ledger, mount, "size=400k")
    run_through(study, Filler(home.runs, pages_left=pages_left))


@pytest.mark.slow
@pytest.mark.parametrize("names_left", range(0, 14, 3))
def test_no_room_for_the_next_name(home: Home, sqlite_ledger: Ledger, mount: Mount, names_left: int) -> None:
    study = on_small_disk(home, sqlite_ledger, mount, "size=4m,nr_inodes=60")
    run_through(study, Filler(home.runs, names_left=names_left))


def test_a_full_log_costs_its_tail_and_nothing_else(home: Home, sqlite_ledger: Ledger) -> None:
    """`/dev/full` is a log on a disk that never has room."""
    study = Standin(home, sqlite_ledger, {"a": {}})
    pool = study.pool(target="standin_full_log:train")
    pool.run(1)
    (trial,) = study.trials()
    assert (trial.outcome, len(study.values(trial))) == (Outcome.COMPLETED, 4)


@pytest.mark.slow
def test_a_ledger_without_room_is_waited_for(home: Home, mount: Mount, tmp_path: Path) -> None:
    mount(home.root, "size=1m")
    home.runs.symlink_to(tmp_path, target_is_directory=True)
    ledger = Ledger.open(f"sqlite:///{home.database}")
    study = Standin(home, ledger, {"a": {"steps": 5, "step_s": 0.02, "epochs": 8}})
    thread = in_background(study.pool(lease_s=2.0))
    until(lambda: study.trials() and study.values(study.trials()[0]))
    filler = Filler(home.root, pages_left=0)
    until(lambda: "the ledger cannot be reached" in study.output.getvalue())
    until((study.folder(1, 1) / "epoch_8.pth").exists)
    assert len(study.values(study.trials()[0])) < 8
    filler.remove()
    thread.join(400)
    (trial,) = study.trials()
    assert (trial.outcome, study.attempts(trial)) == (Outcome.COMPLETED, ["finished"])
    assert len(study.values(trial)) == 8
    assert "full" in study.output.getvalue()
    ledger.close()


@pytest.mark.slow
def test_an_order_waits_for_room_and_keeps_its_lease(home: Home, sqlite_ledger: Ledger, mount: Mount) -> None:
    study = on_small_disk(home, sqlite_ledger, mount, "size=400k")
    filler = Filler(home.runs, pages_left=0)
    thread = in_background(study.pool(lease_s=0.5, disk_retry_s=0.3))
    until(lambda: "paused: the disk is full" in study.output.getvalue())
    leases = {study.trials()[0].lease_until}
    until(lambda: leases.add(study.trials()[0].lease_until) or len(leases) > 3)
    filler.remove()
    thread.join(400)
    (trial,) = study.trials()
    assert (trial.outcome, study.attempts(trial)) == (Outcome.COMPLETED, ["finished"])
    assert study.ledger.snapshot(STUDY).study.state == "closed"


@pytest.mark.parametrize("gone", ["full", "closed"])
def test_a_pool_whose_own_words_go_nowhere_trains_on(home: Home, sqlite_ledger: Ledger, gone: str) -> None:
    """Its output is a file on a full disk, or a pipe whose reader is gone."""
    study = Standin(home, sqlite_ledger, {"a": {}})
    arguments = [str(home.root), f"sqlite:///{home.database}", json.dumps(study.cells), "{}"]
    reader, writer = os.pipe()
    os.close(reader)
    full = os.open("/dev/full", os.O_WRONLY)
    command = [sys.executable, standin_pool_process.__file__, *arguments]
    subprocess.run(command, stdout=full if gone == "full" else writer, timeout=400, check=False)
    os.close(full)
    os.close(writer)
    (trial,) = study.trials()
    assert (trial.outcome, study.attempts(trial)) == (Outcome.COMPLETED, ["finished"])


def test_a_trial_that_waits_for_room_does_not_use_up_its_time(
    home: Home, sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "LIMIT_GRACE_S", 0.1)
    study = Standin(home, sqlite_ledger, {"a": {"epochs": 1}}, limit_s=0.5)
    study.pool(target="standin_waiting:train", disk_retry_s=0.2).run(1)
    (trial,) = study.trials()
    assert trial.outcome is Outcome.COMPLETED
