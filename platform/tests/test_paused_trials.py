"""Trials that pause in the ledger, on SQLite and on PostgreSQL: fences, promotions, and every hand laid on them."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from posestudy.commands.status import as_json, as_text, exit_code
from posestudy.errors import LedgerError, NotFoundError
from posestudy.ledger import Ledger, migrate, standings
from posestudy.ledger.records import (
    Change,
    Checkpoint,
    Claim,
    CloseStage,
    CloseStudy,
    EndPaused,
    NewCell,
    OpenStage,
    Promote,
    TrialRecord,
    WithdrawStages,
)
from posestudy.testing import new_cell
from posestudy.vocabulary import AttemptEnd, Direction, Outcome, TrialState

STUDY, METRIC, SHA = "searched", "coco/AP", "0" * 64
QUESTION = {"params": {"lr": 0.1}, "distributions": {"lr": "float"}}
WHY = "after epoch 5, until it is among the best there"


@pytest.fixture
def study_id(ledger: Ledger) -> int:
    """A study with an open stage of three cells, all of which are trained for twenty epochs."""
    study = ledger.put_study(STUDY, {"study": STUDY, "metric": METRIC, "reuse": "none"}, "")
    assert ledger.apply(study.id, [opened(*map(cell, ("baseline", "a", "b")))])
    return study.id


def cell(name: str) -> NewCell:
    return replace(new_cell(name), optuna=QUESTION)


def opened(*cells: NewCell) -> OpenStage:
    return OpenStage(0, "find", "search", cells[0].name, {}, cells)


def trained(ledger: Ledger, owner: str = "worker", lease_s: float = 60.0) -> Claim:
    """A claimed trial that has five epochs and was told to pause."""
    claim = ledger.claim(STUDY, owner, lease_s)
    assert claim is not None
    uid, fence, number = claim.trial.uid, claim.trial.fence, claim.trial.number
    for epoch in (2, 5):
        saved = Checkpoint(f"/runs/{number}/{fence}/{epoch}.pth", SHA, epoch)
        assert ledger.record_epoch(uid, fence, {epoch: {METRIC: 0.1 * number + 0.5 - epoch / 10}}, saved, 2.0)
    assert ledger.decide(uid, fence, {"epoch": 5, "prune": False, "pause": True}, QUESTION)
    return claim


def paused(ledger: Ledger) -> TrialRecord:
    claim = trained(ledger)
    assert ledger.pause(claim.trial.uid, claim.trial.fence, WHY, peak_memory_mb=7.0)
    return trial(ledger, claim.trial.number)


def trial(ledger: Ledger, number: int) -> TrialRecord:
    return next(t for t in ledger.snapshot(STUDY).trials if t.number == number)


def attempts(ledger: Ledger, number: int) -> list[tuple[AttemptEnd | None, str | None]]:
    uid = trial(ledger, number).uid
    return [(a.end, a.why) for a in ledger.snapshot(STUDY).attempts if a.trial_uid == uid]


def stage_end(ledger: Ledger) -> EndPaused:
    (stage,) = ledger.snapshot(STUDY).stages
    return EndPaused(stage.id, stage.version, METRIC, Direction.MORE)


def test_a_paused_trial_keeps_what_it_has_and_is_granted_to_nobody(ledger: Ledger, study_id: int) -> None:
    one = paused(ledger)
    assert (one.state, one.outcome, one.owner, one.lease_until) == (TrialState.PAUSED, None, None, None)
    assert (one.ckpt_path, one.ckpt_epoch, one.prev_epoch, one.peak_memory_mb) == ("/runs/1/1/5.pth", 5, 2, 7.0)
    assert attempts(ledger, 1) == [(AttemptEnd.PAUSED, WHY)]
    granted = [ledger.claim(STUDY, "other", 60.0) for _ in range(3)]
    assert [c.trial.number if c else None for c in granted] == [2, 3, None]


def test_an_outdated_fence_pauses_nothing(ledger: Ledger, study_id: int) -> None:
    old = trained(ledger, "first", 0.01)
    time.sleep(0.05)
    new = ledger.claim(STUDY, "second", 60.0)
    assert new is not None
    assert new.trial.uid == old.trial.uid
    assert new.trial.is_to_pause
    assert not ledger.pause(old.trial.uid, old.trial.fence, WHY)
    assert trial(ledger, 1).state is TrialState.RUNNING
    assert ledger.pause(new.trial.uid, new.trial.fence, WHY)
    assert [end for end, _ in attempts(ledger, 1)] == [AttemptEnd.LOST, AttemptEnd.PAUSED]


def test_a_pause_whose_answer_was_lost_is_told_again(ledger: Ledger, study_id: int) -> None:
    one = paused(ledger)
    assert ledger.pause(one.uid, one.fence, "another reason")
    assert attempts(ledger, 1) == [(AttemptEnd.PAUSED, WHY)]
    assert ledger.record_epoch(one.uid, one.fence, {5: {METRIC: 0.1 + 0.5 - 0.5}}, None, 2.0)
    assert not ledger.record_epoch(one.uid, one.fence, {6: {METRIC: 0.9}}, None, 2.0)
    assert not ledger.renew(one.uid, one.fence, 60.0)
    assert not ledger.release(one.uid, one.fence, AttemptEnd.PREEMPTED, "too late")
    ending = {"metric": METRIC, "direction": Direction.MORE, "peak_memory_mb": None}
    assert not ledger.finish(one.uid, one.fence, Outcome.COMPLETED, None, **ending)
    assert trial(ledger, 1).state is TrialState.PAUSED
    assert [v.epoch for v in ledger.late_values(one.uid)] == [6]


def test_a_promoted_trial_goes_on_from_its_checkpoint(ledger: Ledger, study_id: int) -> None:
    one = paused(ledger)
    assert one.is_to_pause
    assert ledger.apply(study_id, [Promote(one.uid, one.fence)])
    waiting = trial(ledger, 1)
    assert waiting.state is TrialState.WAITING
    assert waiting.decision == {"epoch": 5, "prune": False}
    assert not waiting.is_to_pause
    claim = ledger.claim(STUDY, "next", 60.0)
    assert claim is not None
    assert (claim.trial.uid, claim.trial.fence, claim.trial.ckpt_epoch) == (one.uid, 2, 5)
    assert [v.epoch for v in claim.values] == [2, 5]


def test_a_promotion_is_of_one_pause_only(ledger: Ledger, study_id: int) -> None:
    first = paused(ledger)
    change = Promote(first.uid, first.fence)
    assert ledger.apply(study_id, [change])
    assert not ledger.apply(study_id, [change])
    claim = ledger.claim(STUDY, "next", 60.0)
    assert claim is not None
    assert not ledger.apply(study_id, [change])
    assert ledger.decide(first.uid, 2, {"epoch": 15, "prune": False, "pause": True}, QUESTION)
    assert ledger.pause(first.uid, 2, WHY)
    # Whoever still holds the old snapshot would take it past the next rung.
    assert not ledger.apply(study_id, [change])
    assert trial(ledger, 1).state is TrialState.PAUSED


def test_many_who_read_the_same_promote_once(ledger: Ledger, study_id: int) -> None:
    trials = [paused(ledger) for _ in range(3)]
    told: list[bool] = []
    start = threading.Barrier(6)

    def promote() -> None:
        start.wait()
        told.extend([ledger.apply(study_id, [Promote(one.uid, one.fence)]) for one in trials])

    threads = [threading.Thread(target=promote) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(400)
    assert sorted(told) == [False] * 15 + [True] * 3
    fences = [claim.trial.fence for _ in range(4) if (claim := ledger.claim(STUDY, "next", 60.0)) is not None]
    assert fences == [2, 2, 2]


def test_another_studys_trial_is_not_promoted(ledger: Ledger, study_id: int) -> None:
    one = paused(ledger)
    other = ledger.put_study("other", {"study": "other", "metric": METRIC}, "")
    assert not ledger.apply(other.id, [Promote(one.uid, one.fence)])


def test_the_paused_end_with_their_stage(ledger: Ledger, study_id: int) -> None:
    paused(ledger)
    done = trained(ledger)
    ending = {"metric": METRIC, "direction": Direction.MORE, "peak_memory_mb": None}
    assert ledger.finish(done.trial.uid, 1, Outcome.COMPLETED, None, **ending)
    paused(ledger)
    end = stage_end(ledger)
    assert ledger.apply(study_id, [end])
    assert not ledger.apply(study_id, [end])
    one, two, three = (trial(ledger, number) for number in (1, 2, 3))
    assert (one.state, one.outcome, one.message) == (TrialState.DONE, Outcome.PRUNED, "pruned after epoch 5")
    assert (one.final_value, one.final_epoch) == (pytest.approx(0.1), 5)
    assert (one.best_value, one.best_epoch) == (pytest.approx(0.4), 2)
    # What it took is told at the time it took it, as in the figure of the budget.
    assert one.ended == next(a.ended for a in ledger.snapshot(STUDY).attempts if a.trial_uid == one.uid)
    assert two.outcome is Outcome.COMPLETED
    assert three.outcome is Outcome.PRUNED
    (stage,) = ledger.snapshot(STUDY).stages
    assert ledger.apply(study_id, [CloseStage(stage.id, stage.version, "a", "best"), CloseStudy()])


def test_a_study_does_not_close_over_a_paused_trial(ledger: Ledger, study_id: int) -> None:
    paused(ledger)
    assert ledger.cancel(STUDY, 2) == 1
    assert ledger.cancel(STUDY, 3) == 1
    (stage,) = ledger.snapshot(STUDY).stages
    changes: Sequence[Change] = [CloseStage(stage.id, stage.version, None, "none"), CloseStudy()]
    assert not ledger.apply(study_id, changes)


def test_a_paused_trial_can_be_cancelled(ledger: Ledger, study_id: int) -> None:
    one = paused(ledger)
    assert ledger.cancel(STUDY) == 3
    assert (trial(ledger, 1).outcome, trial(ledger, 1).fence) == (Outcome.CANCELLED, 2)
    assert not ledger.apply(study_id, [Promote(one.uid, one.fence)])
    assert attempts(ledger, 1) == [(AttemptEnd.PAUSED, WHY)]


def test_what_ended_paused_can_be_tried_from_the_start(ledger: Ledger, study_id: int) -> None:
    paused(ledger)
    assert ledger.apply(study_id, [stage_end(ledger)])
    assert ledger.retry(STUDY, [Outcome.PRUNED]) == 1
    again = trial(ledger, 1)
    assert (again.state, again.ckpt_epoch, again.decision) == (TrialState.WAITING, 0, None)


def test_who_pauses_in_a_closed_stage_after_a_retry_ends_there(ledger: Ledger, study_id: int) -> None:
    for _ in range(3):
        paused(ledger)
    assert ledger.apply(study_id, [stage_end(ledger)])
    (stage,) = ledger.snapshot(STUDY).stages
    assert ledger.apply(study_id, [CloseStage(stage.id, stage.version, "a", "best"), CloseStudy()])
    assert ledger.retry(STUDY, [Outcome.PRUNED]) == 3
    again = [paused(ledger) for _ in range(3)]
    assert ledger.apply(study_id, [stage_end(ledger), CloseStudy()])
    assert [trial(ledger, one.number).outcome for one in again] == [Outcome.PRUNED] * 3


def test_a_posestudy_from_before_pauses_refuses_the_ledger_in_a_sentence(
    ledger: Ledger, ledger_url: str, study_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused(ledger)
    before = migrate.KNOWN_REVISIONS[: migrate.KNOWN_REVISIONS.index("0004") + 1]
    monkeypatch.setattr(migrate, "KNOWN_REVISIONS", before)
    for module in (migrate, standings):
        monkeypatch.setattr(module, "REVISION", before[-1])
    with pytest.raises(LedgerError, match=r"newer posestudy: found schema .*this one knows up to 0004"):
        Ledger.open(ledger_url)
    if ledger_url.startswith("sqlite"):
        # `status` asks the file itself, and leaves it to the ledger to say what is wrong.
        assert standings.of_file(Path(ledger_url.removeprefix("sqlite:///")), STUDY) is None


@pytest.mark.parametrize("same_question", [True, False])
def test_a_withdrawn_pause_answers_the_same_question_only(ledger: Ledger, study_id: int, same_question: bool) -> None:
    one = paused(ledger)
    assert ledger.apply(study_id, [WithdrawStages(0)])
    assert ledger.apply(study_id, [opened(cell("baseline") if same_question else new_cell("baseline"))])
    back = trial(ledger, 1)
    assert (back.uid, back.state, back.ckpt_epoch) == (one.uid, TrialState.WAITING, 5)
    assert back.is_to_pause is same_question


@pytest.mark.parametrize("pruner", ["asha", "none"])
def test_what_ended_paused_goes_on_from_its_checkpoint_where_an_edited_study_prunes_nothing(
    ledger: Ledger, pruner: str
) -> None:
    document = {"study": STUDY, "metric": METRIC, "reuse": "none", "stages": [{"pruner": {"type": "asha"}}]}
    study = ledger.put_study(STUDY, document, "")
    assert ledger.apply(study.id, [opened(cell("baseline"))])
    one = paused(ledger)
    end = stage_end(ledger)
    assert ledger.apply(study.id, [end])
    (stage,) = ledger.snapshot(STUDY).stages
    assert ledger.apply(study.id, [CloseStage(stage.id, stage.version, None, "none"), CloseStudy()])
    edited = {**document, "stages": [{"pruner": {"type": pruner}}]}
    ledger.put_study(STUDY, edited, "", withdraw=WithdrawStages(0))
    assert ledger.apply(study.id, [opened(cell("baseline"))])
    back = trial(ledger, 1)
    assert (back.uid, back.ckpt_path, back.ckpt_epoch) == (one.uid, one.ckpt_path, 5)
    if pruner == "asha":
        assert (back.state, back.outcome, back.final_epoch) == (TrialState.DONE, Outcome.PRUNED, 5)
        return
    assert (back.state, back.outcome, back.decision, back.final_value) == (TrialState.WAITING, None, None, None)
    claim = ledger.claim(STUDY, "next", 60.0)
    assert claim is not None
    assert [value.epoch for value in claim.values] == [2, 5]


def test_nobody_waits_for_the_weights_of_a_paused_trial(ledger: Ledger) -> None:
    study = ledger.put_study(STUDY, {"study": STUDY, "metric": METRIC, "reuse": "none"}, "")
    alike = [replace(cell(name), training_key="alike") for name in ("baseline", "a")]
    assert ledger.apply(study.id, [opened(*alike)])
    claim = trained(ledger)
    assert ledger.claim(STUDY, "other", 60.0) is None
    assert ledger.pause(claim.trial.uid, 1, WHY)
    other = ledger.claim(STUDY, "other", 60.0)
    assert other is not None
    assert other.trial.number == 2


def test_status_counts_the_paused_and_says_that_the_study_is_open(ledger: Ledger, study_id: int) -> None:
    paused(ledger)
    (standing,) = ledger.standings(STUDY)
    assert "1 paused, 2 waiting" in as_text(standing)
    assert as_json(standing)["trials"][0]["state"] == "PAUSED"
    assert exit_code(standing) == 1
    assert ledger.counts(STUDY) == {TrialState.PAUSED: 1, TrialState.WAITING: 2}
    with pytest.raises(NotFoundError):
        ledger.counts("another")


@pytest.mark.postgres
def test_a_copy_brings_a_paused_trial_back_as_it_is(sqlite_ledger: Ledger, tmp_path: Path, postgres_url: str) -> None:
    ledger = sqlite_ledger
    study = ledger.put_study(STUDY, {"study": STUDY, "metric": METRIC, "reuse": "none"}, "")
    assert ledger.apply(study.id, [opened(cell("baseline"))])
    paused(ledger)
    ledger.copy_to(tmp_path / "copy.db")
    restored = Ledger.open(postgres_url)
    try:
        restored.fill_from(tmp_path / "copy.db", lambda path: f"/moved{path}", "restored")
        back = trial(restored, 1)
        assert (back.state, back.ckpt_path, back.fence) == (TrialState.PAUSED, "/moved/runs/1/1/5.pth", 1000)
        assert restored.apply(study.id, [Promote(back.uid, back.fence)])
    finally:
        restored.close()
