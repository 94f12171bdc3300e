"""A pool on a real ledger with stand-in trials: what the pool tests share."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import Change, Claim, CloseStage, CloseStudy, NewCell, OpenStage, Snapshot, TrialRecord
from posestudy.vocabulary import TrialState, Verdict
from posestudy_runner.context import PoolOptions
from posestudy_runner.devices import Device
from posestudy_runner.display import LineDisplay
from posestudy_runner.order import TrialOrder
from posestudy_runner.pool import Goal, Pool
from posestudy_runner.slots import Slot
from posestudy_runner.steering import Steering
from posestudy_runner.worker import Worker

STUDY = "standin"
METRIC = "coco/AP"


def advance(snapshot: Snapshot) -> list[Change]:
    """One stage with the cells of the document; closed when all are done."""
    if not snapshot.stages:
        cells = tuple(new_cell(name, config) for name, config in snapshot.study.document["cells"].items())
        return [OpenStage(0, "only", "variants", cells[0].name, {}, cells)]
    stage = snapshot.stages[0]
    if stage.state == "closed":
        return [CloseStudy()]
    if any(trial.state is not TrialState.DONE for trial in snapshot.trials):
        return []
    return [CloseStage(stage.id, stage.version, snapshot.cells[0].name, "it is the first")]


def new_cell(name: str, config: dict[str, Any]) -> NewCell:
    key = hashlib.sha256(json.dumps([name, config]).encode()).hexdigest()
    return NewCell(name, name, "", key, {}, {"epochs": 4, **config}, tuple(config.get("seeds", [0])))


def never(snapshot: Snapshot, uid: str, epoch: int) -> tuple[Verdict, dict[str, Any]]:
    return Verdict.GO, {}


@pytest.fixture(autouse=True)
def importable_standins(monkeypatch: pytest.MonkeyPatch) -> None:
    """The forkserver is a fresh interpreter, which in Python 3.11 does not take over `sys.path`."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


@dataclass
class Standin:
    """A study of stand-in trials in `home`."""

    home: Home
    ledger: Ledger
    cells: dict[str, dict[str, Any]]
    steering: Steering = field(default_factory=lambda: Steering(advance, lambda claim: False, never))
    output: io.StringIO = field(default_factory=io.StringIO)
    limit_s: float | None = None
    budget_s: float | None = None

    def __post_init__(self) -> None:
        self.ledger.put_study(STUDY, {"cells": self.cells}, "")

    def pool(self, **options: Any) -> Pool:
        chosen = {
            "target": "standin_trials:train",
            "preload": "standin_preload",
            "poll_s": 0.1,
            "lease_s": 30.0,
            "projects": False,
            **options,
        }
        display = LineDisplay(Console(file=self.output, width=400), METRIC)
        goal = Goal(STUDY, METRIC, "more", self.limit_s, self.budget_s)
        return Pool(self.ledger, self.home, goal, self.steering, display, PoolOptions(**chosen))

    def trials(self) -> list[TrialRecord]:
        return list(self.ledger.snapshot(STUDY).trials)

    def values(self, trial: TrialRecord) -> dict[int, float]:
        snapshot = self.ledger.snapshot(STUDY)
        return {v.epoch: v.metrics[METRIC] for v in snapshot.values if v.trial_uid == trial.uid}

    def attempts(self, trial: TrialRecord) -> list[str]:
        attempts = [a for a in self.ledger.snapshot(STUDY).attempts if a.trial_uid == trial.uid]
        return [str(a.end) for a in sorted(attempts, key=lambda a: a.fence)]

    def folder(self, number: int, fence: int) -> Path:
        return self.home.attempt(STUDY, number, fence).folder


def in_background(pool: Pool, workers: int = 1) -> threading.Thread:
    """`pool.run` in a thread; its exception, if any, is kept in `thread.error`."""
    thread = threading.Thread(target=_run, args=(pool, workers), name="pool")
    thread.error = None  # type: ignore[attr-defined]
    thread.start()
    return thread


def _run(pool: Pool, workers: int) -> None:
    try:
        pool.run(workers)
    except Exception as error:  # noqa: BLE001 - shown by the test
        threading.current_thread().error = error  # type: ignore[attr-defined]


def ordered(home: Home, ledger: Ledger, claim: Claim, *, threads: int) -> TrialOrder:
    """What a worker with a CPU slot asks of the trial process for `claim`."""
    context: Any = SimpleNamespace(
        ledger=ledger, study=STUDY, home=home, metric=METRIC, direction="more", trial_limit_s=None,
        options=PoolOptions(), steering=SimpleNamespace(prunes=lambda claim: False), profiles={},
    )  # fmt: skip
    return Worker(context, Slot(0, Device("cpu", "cpu"), threads)).order(claim)


def until(condition: Callable[[], Any], limit_s: float = 400.0, *, told: Callable[[], str] = str) -> Any:
    """The first true answer of `condition`; where it does not come, the failure shows what `told` returns then."""
    ends = time.monotonic() + limit_s
    while not (answer := condition()):
        if time.monotonic() > ends:
            raise TimeoutError(f"what the test waits for did not happen; {told()}")
        time.sleep(0.02)
    return answer


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
