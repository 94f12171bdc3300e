"""Trials on several GPUs: where they are placed, what becomes of a rank that is lost, and what two ranks train."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from standin_pool import METRIC, STUDY, Standin, importable_standins, until

import posestudy_runner.pool as pool_module
from posestudy import journal
from posestudy.errors import MissingPieceError, PoseStudyError
from posestudy.home import AttemptPaths, Home
from posestudy.ledger import Ledger
from posestudy.process_start import start_ticks
from posestudy.vocabulary import Outcome
from posestudy_runner.context import PoolOptions
from posestudy_runner.devices import Device, grouped
from posestudy_runner.forkserver import Starter, StartMethod
from posestudy_runner.order import TrialOrder
from posestudy_runner.pool import Pool
from posestudy_runner.slots import Slot, TrialProcess
from posestudy_runner.worker import Worker

__all__ = ["importable_standins"]

GPUS = [Device(f"cuda:{i}", "a GPU") for i in range(5)]


def ordered(folder: Path, what: str, devices: tuple[str, ...] = ("cpu", "cpu", "cpu")) -> TrialOrder:
    return TrialOrder(
        target="standin_ranks:train",
        study_name=STUDY,
        study={},
        training={"what": what},
        stage="only",
        cell="a",
        uid="0" * 32,
        number=1,
        fence=1,
        seed=0,
        metric=METRIC,
        direction="more",
        epochs=1,
        folder=str(folder / what),
        device=devices[0],
        threads=1,
        devices=devices,
    )


@pytest.fixture
def starter() -> Iterator[Starter]:
    with Starter(StartMethod.FORKSERVER, "standin_preload") as made:
        yield made


def is_gone(pid: int) -> bool:
    """Whether no process of this id computes any more; an orphan may wait for init to take note of its end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def pids(folder: Path) -> list[int]:
    found = [folder / "pid", *folder.glob("pid[0-9]")]
    return [int(file.read_text().split()[0]) for file in found]


def ended(starter: Starter, order: TrialOrder) -> tuple[list[dict[str, Any]], int | None]:
    """What the trial said, and its exit code."""
    process = TrialProcess(starter, order.write(), "trial")
    died, said = process.wait_dead(60), process.drain()
    code = process.close()
    assert died
    return said, code


def test_ranks_work_each_on_its_device_and_end_with_the_first(tmp_path: Path, starter: Starter) -> None:
    order = ordered(tmp_path, "works", ("cuda:1", "cuda:2", "cuda:3"))
    said, code = ended(starter, order)
    assert ([frame["outcome"] for frame in said], code) == (["completed"], 0)
    devices = [(order.paths.folder / f"pid{rank}").read_text().split()[1] for rank in (1, 2)]
    assert devices == ["cuda:2", "cuda:3"]
    assert all(is_gone(pid) for pid in pids(order.paths.folder))


@pytest.mark.parametrize(
    ("what", "outcome", "message"),
    [
        ("loses_by_memory", "out_of_memory", "rank 1: out of memory"),
        ("loses_by_divergence", "diverged", "rank 1: the loss was nan"),
        # The first rank never hears of it itself, as in a collective of GPUs.
        ("hangs_for_memory", "out_of_memory", "rank 1: out of memory"),
    ],
)
def test_what_goes_wrong_in_a_rank_is_the_outcome_of_the_trial(
    tmp_path: Path, starter: Starter, what: str, outcome: str, message: str
) -> None:
    order = ordered(tmp_path, what)
    said, _ = ended(starter, order)
    (end,) = said
    assert end["outcome"] == outcome
    assert end["message"].startswith(message)
    assert journal.read(order.paths.journal) == said


@pytest.mark.parametrize("what", ["loses_by_being_killed", "hangs_for_one_killed"])
def test_a_killed_rank_takes_the_trial_with_it_and_the_log_says_which(
    tmp_path: Path, starter: Starter, what: str
) -> None:
    order = ordered(tmp_path, what)
    said, code = ended(starter, order)
    assert (said, code) == ([], -signal.SIGKILL)
    assert order.paths.log.read_text().splitlines()[-1] == "rank 1 of 3 died: signal 9"
    until(lambda: all(is_gone(pid) for pid in pids(order.paths.folder)))


def test_an_error_of_the_first_rank_is_told_as_its_own(tmp_path: Path, starter: Starter) -> None:
    order = ordered(tmp_path, "leaves")
    (end,), code = ended(starter, order)
    assert (end["outcome"], code) == ("failed", 0)
    assert "no such keypoint" in end["message"]
    assert all(is_gone(pid) for pid in pids(order.paths.folder))


def test_a_signal_to_the_whole_group_is_obeyed_by_the_first_rank(tmp_path: Path, starter: Starter) -> None:
    order = ordered(tmp_path, "waits")
    process = TrialProcess(starter, order.write(), "trial")
    try:
        until(lambda: len(pids(order.paths.folder)) == 3 if (order.paths.folder / "pid").exists() else False)
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait_dead(60)
        (end,) = process.drain()
        assert (end["outcome"], end["message"]) == (None, "signal SIGTERM")
    finally:
        process.close()
    assert all(is_gone(pid) for pid in pids(order.paths.folder))


def test_no_rank_outlives_the_first(tmp_path: Path, starter: Starter) -> None:
    order = ordered(tmp_path, "waits")
    process = TrialProcess(starter, order.write(), "trial")
    try:
        until(lambda: len(pids(order.paths.folder)) == 3 if (order.paths.folder / "pid").exists() else False)
        ticks = start_ticks(process.pid)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait_dead(60)
        assert start_ticks(process.pid) != ticks or is_gone(process.pid)
        # Nobody has killed the group.
        until(lambda: all(is_gone(pid) for pid in pids(order.paths.folder)))
    finally:
        process.close()


# ---- where trials are placed


def test_devices_are_grouped_with_their_neighbours() -> None:
    assert [[device.name for device in group] for group in grouped(GPUS, 2)] == [
        ["cuda:0", "cuda:1"],
        ["cuda:2", "cuda:3"],
    ]
    assert grouped(GPUS[:1], 2) == []
    cpu = Device("cpu", "cores")
    assert grouped([cpu], 3) == [(cpu, cpu, cpu)]


class Asking(Standin):
    """A study whose document says which GPUs its cells ask for."""

    def __post_init__(self) -> None:
        variants = {name: {"gpus": cell.get("gpus", 1)} for name, cell in self.cells.items()}
        self.ledger.put_study(STUDY, {"cells": self.cells, "stages": [{"variants": variants}]}, "")


def with_gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(pool_module, "usable_devices", lambda found, cpu: GPUS[:count])


def run(study: Asking, workers: int | None = None, **options: Any) -> Pool:
    pool = study.pool(target="standin_ranks:train", **options)
    pool.run(workers)
    return pool


def orders(study: Asking) -> list[TrialOrder]:
    return [TrialOrder.read(AttemptPaths(study.folder(trial.number, 1)).order) for trial in study.trials()]


def test_a_pool_forms_slots_of_as_many_gpus_as_the_largest_trials_take(
    home: Home, sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_gpus(monkeypatch, 5)
    cells = {name: {"gpus": 2, "what": "works", "epochs": 1} for name in "abc"}
    study = Asking(home, sqlite_ledger, cells)
    run(study, per_gpu="auto", cores=12)
    assert [trial.outcome for trial in study.trials()] == [Outcome.COMPLETED] * 3
    made = orders(study)
    assert {order.devices for order in made} <= {("cuda:0", "cuda:1"), ("cuda:2", "cuda:3")}
    assert all(order.device == order.devices[0] for order in made)
    # Twelve cores are those of two slots of two ranks each.
    assert {order.threads for order in made} == {3}
    told = study.output.getvalue()
    assert "idle, as a trial takes 2 GPUs: cuda:4" in told
    assert "--per-gpu is not heeded" in told


def test_a_smaller_trial_takes_part_of_a_slot(
    home: Home, sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_gpus(monkeypatch, 3)
    study = Asking(home, sqlite_ledger, {"a": {"gpus": 3, "what": "works"}, "b": {"gpus": 2, "what": "works"}})
    run(study)
    assert [order.devices for order in orders(study)] == [("cuda:0", "cuda:1", "cuda:2"), ("cuda:0", "cuda:1")]


def test_on_a_cpu_ranks_share_the_cores_of_a_slot(home: Home, sqlite_ledger: Ledger) -> None:
    study = Asking(home, sqlite_ledger, {"a": {"gpus": 2, "what": "works"}})
    run(study, cores=8, workers=1)
    (order,) = orders(study)
    assert (order.devices, order.threads) == (("cpu", "cpu"), 4)
    assert "share the CPU" in study.output.getvalue()


def test_too_few_gpus_are_told_before_anything_is_claimed(
    home: Home, sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_gpus(monkeypatch, 3)
    study = Asking(home, sqlite_ledger, {"a": {"gpus": 4, "what": "works"}})
    with pytest.raises(MissingPieceError, match="trials on 4 GPUs, and 3 can be used here"):
        run(study)
    assert study.trials() == []


def test_a_trial_that_no_slot_holds_is_given_back(home: Home, sqlite_ledger: Ledger) -> None:
    """As after the study was edited while a worker ran."""
    study = Standin(home, sqlite_ledger, {"a": {"gpus": 2, "what": "works"}})
    with pytest.raises(PoseStudyError, match="trial 1 takes 2 GPUs, and a slot of this pool has 1"):
        study.pool(target="standin_ranks:train").run(1)
    (trial,) = study.trials()
    assert study.attempts(trial) == ["preempted"]


def test_a_lost_rank_is_a_lost_attempt_that_says_so(home: Home, sqlite_ledger: Ledger) -> None:
    study = Asking(home, sqlite_ledger, {"a": {"gpus": 2, "what": "loses_by_being_killed", "epochs": 1}})
    run(study, workers=1)
    (trial,) = study.trials()
    assert (trial.outcome, study.attempts(trial)) == (Outcome.FAILED, ["lost", "lost", "lost", "finished"])
    why = [attempt.why for attempt in sqlite_ledger.snapshot(STUDY).attempts if attempt.end == "lost"]
    assert all("rank 1 of 2 died: signal 9" in text for text in why)


def test_the_cores_of_a_slot_are_shared_among_the_ranks_of_its_trial(home: Home, sqlite_ledger: Ledger) -> None:
    study = Asking(home, sqlite_ledger, {"a": {"gpus": 2, "what": "works"}})
    sqlite_ledger.apply(sqlite_ledger.snapshot(STUDY).study.id, study.steering.advance(sqlite_ledger.snapshot(STUDY)))
    claim = sqlite_ledger.claim(STUDY, "me", 60.0)
    slot = Slot(0, GPUS[0], 9, (GPUS[1], GPUS[2]))
    context: Any = SimpleNamespace(
        ledger=sqlite_ledger, study=STUDY, home=home, metric=METRIC, direction="more", trial_limit_s=None,
        options=PoolOptions(), steering=SimpleNamespace(prunes=lambda claim: False), profiles={},
    )  # fmt: skip
    order = Worker(context, slot).order(claim)
    assert (order.devices, order.threads, order.cores) == (("cuda:0", "cuda:1"), 4, 4)
    assert TrialOrder.read(order.write()) == order
