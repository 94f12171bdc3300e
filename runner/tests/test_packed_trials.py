"""Several trials on one GPU, from the claim to the result, with processes that take a stand-in GPU's memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from standin_gpu import NAME, StandinGpus
from standin_pool import STUDY, Standin, advance, importable_standins, in_background, until

from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import TrialRecord
from posestudy.vocabulary import Outcome
from posestudy_runner import devices, pool
from posestudy_runner.memory_needs import CONTEXT_MB

__all__ = ["importable_standins"]


class PackedStudy(Standin):
    """A study whose trials run on stand-in GPUs."""

    gpus: StandinGpus

    def run(self, workers: int | None = None, **options: Any) -> None:
        self.pool(**self.options(**options)).run(workers)

    def options(self, **options: Any) -> dict[str, Any]:
        chosen = {"target": "standin_gpu_trials:train", "gpu_reader": self.gpus, "gpu_sample_s": 0.01, "poll_s": 0.05}
        return {**chosen, **options}

    def orders(self, number: int) -> list[dict[str, Any]]:
        folder = self.home.attempt(STUDY, number, 1).folder.parent
        files = sorted(folder.glob("*/order.json"), key=lambda file: int(file.parent.name))
        return [json.loads(file.read_text()) for file in files]

    def company(self, number: int) -> int:
        """The most trials that were on the trial's GPU with it."""
        trial = self.trials()[number - 1]
        return int((self.folder(number, trial.fence) / "company").read_text())

    def why(self, trial: TrialRecord) -> list[str]:
        attempts = [a for a in self.ledger.snapshot(STUDY).attempts if a.trial_uid == trial.uid]
        return [a.why or "" for a in sorted(attempts, key=lambda a: a.fence)]


@pytest.fixture
def make(home: Home, sqlite_ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def study(cells: dict[str, dict[str, Any]], **gpus: Any) -> PackedStudy:
        machine = StandinGpus(tmp_path / "gpus", **gpus)
        monkeypatch.setattr(pool, "probe", machine.probe)
        monkeypatch.setattr(devices, "cpu_count", lambda: 24)
        made = PackedStudy(home, sqlite_ledger, {k: {"gpu_folder": str(machine.folder), **v} for k, v in cells.items()})
        made.gpus = machine
        return made

    return study


def outcomes(study: Standin) -> list[Outcome | None]:
    return [trial.outcome for trial in study.trials()]


@pytest.mark.parametrize("tells_processes", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_gpu_is_shared_by_as_many_as_fit_once_the_first_was_measured(make, *, tells_processes: bool) -> None:
    study = make({"small": {"mb": 2400, "meets": 3, "seeds": [0, 1, 2]}}, tells_processes=tells_processes)
    study.run(per_gpu="auto")
    assert outcomes(study) == [Outcome.COMPLETED] * 3, study.output.getvalue()
    assert [study.company(number) for number in (1, 2, 3)] == [3, 3, 3]
    took = 2400 if tells_processes else round(1.25 * (2400 - CONTEXT_MB) + CONTEXT_MB)
    assert f"takes {took} MiB" in study.output.getvalue()
    assert "up to 3 share the GPU" in study.output.getvalue()


@pytest.mark.slow
def test_never_more_are_on_a_gpu_than_fit(make) -> None:
    study = make({"large": {"mb": 4500, "meets": 2, "seeds": [0, 1]}, "others": {"mb": 4500, "seeds": [0, 1, 2]}})
    study.run(per_gpu="auto")
    assert outcomes(study) == [Outcome.COMPLETED] * 5
    assert max(study.company(number) for number in range(1, 6)) == 2
    assert all(study.attempts(trial) == ["finished"] for trial in study.trials())


def test_without_being_asked_each_gpu_has_one_trial_and_the_driver_is_left_alone(make) -> None:
    study = make({"small": {"mb": 1000, "seeds": [0, 1, 2, 3]}}, count=2)
    study.run()
    assert outcomes(study) == [Outcome.COMPLETED] * 4
    assert {study.company(number) for number in range(1, 5)} == {1}
    assert {order["device"] for number in range(1, 5) for order in study.orders(number)} == {"cuda:0", "cuda:1"}
    assert study.gpus.asked == 0


def test_an_out_of_memory_beside_others_is_no_result(make) -> None:
    """The second trial grows beside the first, which is measured before it grows itself."""
    study = make({"grows": {"mb": 3000, "mb_at_2": 6000, "meets": 2, "seeds": [0, 1]}})
    study.run(per_gpu="auto", memory_limit_mb=9000.0)
    assert outcomes(study) == [Outcome.COMPLETED] * 2, study.output.getvalue()
    again = [trial for trial in study.trials() if study.attempts(trial) == ["preempted", "finished"]]
    assert again, study.output.getvalue()
    for trial in again:
        assert study.why(trial)[0].startswith("beside other trials on its GPU it ended as out_of_memory")
        assert study.company(trial.number) == 1
        assert (study.values(trial)).keys() == {1, 2, 3, 4}
    assert {order["memory_limit_mb"] for number in (1, 2) for order in study.orders(number)} == {9000.0}


def test_an_out_of_memory_alone_is_a_result(make) -> None:
    study = make({"huge": {"mb": 3000, "mb_at_2": 12_000}, "small": {"mb": 1000, "batch_size": 2}})
    study.run(per_gpu="auto")
    huge, small = study.trials()
    assert (huge.outcome, study.attempts(huge)) == (Outcome.OUT_OF_MEMORY, ["finished"])
    assert small.outcome is Outcome.COMPLETED


@pytest.mark.slow
def test_one_that_ran_out_of_memory_beside_others_may_do_so_alone(make) -> None:
    cells = {"small": {"mb": 3000, "meets": 2, "steps": 30}, "huge": {"mb": 3000, "mb_at_2": 12_000}}
    study = make(cells)
    study.run(per_gpu="auto")
    small, huge = study.trials()
    assert small.outcome is Outcome.COMPLETED
    assert huge.outcome is Outcome.OUT_OF_MEMORY
    assert study.attempts(huge)[-1] == "finished"
    assert study.attempts(huge)[:-1] in (["preempted"], [])
    if study.attempts(huge)[0] == "preempted":
        assert study.company(small.number) == 2


@pytest.mark.slow
def test_it_waits_while_somebody_else_holds_the_memory(make, home: Home) -> None:
    study = make({"small": {"mb": 3000, "seeds": [0]}})
    study.run(per_gpu="auto")
    study.ledger.put_study(STUDY, {"cells": study.cells}, "")
    again = make_again(study, {"small": {**study.cells["small"], "seeds": [1]}})
    study.gpus.strangers("cuda:0", 9000.0)
    thread = in_background(again, workers=None)
    until(lambda: "other processes hold the rest" in study.output.getvalue())
    assert study.ledger.snapshot("second").attempts == ()
    study.gpus.strangers("cuda:0", 0.0)
    thread.join(400)
    (trial,) = study.ledger.snapshot("second").trials
    assert trial.outcome is Outcome.COMPLETED


def make_again(study: PackedStudy, cells: dict[str, dict[str, Any]]) -> pool.Pool:
    """A pool for another study of the same home, which knows what the first one learned."""
    study.ledger.put_study("second", {"cells": cells}, "")
    made = study.pool(**study.options(per_gpu="auto"))
    made._goal = pool.Goal("second", made._goal.metric, made._goal.direction)
    return made


@pytest.mark.slow
def test_what_was_learned_stays_in_the_home(make, home: Home) -> None:
    study = make({"small": {"mb": 3000, "seeds": [0]}})
    study.run(per_gpu="auto")
    (need,) = json.loads(home.measurements.read_text())["needs"]
    assert (need["device"], need["memory_mb"]) == (NAME, 3000.0)
    assert need["busy"] == pytest.approx(0.2, abs=0.05)


@pytest.mark.slow
def test_a_gpu_that_the_driver_lost_has_one_trial_at_a_time(make) -> None:
    study = make({"small": {"mb": 1000, "seeds": [0, 1, 2]}})
    study.gpus.lost = {"cuda:0"}
    study.run(per_gpu="auto")
    assert outcomes(study) == [Outcome.COMPLETED] * 3
    assert {study.company(number) for number in (1, 2, 3)} == {1}
    assert study.output.getvalue().count("cuda:0 cannot be read (NVML: GPU is lost): one trial at a time on it") == 1


def test_a_resumed_trial_keeps_its_threads_and_gets_fewer_loaders(make) -> None:
    study = make({"small": {"mb": 3000, "meets": 2, "seeds": [0, 1]}})
    study.ledger.apply(study.ledger.study(STUDY).id, advance(study.ledger.snapshot(STUDY)))
    first, second = (study.ledger.claim(STUDY, "an earlier worker", 30.0) for _ in range(2))
    assert first is not None
    assert second is not None
    study.ledger.started(second.trial.uid, 1, {"threads": 20})
    study.ledger.release(first.trial.uid, 1, "preempted", "moved")
    study.ledger.release(second.trial.uid, 1, "preempted", "moved")
    study.run(per_gpu="auto", workers=2)
    alone, resumed = study.orders(1)[-1], study.orders(2)[-1]
    assert (alone["threads"], alone["cores"]) == (24, 24), "the first is measured with all there is"
    assert (resumed["threads"], resumed["cores"]) == (20, 8), "three fit"


@pytest.mark.slow
def test_times_that_neighbours_had_a_part_in_are_not_kept(make) -> None:
    study = make({"small": {"mb": 3000, "meets": 2, "seeds": [0, 1]}, "other": {"mb": 9000, "batch_size": 2}})
    study.run(per_gpu="auto")
    shared, _, alone = study.trials()
    assert shared.profile == {"parameters": 7}
    assert (alone.profile or {})["latency_p50_ms"] == 1.5


@pytest.mark.slow
def test_on_slices_of_a_gpu_no_process_is_forked(make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-8f6e")
    study = make({"small": {"mb": 1000}})
    study.run()
    assert outcomes(study) == [Outcome.COMPLETED]
    assert "--start spawn" in study.output.getvalue()


def test_a_machine_without_a_gpu_works_as_before(home: Home, sqlite_ledger: Ledger) -> None:
    study = Standin(home, sqlite_ledger, {"a": {"seeds": [0, 1]}})
    study.pool(per_gpu="auto").run(None)
    assert outcomes(study) == [Outcome.COMPLETED] * 2
    assert "cannot be read" not in study.output.getvalue()
    assert not home.measurements.exists()
