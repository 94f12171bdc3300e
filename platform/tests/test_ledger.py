"""The life of a trial in the ledger, on SQLite and on PostgreSQL: claims, fences, values, results."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

import pytest

from posestudy.errors import LedgerError, NotFoundError
from posestudy.ledger import Ledger
from posestudy.ledger.records import AddCells, Checkpoint, Claim, CloseStage, CloseStudy, OpenStage, TrialRecord
from posestudy.testing import new_cell, put_small_study
from posestudy.vocabulary import AttemptEnd, Direction, Outcome, TrialState

STUDY = "small"
SHA = "0" * 64


def claim(ledger: Ledger, owner: str = "worker", lease_s: float = 60.0) -> Claim:
    granted = ledger.claim(STUDY, owner, lease_s)
    assert granted is not None
    return granted


def expired(ledger: Ledger, owner: str = "first") -> Claim:
    """A claim whose lease is over and whose worker is silent."""
    granted = claim(ledger, owner, lease_s=0.01)
    time.sleep(0.05)
    return granted


def trial(ledger: Ledger, number: int = 1) -> TrialRecord:
    return ledger.snapshot(STUDY).trials[number - 1]


def record(ledger: Ledger, granted: Claim, epoch: int, score: float, *, folder: str = "", **more: float) -> bool:
    checkpoint = Checkpoint(f"/runs/{folder or granted.trial.fence}/epoch_{epoch}.pth", SHA, epoch)
    values: Mapping[int, Mapping[str, float]] = {epoch: {"coco/AP": score, **more}}
    return ledger.record_epoch(granted.trial.uid, granted.trial.fence, values, checkpoint, 2.0)


def finish(
    ledger: Ledger, granted: Claim, outcome: Outcome = Outcome.COMPLETED, direction: Direction = Direction.MORE
) -> bool:
    return ledger.finish(
        granted.trial.uid,
        granted.trial.fence,
        outcome,
        None,
        metric="coco/AP",
        direction=direction,
        peak_memory_mb=10.0,
    )


def curve(ledger: Ledger) -> list[tuple[int, float, int]]:
    return [(v.epoch, v.metrics["coco/AP"], v.fence) for v in ledger.snapshot(STUDY).values]


def test_full_life_of_a_trial(ledger: Ledger) -> None:
    put_small_study(ledger)
    before = ledger.now()
    granted = claim(ledger)
    assert (granted.trial.number, granted.trial.fence, granted.cell.name) == (1, 1, "baseline")
    assert granted.stage.name == "first"
    assert granted.study.document["metric"] == "coco/AP"
    assert granted.values == ()
    uid = granted.trial.uid
    assert ledger.started(uid, 1, {"torch": "2", "host": "a"})
    assert ledger.started(uid, 1, {"device": "cpu", "host": "b"})
    assert ledger.renew(uid, 1, 60.0)
    for epoch, score in ((1, 0.1), (2, 0.4), (3, 0.3)):
        assert record(ledger, granted, epoch, score, loss=math.nan)
    assert ledger.decide(uid, 1, {"epoch": 3, "prune": False}, {"system_attrs": {"rung": 1}})
    assert finish(ledger, granted)

    done = trial(ledger)
    assert (done.state, done.outcome) == (TrialState.DONE, Outcome.COMPLETED)
    assert (done.final_epoch, done.final_value) == (3, 0.3)
    assert (done.best_epoch, done.best_value) == (2, 0.4)
    assert done.duration_s == pytest.approx(6.0)
    assert done.peak_memory_mb == 10.0
    assert done.provenance == {"torch": "2", "device": "cpu", "host": "b"}
    assert (done.ckpt_epoch, done.ckpt_path, done.prev_epoch) == (3, "/runs/1/epoch_3.pth", 2)
    assert done.decision == {"epoch": 3, "prune": False}
    assert done.optuna == {"system_attrs": {"rung": 1}}
    assert done.started is not None
    assert done.ended is not None
    assert before <= done.started <= done.ended <= ledger.now()
    snapshot = ledger.snapshot(STUDY)
    assert [math.isnan(v.metrics["loss"]) for v in snapshot.values] == [True] * 3
    assert [(a.fence, a.end) for a in snapshot.attempts] == [(1, AttemptEnd.FINISHED)]
    assert ledger.snapshot(STUDY, values=False).values == ()
    assert claim(ledger).trial.number == 2
    assert ledger.claim(STUDY, "worker", 60.0) is None


@pytest.mark.parametrize(
    ("direction", "best"), [(Direction.MORE, (2, 0.5)), (Direction.LESS, (1, 0.1))], ids=["more", "less"]
)
def test_best_follows_the_direction_and_ties_go_to_the_earlier_epoch(
    sqlite_ledger: Ledger, direction: Direction, best: tuple[int, float]
) -> None:
    put_small_study(sqlite_ledger)
    granted = claim(sqlite_ledger)
    for epoch, score in ((1, 0.1), (2, 0.5), (3, 0.5), (4, 0.1), (5, math.nan)):
        assert record(sqlite_ledger, granted, epoch, score)
    assert finish(sqlite_ledger, granted, direction=direction)
    done = trial(sqlite_ledger)
    assert (done.best_epoch, done.best_value) == best
    assert (done.final_epoch, done.final_value) == (4, 0.1)


def test_a_trial_that_never_was_evaluated_has_no_result_numbers(sqlite_ledger: Ledger) -> None:
    put_small_study(sqlite_ledger)
    granted = claim(sqlite_ledger)
    assert sqlite_ledger.record_epoch(granted.trial.uid, 1, {1: {"loss": 3.0}}, None, 1.0)
    assert finish(sqlite_ledger, granted, Outcome.DIVERGED)
    done = trial(sqlite_ledger)
    assert (done.final_value, done.final_epoch, done.best_value, done.best_epoch) == (None, None, None, None)


def test_an_expired_lease_is_taken_over_and_the_old_fence_is_refused_everywhere(ledger: Ledger) -> None:
    put_small_study(ledger, cells=("only",))
    old = expired(ledger)
    assert record(ledger, old, 1, 0.1)
    new = claim(ledger, "second")
    assert (new.trial.number, new.trial.fence) == (1, 2)
    assert [v.epoch for v in new.values] == [1]
    assert new.trial.ckpt_path == "/runs/1/epoch_1.pth"

    uid = old.trial.uid
    assert not ledger.renew(uid, 1, 60.0)
    assert not ledger.started(uid, 1, {"host": "a"})
    assert not ledger.decide(uid, 1, {"epoch": 1, "prune": True}, {})
    assert not ledger.release(uid, 1, AttemptEnd.PREEMPTED, "stop")
    assert not record(ledger, old, 2, 0.9)
    assert not record(ledger, old, 2, 0.9)
    assert not finish(ledger, old)
    assert not ledger.cancelled(uid, 1)

    assert curve(ledger) == [(1, 0.1, 1)]
    assert [(v.epoch, v.metrics["coco/AP"], v.fence) for v in ledger.late_values(uid)] == [(2, 0.9, 1)]
    row = trial(ledger)
    assert (row.state, row.owner, row.ckpt_epoch, row.decision) == (TrialState.RUNNING, "second", 1, None)
    assert row.provenance == {}
    lost, running = ledger.snapshot(STUDY).attempts
    assert (lost.end, running.end) == (AttemptEnd.LOST, None)
    assert lost.why is not None
    assert "second" in lost.why


def test_a_late_renewal_holds_while_nobody_else_took_the_trial(ledger: Ledger) -> None:
    put_small_study(ledger, cells=("only",))
    granted = expired(ledger)
    assert ledger.renew(granted.trial.uid, 1, 60.0)
    assert ledger.claim(STUDY, "second", 60.0) is None
    assert record(ledger, granted, 1, 0.1)


def test_a_trial_given_back_goes_on_from_its_checkpoint(ledger: Ledger) -> None:
    put_small_study(ledger, cells=("only",))
    first = claim(ledger, "first")
    assert record(ledger, first, 1, 0.1)
    assert ledger.release(first.trial.uid, 1, AttemptEnd.PREEMPTED, "SIGTERM")
    assert ledger.release(first.trial.uid, 1, AttemptEnd.PREEMPTED, "SIGTERM"), "the same call again changes nothing"
    assert trial(ledger).state is TrialState.WAITING
    second = claim(ledger, "second")
    assert (second.trial.fence, second.trial.ckpt_epoch) == (2, 1)
    assert record(ledger, second, 2, 0.2)
    assert finish(ledger, second)
    assert curve(ledger) == [(1, 0.1, 1), (2, 0.2, 2)]
    assert [a.end for a in ledger.snapshot(STUDY).attempts] == [AttemptEnd.PREEMPTED, AttemptEnd.FINISHED]


def test_replays_of_epochs_and_of_the_end_change_nothing(ledger: Ledger) -> None:
    put_small_study(ledger)
    granted = claim(ledger)
    for epoch in (1, 2, 1, 2):
        assert record(ledger, granted, epoch, epoch / 10, loss=math.inf)
    before = ledger.snapshot(STUDY)
    assert before.trials[0].duration_s == pytest.approx(4.0)
    assert (before.trials[0].ckpt_epoch, before.trials[0].prev_epoch) == (2, 1)
    assert finish(ledger, granted)
    ended = ledger.snapshot(STUDY)
    assert finish(ledger, granted), "the same end again under the same fence"
    assert record(ledger, granted, 2, 0.2, loss=math.inf), "an answer lost before the end"
    assert not finish(ledger, granted, Outcome.FAILED)
    assert not record(ledger, granted, 3, 0.9), "nothing new after the end"
    assert ledger.snapshot(STUDY) == ended
    assert ended.values == before.values


def test_two_different_numbers_of_one_attempt_for_one_epoch_keep_the_first(ledger: Ledger) -> None:
    put_small_study(ledger)
    granted = claim(ledger)
    assert record(ledger, granted, 1, 0.1)
    assert record(ledger, granted, 1, 0.7)
    assert curve(ledger) == [(1, 0.1, 1)]
    assert [v.metrics["coco/AP"] for v in ledger.late_values(granted.trial.uid)] == [0.7]


def test_an_attempt_that_falls_back_replaces_later_values_and_keeps_a_sound_fallback(ledger: Ledger) -> None:
    put_small_study(ledger, cells=("only",))
    first = claim(ledger, lease_s=0.01)
    for epoch in (1, 2, 3):
        assert record(ledger, first, epoch, epoch / 10)
    time.sleep(0.05)
    second = claim(ledger, "second")
    assert (second.trial.ckpt_epoch, second.trial.prev_epoch) == (3, 2)
    # epoch_3.pth was damaged: it starts from epoch 2 and trains the third again, with other numbers
    assert record(ledger, second, 3, 0.35)
    row = trial(ledger)
    assert (row.ckpt_path, row.prev_path) == ("/runs/2/epoch_3.pth", "/runs/1/epoch_2.pth")
    assert curve(ledger) == [(1, 0.1, 1), (2, 0.2, 1), (3, 0.35, 2)]
    assert [(v.epoch, v.metrics["coco/AP"], v.fence) for v in ledger.late_values(row.uid)] == [(3, 0.3, 1)]

    assert ledger.release(row.uid, 2, AttemptEnd.PREEMPTED, "stop")
    third = claim(ledger, "third")
    # both were damaged: from epoch 0 there is no fallback any more
    assert record(ledger, third, 1, 0.15)
    row = trial(ledger)
    assert (row.ckpt_path, row.ckpt_epoch, row.prev_path, row.prev_epoch) == ("/runs/3/epoch_1.pth", 1, None, 0)


def save(ledger: Ledger, granted: Claim, epoch: int, folder: str) -> bool:
    """A state saved in the middle of the epoch after `epoch`: no values, a file of its own."""
    checkpoint = Checkpoint(f"/runs/{folder}/state.pth", SHA, epoch)
    return ledger.record_epoch(granted.trial.uid, granted.trial.fence, {}, checkpoint, 0.5)


def resumes(row: TrialRecord) -> tuple[str | None, int, str | None, int]:
    return row.ckpt_path, row.ckpt_epoch, row.prev_path, row.prev_epoch


def test_a_state_saved_within_an_epoch_is_resumed_from_and_the_epoch_before_is_its_fallback(ledger: Ledger) -> None:
    put_small_study(ledger, cells=("only",))
    first = claim(ledger, "first")
    for epoch in (1, 2):
        assert record(ledger, first, epoch, epoch / 10)
    assert save(ledger, first, 2, "1")
    within = ("/runs/1/state.pth", 2, "/runs/1/epoch_2.pth", 2)
    assert resumes(trial(ledger)) == within
    before = trial(ledger)
    assert save(ledger, first, 2, "1"), "the same call again"
    assert record(ledger, first, 2, 0.2), "the call before once more: it knows less"
    assert record(ledger, first, 1, 0.1)
    assert trial(ledger) == before
    assert before.duration_s == pytest.approx(4.5)
    assert ledger.release(first.trial.uid, 1, AttemptEnd.PREEMPTED, "SIGTERM")

    second = claim(ledger, "second")
    assert resumes(second.trial) == within
    assert [v.epoch for v in second.values] == [1, 2]
    assert not save(ledger, first, 2, "late"), "an older fence"
    assert resumes(trial(ledger)) == within
    # Stopped once more before the epoch was over: whichever of the two it could read, the older one is sound.
    assert save(ledger, second, 2, "2")
    assert resumes(trial(ledger)) == ("/runs/2/state.pth", 2, "/runs/1/epoch_2.pth", 2)
    assert ledger.release(first.trial.uid, 2, AttemptEnd.PREEMPTED, "SIGTERM")

    third = claim(ledger, "third")
    assert record(ledger, third, 3, 0.3)
    assert resumes(trial(ledger)) == ("/runs/3/epoch_3.pth", 3, "/runs/1/epoch_2.pth", 2)
    assert save(ledger, third, 3, "3")
    assert resumes(trial(ledger)) == ("/runs/3/state.pth", 3, "/runs/3/epoch_3.pth", 3)
    assert record(ledger, third, 4, 0.4)
    assert resumes(trial(ledger)) == ("/runs/3/epoch_4.pth", 4, "/runs/3/state.pth", 3)
    assert trial(ledger).duration_s == pytest.approx(4.5 + 0.5 + 2.0 + 0.5 + 2.0)


def test_a_state_saved_within_the_first_epoch_is_handed_on(ledger: Ledger) -> None:
    put_small_study(ledger, cells=("only",))
    first = claim(ledger)
    assert save(ledger, first, 0, "1")
    assert save(ledger, first, 0, "1")
    assert ledger.release(first.trial.uid, 1, AttemptEnd.PREEMPTED, "SIGTERM")
    second = claim(ledger)
    assert resumes(second.trial) == ("/runs/1/state.pth", 0, None, 0)
    assert second.trial.duration_s == pytest.approx(0.5)
    assert record(ledger, second, 1, 0.1)
    assert resumes(trial(ledger)) == ("/runs/2/epoch_1.pth", 1, "/runs/1/state.pth", 0)


def test_an_attempt_that_began_anew_with_the_same_numbers_takes_no_unread_checkpoint_as_fallback(
    ledger: Ledger,
) -> None:
    put_small_study(ledger, cells=("only",))
    first = claim(ledger)
    for epoch in (1, 2, 3):
        assert record(ledger, first, epoch, epoch / 10)
    assert ledger.release(first.trial.uid, 1, AttemptEnd.PREEMPTED, "SIGTERM")
    second = claim(ledger)
    # Both checkpoints were damaged; the first it saves comes after four epochs, the numbers of three are as before.
    values = {epoch: {"coco/AP": epoch / 10} for epoch in (1, 2, 3, 4)}
    assert ledger.record_epoch(second.trial.uid, 2, values, Checkpoint("/runs/2/epoch_4.pth", SHA, 4), 8.0)
    assert resumes(trial(ledger)) == ("/runs/2/epoch_4.pth", 4, None, 0)


def test_killed_between_the_last_epoch_and_the_end_only_the_end_is_missing(ledger: Ledger) -> None:
    put_small_study(ledger, cells=("only",))
    first = claim(ledger, lease_s=0.01)
    for epoch in (1, 2, 3):
        assert record(ledger, first, epoch, epoch / 10)
    time.sleep(0.05)
    second = claim(ledger, "second")
    assert second.trial.ckpt_epoch == 3
    assert [v.epoch for v in second.values] == [1, 2, 3]
    assert finish(ledger, second)
    done = trial(ledger)
    assert (done.final_epoch, done.final_value, done.duration_s) == (3, 0.3, pytest.approx(6.0))
    assert curve(ledger) == [(1, 0.1, 1), (2, 0.2, 1), (3, 0.3, 1)]


def test_cancelling_a_running_trial_takes_its_fence(ledger: Ledger) -> None:
    put_small_study(ledger)
    granted = claim(ledger)
    assert ledger.cancel(STUDY, 1) == 1
    assert ledger.cancel(STUDY, 1) == 0
    assert not ledger.renew(granted.trial.uid, 1, 60.0)
    assert ledger.cancelled(granted.trial.uid, 1)
    assert not finish(ledger, granted)
    row = trial(ledger)
    assert (row.state, row.outcome) == (TrialState.DONE, Outcome.CANCELLED)
    assert ledger.study(STUDY).state == "open"
    with pytest.raises(NotFoundError, match="numbered 1 to 2"):
        ledger.cancel(STUDY, 9)


def test_cancelling_a_study_closes_it_and_retry_opens_it_again(ledger: Ledger) -> None:
    study = put_small_study(ledger)
    claim(ledger)
    assert ledger.cancel(STUDY) == 2
    assert ledger.study(STUDY).state == "closed"
    assert ledger.claim(STUDY, "worker", 60.0) is None
    assert not ledger.apply(study.id, [OpenStage(1, "second", "variants", None, {}, (new_cell("a"),))])
    assert ledger.retry(STUDY, [Outcome.FAILED]) == 0
    assert ledger.retry(STUDY, [Outcome.CANCELLED]) == 2
    assert ledger.study(STUDY).state == "open"
    assert claim(ledger).trial.fence == 3, "a fence is never granted twice"


def test_retry_starts_from_nothing_and_keeps_the_old_values_as_history(ledger: Ledger) -> None:
    put_small_study(ledger)
    granted = claim(ledger)
    for epoch in (1, 2):
        assert record(ledger, granted, epoch, 0.5)
    assert ledger.decide(granted.trial.uid, 1, {"epoch": 2, "prune": False}, {"system_attrs": {}})
    assert finish(ledger, granted, Outcome.DIVERGED)
    assert ledger.retry(STUDY, {Outcome.DIVERGED, Outcome.FAILED}) == 1
    row = trial(ledger)
    assert (row.state, row.outcome, row.ckpt_path, row.ckpt_epoch, row.fence) == (TrialState.WAITING, None, None, 0, 1)
    assert (row.best_value, row.duration_s, row.started, row.ended, row.decision) == (None,) * 5
    again = claim(ledger)
    assert (again.trial.number, again.trial.fence, again.values) == (1, 2, ())
    assert [v.epoch for v in ledger.late_values(row.uid)] == [1, 2]
    assert record(ledger, again, 1, 0.6)
    assert finish(ledger, again)
    assert trial(ledger).best_value == 0.6


def test_a_study_that_is_not_there_names_the_nearest(ledger: Ledger) -> None:
    put_small_study(ledger, name="cat_pose")
    for call in (ledger.study, ledger.snapshot, ledger.cancel):
        with pytest.raises(NotFoundError, match="did you mean 'cat_pose'"):
            call("cat_poes")
    with pytest.raises(NotFoundError, match="known studies: cat_pose"):
        ledger.claim("lspet", "worker", 60.0)


def test_putting_a_study_again_replaces_its_document_and_reopens_it_only_when_that_changed(ledger: Ledger) -> None:
    first = ledger.put_study("s", {"a": [1, {"b": None}]}, "a: 1")
    assert ledger.apply(first.id, [CloseStudy()])
    same = ledger.put_study("s", {"a": [1, {"b": None}]}, "a: 1 # a remark")
    assert (same.id, same.state, same.source, same.created) == (first.id, "closed", "a: 1 # a remark", first.created)
    assert ledger.put_study("s", {"a": 2}, "a: 2").state == "open"
    assert [s.name for s in ledger.studies()] == ["s"]


def test_a_message_with_bytes_no_database_holds_is_stored_readably(ledger: Ledger) -> None:
    put_small_study(ledger)
    granted = claim(ledger)
    message = "segfault\x00 at \udcff ok"
    finished = ledger.finish(
        granted.trial.uid, 1, Outcome.FAILED, message, metric="coco/AP", direction=Direction.MORE, peak_memory_mb=None
    )
    assert finished
    stored = trial(ledger).message
    assert stored is not None
    assert stored.startswith("segfault")
    assert stored.endswith("ok")


def test_a_number_json_cannot_hold_is_refused_in_the_same_words_on_both_backends(ledger: Ledger) -> None:
    put_small_study(ledger)
    granted = claim(ledger)
    with pytest.raises(LedgerError, match="cannot be stored"):
        ledger.decide(granted.trial.uid, 1, {"epoch": 1, "threshold": math.nan}, {})


def test_stages_grow_and_close_in_order(ledger: Ledger) -> None:
    study = put_small_study(ledger, seeds=(0, 1))
    stage = ledger.snapshot(STUDY).stages[0]
    assert ledger.apply(study.id, [AddCells(stage.id, stage.version, (new_cell("third"),))])
    assert not ledger.apply(study.id, [AddCells(stage.id, stage.version, (new_cell("fourth"),))])
    more_seeds = AddCells(stage.id, stage.version + 1, (new_cell("third", seeds=(0, 7)),))
    assert ledger.apply(study.id, [more_seeds])
    snapshot = ledger.snapshot(STUDY)
    names = {cell.id: cell.name for cell in snapshot.cells}
    assert [cell.ordinal for cell in snapshot.cells] == [0, 1, 2]
    assert [(t.number, names[t.cell_id], t.seed) for t in snapshot.trials] == [
        (1, "baseline", 0),
        (2, "baseline", 1),
        (3, "variant", 0),
        (4, "variant", 1),
        (5, "third", 0),
        (6, "third", 7),
    ]
    version = snapshot.stages[0].version
    following = OpenStage(1, "second", "grid", "baseline", {"epochs": 3}, (new_cell("baseline"),))
    assert ledger.apply(study.id, [CloseStage(stage.id, version, "variant", "it is best"), following])
    assert not ledger.apply(study.id, [following]), "UNIQUE(stage.study, ordinal)"
    assert not ledger.apply(study.id, [AddCells(stage.id, version + 1, (new_cell("late"),))]), "closed"
    assert not ledger.apply(study.id, [CloseStudy()]), "a stage is open"
    closed, opened = ledger.snapshot(STUDY).stages
    assert (closed.state, closed.carried, closed.carry_reason) == ("closed", "variant", "it is best")
    assert (opened.state, opened.baseline, opened.start) == ("open", "baseline", {"epochs": 3})
    assert [t.number for t in ledger.snapshot(STUDY).trials][-1] == 7


def test_what_was_computed_from_an_older_study_file_is_refused(ledger: Ledger) -> None:
    study = put_small_study(ledger)
    before = ledger.snapshot(STUDY).study.document
    following = OpenStage(1, "second", "grid", None, {}, (new_cell("a"),))
    edited = {**before, "reuse": "none"}
    ledger.put_study(STUDY, edited, "")
    # No stage has a version yet that would tell.
    assert not ledger.apply(study.id, [following], document=before)
    assert [stage.ordinal for stage in ledger.snapshot(STUDY).stages] == [0]
    assert ledger.apply(study.id, [following], document=ledger.snapshot(STUDY).study.document)


def test_changes_apply_whole_or_not_at_all(ledger: Ledger) -> None:
    study = put_small_study(ledger)
    stage = ledger.snapshot(STUDY).stages[0]
    before = ledger.snapshot(STUDY)
    good = AddCells(stage.id, stage.version, (new_cell("third"),))
    assert not ledger.apply(study.id, [good, OpenStage(0, "first", "grid", None, {}, (new_cell("x"),))])
    with pytest.raises(LedgerError, match="both named 'twin'"):
        ledger.apply(study.id, [good, AddCells(stage.id, stage.version, (new_cell("twin"), new_cell("twin")))])
    with pytest.raises(LedgerError, match="'nobody'"):
        ledger.apply(study.id, [good, CloseStage(stage.id, stage.version, "nobody", "")])
    assert ledger.snapshot(STUDY) == before


def test_a_leased_lock_has_one_holder_until_its_lease_is_over(ledger: Ledger) -> None:
    assert ledger.lock("projector", "a", 60.0)
    assert not ledger.lock("projector", "b", 60.0)
    ledger.unlock("projector", "b")
    assert not ledger.lock("projector", "b", 60.0)
    assert ledger.lock("projector", "a", 0.01), "its holder may take it again, here for a moment"
    time.sleep(0.05)
    assert ledger.lock("projector", "b", 60.0)
    assert not ledger.lock("projector", "a", 60.0)
    ledger.unlock("projector", "b")
    assert ledger.lock("projector", "a", 60.0)
