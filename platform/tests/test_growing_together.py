"""A study that several processes advance while users cancel, retry and edit it, judged by counts known beforehand."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest

from posestudy.errors import NotFoundError
from posestudy.ledger import Ledger, stages
from posestudy.ledger.records import (
    AddCells,
    Change,
    Checkpoint,
    CloseStage,
    CloseStudy,
    Json,
    NewCell,
    OpenStage,
    Snapshot,
    WithdrawStages,
)
from posestudy.testing import new_cell
from posestudy.vocabulary import Direction, Outcome, TrialState

STUDY = "contested"
FIRST, SECOND = 8, 5
EDITS = 4


def document(edit: int) -> Json:
    """After the last edit: `FIRST` cells in the first stage, `SECOND` in the second."""
    return {"metric": "coco/AP", "reuse": "none", "second": SECOND - EDITS + edit}


def cell(stage: str, index: int, actor: int) -> NewCell:
    # The name tells who added it, so that two that added the same one are seen; the key does not.
    made = new_cell(f"{stage}{index}", seeds=(0, 1))
    return NewCell(f"{made.name}-by{actor}", "", "", made.key, {}, made.config, made.seeds)


def step(snapshot: Snapshot, actor: int) -> list[Change]:
    if not snapshot.stages:
        return [OpenStage(0, "first", "search", None, {}, (cell("first", 0, actor),))]
    stage = snapshot.stages[-1]
    cells = [c for c in snapshot.cells if c.stage_id == stage.id]
    if stage.ordinal == 0 and stage.state == "open" and len(cells) < FIRST:
        return [AddCells(stage.id, stage.version, (cell("first", len(cells), actor),))]
    if any(trial.state is not TrialState.DONE for trial in snapshot.trials):
        return []
    if stage.state == "closed":
        return [CloseStudy()]
    close = CloseStage(stage.id, stage.version, cells[0].name, "")
    if stage.ordinal == 1:
        return [close]
    second = tuple(cell("second", index, actor) for index in range(snapshot.study.document["second"]))
    return [close, OpenStage(1, "second", "grid", None, {}, second)]


class Crowd:
    """Actors on one study, each a thread with a ledger of its own, started together."""

    def __init__(self, url: str, seed: int) -> None:
        self.url, self.seed = url, seed
        self.over = threading.Event()
        self.grants: list[tuple[str, int]] = []
        self.errors: list[BaseException] = []

    def run(self, *actors: Callable[[Ledger, random.Random, int], None]) -> None:
        threads = [threading.Thread(target=self._act, args=(actor, index)) for index, actor in enumerate(actors)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(400)
        assert self.errors == []

    def _act(self, actor: Callable[[Ledger, random.Random, int], None], index: int) -> None:
        ledger = Ledger.open(self.url)
        try:
            actor(ledger, random.Random(self.seed * 100 + index), index)
        except BaseException as error:  # noqa: BLE001 - shown by the test's own thread
            self.errors.append(error)
            self.over.set()
        finally:
            ledger.close()

    def advance(self, ledger: Ledger, chance: random.Random, index: int) -> None:
        while not self.over.is_set():
            snapshot = ledger.snapshot(STUDY, values=False)
            changes = step(snapshot, index)
            time.sleep(0.01 * chance.random())
            if changes:
                ledger.apply(snapshot.study.id, changes, document=snapshot.study.document)

    def work(self, ledger: Ledger, chance: random.Random, index: int) -> None:
        while not self.over.is_set():
            granted = ledger.claim(STUDY, f"w{index}", 60.0)
            if granted is None:
                time.sleep(0.01)
                continue
            uid, fence = granted.trial.uid, granted.trial.fence
            self.grants.append((uid, fence))
            for epoch in range(granted.trial.ckpt_epoch + 1, 3):
                time.sleep(0.005 * chance.random())
                checkpoint = Checkpoint(f"/runs/{uid}/{fence}/{epoch}", "0" * 64, epoch)
                if not ledger.record_epoch(uid, fence, {epoch: {"coco/AP": epoch / 10}}, checkpoint, 1.0):
                    break
            else:
                ledger.finish(
                    uid, fence, Outcome.COMPLETED, None,
                    metric="coco/AP", direction=Direction.MORE, peak_memory_mb=None,
                )  # fmt: skip

    def meddle(self, ledger: Ledger, chance: random.Random, _: int) -> None:
        for edit in range(EDITS + 1):
            for _ in range(4):
                time.sleep(0.03 * chance.random())
                try:
                    ledger.cancel(STUDY, chance.choice([1, 2, 3, 5, 8, 13, None]))
                except NotFoundError as error:
                    assert "no trial" in str(error)  # noqa: PT017 - none of that number yet
                ledger.retry(STUDY, [Outcome.CANCELLED])
            ledger.put_study(STUDY, document(edit), "", withdraw=WithdrawStages(chance.choice([0, 1])))

    def settle(self, ledger: Ledger, _: random.Random, __: int) -> None:
        """Wait until nothing is left to do, taking back what was cancelled."""
        while not self.over.is_set():
            ledger.retry(STUDY, [Outcome.CANCELLED])
            if ledger.study(STUDY).state == "closed":
                self.over.set()
            time.sleep(0.05)


def tell(ledger_url: str, seed: int) -> None:
    """Let them all at one study and count what is left of it."""
    ledger = Ledger.open(ledger_url)
    ledger.put_study(STUDY, document(0), "")
    crowd = Crowd(ledger_url, seed)

    def meddle_and_settle(mine: Ledger, chance: random.Random, index: int) -> None:
        crowd.meddle(mine, chance, index)
        crowd.settle(mine, chance, index)

    crowd.run(crowd.advance, crowd.advance, crowd.advance, crowd.work, crowd.work, meddle_and_settle)
    snapshot = ledger.snapshot(STUDY)
    ledger.close()
    assert set(Counter(crowd.grants).values()) == {1}
    assert [(stage.ordinal, stage.state) for stage in snapshot.stages] == [(0, "closed"), (1, "closed")]
    names = [cell.name.split("-")[0] for cell in snapshot.cells]
    wanted = [*(f"first{index}" for index in range(FIRST)), *(f"second{index}" for index in range(SECOND))]
    assert names == wanted, "each cell once, whoever added it"
    replicates = Counter((trial.cell_id, trial.seed) for trial in snapshot.trials)
    assert replicates == Counter((cell.id, seed) for cell in snapshot.cells for seed in (0, 1))
    numbers = [trial.number for trial in snapshot.trials]
    assert len(set(numbers)) == len(numbers) == 2 * (FIRST + SECOND)
    assert {trial.outcome for trial in snapshot.trials} == {Outcome.COMPLETED}
    curves = Counter(value.trial_uid for value in snapshot.values)
    assert curves == {trial.uid: 2 for trial in snapshot.trials}
    open_attempts = [a for a in snapshot.attempts if a.end is None]
    assert open_attempts == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1])
def test_whoever_meddles_the_study_ends_as_its_last_file_says(ledger_url: str, seed: int) -> None:
    tell(ledger_url, seed)


@pytest.mark.slow
def test_an_advance_that_does_not_compare_versions_is_caught_by_these_counts(
    ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    careful = stages._Growth._touch

    def careless(growth: stages._Growth, stage_id: int, version: int, changes: Json, **options: bool) -> None:
        growth._versions[stage_id] = version
        careful(growth, stage_id, version, changes, **options)

    monkeypatch.setattr(stages._Growth, "_touch", careless)
    with pytest.raises(AssertionError):
        tell(ledger_url, 1)
