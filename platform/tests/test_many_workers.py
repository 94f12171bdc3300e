"""32 worker processes on one ledger, judged by what each of them wrote down itself and not by the tables."""

from __future__ import annotations

import json
import multiprocessing
import random
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from posestudy.ledger import Ledger
from posestudy.ledger.records import Change, Checkpoint, Claim, CloseStage, CloseStudy, OpenStage, Snapshot
from posestudy.testing import new_cell
from posestudy.vocabulary import AttemptEnd, Direction, Outcome, TrialState

STUDY = "crowd"
WORKERS = 32
STAGES, CELLS, SEEDS, EPOCHS = 2, 17, 2, 2
TRIALS = STAGES * CELLS * SEEDS


@dataclass
class Witness:
    """What one process was told, line by line in a file of its own."""

    path: Path

    def says(self, what: str, **facts: Any) -> None:
        with self.path.open("a") as stream:
            stream.write(json.dumps({"what": what, **facts}) + "\n")


def steps(snapshot: Snapshot) -> list[Change]:
    """The next stage once all trials of the last are done."""
    if any(trial.state is not TrialState.DONE for trial in snapshot.trials):
        return []
    following = len(snapshot.stages)
    changes: list[Change] = []
    if snapshot.stages:
        last = snapshot.stages[-1]
        if last.state == "closed":
            return [CloseStudy()]
        changes.append(CloseStage(last.id, last.version, f"s{last.ordinal}c0", "it is the first"))
    if following < STAGES:
        cells = tuple(new_cell(f"s{following}c{index}", seeds=tuple(range(SEEDS))) for index in range(CELLS))
        changes.append(OpenStage(following, f"stage{following}", "grid", cells[0].name, {}, cells))
    return changes


def train(ledger: Ledger, witness: Witness, granted: Claim, chance: random.Random) -> None:
    uid, fence, number = granted.trial.uid, granted.trial.fence, granted.trial.number
    witness.says("granted", uid=uid, fence=fence, number=number, start=granted.trial.ckpt_epoch)
    for epoch in range(granted.trial.ckpt_epoch + 1, EPOCHS + 1):
        score = chance.random()
        path = f"/runs/{number}/{fence}/{epoch}.pth"
        assert ledger.record_epoch(uid, fence, {epoch: {"coco/AP": score}}, Checkpoint(path, "0" * 64, epoch), 1.0)
        witness.says("recorded", uid=uid, epoch=epoch, score=score, fence=fence)
        if chance.random() < 0.1:
            assert ledger.release(uid, fence, AttemptEnd.PREEMPTED, "stop")
            witness.says("released", uid=uid, fence=fence)
            return
    assert ledger.finish(
        uid, fence, Outcome.COMPLETED, None, metric="coco/AP", direction=Direction.MORE, peak_memory_mb=None
    )
    witness.says("finished", uid=uid)


def work(url: str, index: int, folder: Path) -> None:
    chance, witness = random.Random(index), Witness(folder / f"{index}.jsonl")
    ledger = Ledger.open(url)
    study = ledger.put_study(STUDY, {"metric": "coco/AP", "reuse": "none"}, "")
    while True:
        granted = ledger.claim(STUDY, f"w{index}", 600.0)
        if granted is not None:
            train(ledger, witness, granted, chance)
            continue
        snapshot = ledger.snapshot(STUDY, values=False)
        if snapshot.study.state == "closed":
            break
        changes = steps(snapshot)
        if changes and ledger.apply(study.id, changes):
            witness.says("advanced", stages=len(snapshot.stages), kind=type(changes[-1]).__name__)
        time.sleep(0.02 * chance.random())
    ledger.close()


@pytest.mark.slow
def test_32_processes_lose_nothing_and_do_nothing_twice(ledger_url: str, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=work, args=(ledger_url, index, tmp_path)) for index in range(WORKERS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(400)
    assert [process.exitcode for process in processes] == [0] * WORKERS, "a database that is busy is no error"
    seen: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in tmp_path.glob("*.jsonl"):
        for line in path.read_text().splitlines():
            fact = json.loads(line)
            seen[fact["what"]].append(fact)

    grants = Counter((fact["uid"], fact["fence"]) for fact in seen["granted"])
    assert set(grants.values()) == {1}, "no right is granted twice"
    assert sorted({fact["number"] for fact in seen["granted"]}) == list(range(1, TRIALS + 1)), "no cell is lost"
    finished = Counter(fact["uid"] for fact in seen["finished"])
    assert (len(finished), set(finished.values())) == (TRIALS, {1})
    assert len(grants) == TRIALS + len(seen["released"])
    recorded = Counter((fact["uid"], fact["epoch"]) for fact in seen["recorded"])
    assert recorded == Counter((uid, epoch) for uid in finished for epoch in range(1, EPOCHS + 1))
    advanced = Counter((fact["stages"], fact["kind"]) for fact in seen["advanced"])
    opened = {(stages, "OpenStage"): 1 for stages in range(STAGES)}
    del advanced[STAGES, "CloseStudy"]  # the last of all: those who say it twice say the same
    assert advanced == {**opened, (STAGES, "CloseStage"): 1}
    assert len({fact["uid"] for fact in seen["released"]}) > 3, "some were handed on"

    ledger = Ledger.open(ledger_url)
    snapshot = ledger.snapshot(STUDY)
    ledger.close()
    told = {(fact["uid"], fact["epoch"]): (fact["score"], fact["fence"]) for fact in seen["recorded"]}
    assert {(v.trial_uid, v.epoch): (v.metrics["coco/AP"], v.fence) for v in snapshot.values} == told
    assert {trial.outcome for trial in snapshot.trials} == {Outcome.COMPLETED}
