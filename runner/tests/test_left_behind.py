"""What died with its worker before it was in the ledger is taken over by the next one, not trained again."""

from __future__ import annotations

from pathlib import Path

import pytest
from standin_pool import METRIC, STUDY, Standin, advance, importable_standins, in_background, until
from standin_saving import saved_within
from standin_trials import metric, save

from posestudy.home import Home
from posestudy.journal import JournalWriter
from posestudy.ledger import Ledger
from posestudy.ledger.records import Checkpoint, Claim
from posestudy.vocabulary import Outcome, Verdict
from posestudy_runner import left_behind
from posestudy_runner.order import TrialOrder, checkpoints
from posestudy_runner.outcomes import Ending
from posestudy_runner.steering import Steering
from posestudy_runner.worker import Worker

__all__ = ["importable_standins"]

SEED_0 = {1: 0.01, 2: 0.02, 3: 0.03, 4: 0.04}


def claimed(study: Standin, lease_s: float = 30.0) -> Claim:
    ledger = study.ledger
    if not study.trials():
        ledger.apply(ledger.study(STUDY).id, advance(ledger.snapshot(STUDY)))
    claim = ledger.claim(STUDY, "a worker that is gone", lease_s)
    assert claim is not None
    return claim


def order_of(study: Standin, claim: Claim) -> TrialOrder:
    trial = claim.trial
    return TrialOrder(
        target="",
        study_name=STUDY,
        study={},
        training=claim.cell.config,
        stage="only",
        cell=claim.cell.name,
        uid=trial.uid,
        number=trial.number,
        fence=trial.fence,
        seed=trial.seed,
        metric=METRIC,
        direction="more",
        epochs=claim.cell.config["epochs"],
        folder=str(study.folder(trial.number, trial.fence)),
        device="cpu",
        threads=1,
    )


def epoch_frame(order: TrialOrder, epoch: int, *, checkpoint: bool = True) -> dict:
    saved = save(order, epoch) if checkpoint else None
    values = {METRIC: metric(order, epoch), "loss": 1.0 / epoch}
    return {"type": "epoch", "epoch": epoch, "metrics": values, "checkpoint": saved, "duration_s": 0.5}


def leave(study: Standin, claim: Claim, *frames: dict) -> None:
    """The attempt wrote this and died with its worker."""
    with JournalWriter(order_of(study, claim).paths.journal) as journal:
        for frame in frames:
            journal.append(frame)
    study.ledger.release(claim.trial.uid, claim.trial.fence, "lost", "the power was cut")


def begun_at(study: Standin, fence: int) -> int:
    return int((study.folder(1, fence) / "from_epoch").read_text())


def test_epochs_that_only_the_journal_has_are_not_trained_again(home: Home, sqlite_ledger: Ledger) -> None:
    study = Standin(home, sqlite_ledger, {"a": {}})
    claim = claimed(study)
    order = order_of(study, claim)
    first = epoch_frame(order, 1)
    sqlite_ledger.record_epoch(claim.trial.uid, 1, {1: first["metrics"]}, Checkpoint(**first["checkpoint"]), 0.5)
    leave(study, claim, first, epoch_frame(order, 2), epoch_frame(order, 3))
    study.pool().run(1)
    (trial,) = study.trials()
    assert begun_at(study, 2) == 3
    assert (trial.outcome, study.values(trial), trial.duration_s) == (Outcome.COMPLETED, SEED_0, 2.0)
    assert {v.epoch: v.fence for v in sqlite_ledger.snapshot(STUDY).values} == {1: 1, 2: 2, 3: 2, 4: 2}
    assert sqlite_ledger.late_values(trial.uid) == ()


def test_what_is_damaged_ends_what_is_taken_over(home: Home, sqlite_ledger: Ledger) -> None:
    """The checkpoint after epoch 3 is torn; the journal ends in the middle of a frame."""
    study = Standin(home, sqlite_ledger, {"a": {}})
    claim = claimed(study)
    order = order_of(study, claim)
    leave(study, claim, *(epoch_frame(order, epoch) for epoch in (1, 2, 3)))
    order.paths.checkpoint(3).write_bytes(b"torn")
    with order.paths.journal.open("ab") as journal:
        journal.write(b"\x20\x00\x00\x00half a fr")
    study.pool().run(1)
    (trial,) = study.trials()
    assert begun_at(study, 2) == 2
    assert (trial.outcome, study.values(trial)) == (Outcome.COMPLETED, SEED_0)


def test_a_journal_damaged_in_its_middle_counts_up_to_there(home: Home, sqlite_ledger: Ledger) -> None:
    study = Standin(home, sqlite_ledger, {"a": {}})
    claim = claimed(study)
    order = order_of(study, claim)
    frames = [epoch_frame(order, epoch) for epoch in (1, 2, 3)]
    leave(study, claim, frames[0])
    intact = order.paths.journal.stat().st_size
    with JournalWriter(order.paths.journal) as journal:
        journal.append(frames[1])
        journal.append(frames[2])
    data = bytearray(order.paths.journal.read_bytes())
    data[intact + 20] ^= 1
    order.paths.journal.write_bytes(data)
    study.pool().run(1)
    assert begun_at(study, 2) == 1
    assert study.values(study.trials()[0]) == SEED_0


def test_a_folder_that_cannot_be_read_costs_no_more_than_what_was_in_it(home: Home, sqlite_ledger: Ledger) -> None:
    study = Standin(home, sqlite_ledger, {"a": {}})
    claim = claimed(study)
    order_of(study, claim).paths.journal.mkdir(parents=True)
    sqlite_ledger.release(claim.trial.uid, 1, "lost", "the power was cut")
    study.pool().run(1)
    assert study.values(study.trials()[0]) == SEED_0


def test_the_attempt_that_got_furthest_is_taken_up(home: Home, sqlite_ledger: Ledger) -> None:
    study = Standin(home, sqlite_ledger, {"a": {}})
    for ends in (2, 3, 1):
        claim = claimed(study)
        order = order_of(study, claim)
        leave(study, claim, *(epoch_frame(order, epoch) for epoch in range(1, ends + 1)))
    study.pool().run(1)
    assert begun_at(study, 4) == 3


def test_what_a_frozen_workers_trial_trained_beside_its_successor_is_not_mixed_in(
    home: Home, sqlite_ledger: Ledger
) -> None:
    study = Standin(home, sqlite_ledger, {"a": {}})
    first = claimed(study)
    order = order_of(study, first)
    leave(study, first)
    second = claimed(study)
    mine = epoch_frame(order_of(study, second), 1)
    saved = Checkpoint(**mine["checkpoint"])
    assert study.ledger.record_epoch(second.trial.uid, second.trial.fence, {1: mine["metrics"]}, saved, 0.5)
    leave(study, second, mine)
    with JournalWriter(order.paths.journal) as journal:
        for epoch in (1, 2, 3):
            journal.append(epoch_frame(order, epoch))
    study.pool().run(1)
    assert begun_at(study, 3) == 1
    assert study.values(study.trials()[0]) == SEED_0


def test_epochs_between_two_checkpoints_come_with_the_second(home: Home, sqlite_ledger: Ledger) -> None:
    study = Standin(home, sqlite_ledger, {"a": {}})
    claim = claimed(study)
    order = order_of(study, claim)
    frames = [epoch_frame(order, epoch, checkpoint=epoch == 2) for epoch in (1, 2, 3)]
    leave(study, claim, *frames)
    study.pool().run(1)
    (trial,) = study.trials()
    assert begun_at(study, 2) == 2
    assert (study.values(trial), trial.duration_s) == (SEED_0, 2.0)


def test_a_gap_is_not_jumped(home: Home, sqlite_ledger: Ledger) -> None:
    study = Standin(home, sqlite_ledger, {"a": {}})
    claim = claimed(study)
    order = order_of(study, claim)
    leave(study, claim, epoch_frame(order, 1), epoch_frame(order, 3))
    study.pool().run(1)
    assert begun_at(study, 2) == 1


def test_a_retry_forgets_what_was_before_it(home: Home, sqlite_ledger: Ledger) -> None:
    study = Standin(home, sqlite_ledger, {"a": {}})
    claim = claimed(study)
    order = order_of(study, claim)
    with JournalWriter(order.paths.journal) as journal:
        for epoch in (1, 2):
            journal.append(epoch_frame(order, epoch))
    ending = {"metric": METRIC, "direction": "more", "peak_memory_mb": None}
    sqlite_ledger.finish(claim.trial.uid, 1, Outcome.FAILED, "it did", **ending)
    sqlite_ledger.retry(STUDY, {Outcome.FAILED})
    # And what came after it counts.
    again = claimed(study)
    leave(study, again, epoch_frame(order_of(study, again), 1))
    study.pool().run(1)
    assert begun_at(study, 3) == 1
    assert study.values(study.trials()[0]) == SEED_0


def test_an_epoch_the_pruner_has_not_seen_is_trained_again(home: Home, sqlite_ledger: Ledger) -> None:
    asked: list[int] = []

    def at_three(snapshot: object, uid: str, epoch: int) -> tuple[Verdict, dict]:
        asked.append(epoch)
        return Verdict.PRUNE if epoch == 3 else Verdict.GO, {}

    study = Standin(home, sqlite_ledger, {"a": {}}, Steering(advance, lambda claim: True, at_three))
    claim = claimed(study)
    order = order_of(study, claim)
    sqlite_ledger.decide(claim.trial.uid, 1, {"epoch": 1, "prune": False}, {})
    leave(study, claim, *(epoch_frame(order, epoch) for epoch in (1, 2, 3)))
    study.pool().run(1)
    (trial,) = study.trials()
    assert begun_at(study, 2) == 1
    assert asked == [2, 3]
    assert (trial.outcome, set(study.values(trial))) == (Outcome.PRUNED, {1, 2, 3})


def test_a_use_of_the_test_split_is_written_down_once(home: Home, sqlite_ledger: Ledger) -> None:
    study = Standin(home, sqlite_ledger, {"a": {}})
    use = {"id": "0" * 32, "purpose": "submission", "images": 3, "instances": 4, "sha256": "0" * 64}
    for _ in range(2):
        leave(study, claimed(study), {"type": "tested", "use": use})
    study.pool().run(1)
    assert [u.images for u in sqlite_ledger.test_uses(STUDY)] == [3]


def test_a_floor_that_an_adopted_epoch_missed_ends_the_trial(
    home: Home, sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Standin(home, sqlite_ledger, {"a": {}})
    document = {"cells": study.cells, "floor": {"value": 0.5, "epoch": 2}}
    sqlite_ledger.put_study(STUDY, document, "")
    claim = claimed(study)
    order = order_of(study, claim)
    leave(study, claim, epoch_frame(order, 1), epoch_frame(order, 2))
    orders: list[TrialOrder] = []

    class Asked(Worker):
        def order(self, claim: Claim, cores: int | None = None) -> TrialOrder:
            orders.append(super().order(claim, cores))
            raise RuntimeError("that is all")

    monkeypatch.setattr("posestudy_runner.pool.Worker", Asked)
    with pytest.raises(RuntimeError, match="that is all"):
        study.pool().run(1)
    assert (orders[0].until, [c.epoch for c in orders[0].resume]) == (2, [2])
    assert "floor" in (orders[0].missed or "")


def attempts_lost(study: Standin, why: str, times: int) -> None:
    for _ in range(times):
        claim = claimed(study)
        study.ledger.release(claim.trial.uid, claim.trial.fence, "lost", why)


def test_a_machine_that_loses_its_power_does_not_fail_a_trial(home: Home, sqlite_ledger: Ledger) -> None:
    study = Standin(home, sqlite_ledger, {"a": {}})
    attempts_lost(study, "the worker host/boot/1/1/0 died", 5)
    study.pool().run(1)
    assert study.trials()[0].outcome is Outcome.COMPLETED


def test_deaths_of_the_trial_itself_count_across_a_power_cut(home: Home, sqlite_ledger: Ledger) -> None:
    study = Standin(home, sqlite_ledger, {"a": {"behaviour": "die_always"}})
    attempts_lost(study, "the trial process died (signal 11)", 1)
    attempts_lost(study, "the lease of a ran out, b took over", 1)
    study.pool().run(1)
    (trial,) = study.trials()
    assert trial.outcome is Outcome.FAILED
    assert study.attempts(trial) == ["lost"] * 4 + ["finished"]


def test_a_folder_of_a_later_history_is_set_aside(home: Home, sqlite_ledger: Ledger) -> None:
    """The ledger was put back from a backup: the fence it grants now has a folder already."""
    study = Standin(home, sqlite_ledger, {"a": {}})
    folder = study.folder(1, 1)
    with JournalWriter(folder / "journal") as journal:
        journal.append({"type": "epoch", "epoch": 1, "metrics": {METRIC: 9.0}, "checkpoint": None, "duration_s": 1.0})
    study.pool().run(1)
    assert study.values(study.trials()[0]) == SEED_0
    assert [p.name for p in folder.parent.iterdir() if p.name.startswith("1.before.")]


def test_a_checkpoint_from_the_middle_of_an_epoch_is_where_the_next_attempt_begins(
    home: Home, sqlite_ledger: Ledger
) -> None:
    study = Standin(home, sqlite_ledger, {"a": {}})
    pool = study.pool(target="standin_saving:train")
    thread = in_background(pool)
    until(lambda: study.trials() and study.values(study.trials()[0]))
    pool.stop.request("the test asks")
    thread.join(400)
    (trial,) = study.trials()
    assert (trial.ckpt_epoch, Path(trial.ckpt_path or "").name) == (1, "in_epoch_2.pth")
    assert (study.attempts(trial), trial.duration_s) == (["preempted"], 0.75)
    study.pool(target="standin_saving:train").run(1)
    (trial,) = study.trials()
    assert (study.folder(1, 2) / "from").read_text() == "in_epoch_2.pth"
    assert (trial.outcome, study.values(trial)) == (Outcome.COMPLETED, SEED_0)


def end_frame(order: TrialOrder, epoch: int) -> dict:
    """The attempt gave way in the middle of `epoch`, whose part it saved."""
    return Ending(None, "SIGTERM", checkpoint=saved_within(order, epoch), duration_s=0.25).frame()


def test_what_a_preempted_trial_saved_is_taken_over_although_its_worker_died_before_it_said_so(
    home: Home, sqlite_ledger: Ledger
) -> None:
    study = Standin(home, sqlite_ledger, {"a": {}})
    claim = claimed(study)
    order = order_of(study, claim)
    leave(study, claim, epoch_frame(order, 1), end_frame(order, 2))
    study.pool(target="standin_saving:train").run(1)
    (trial,) = study.trials()
    assert (study.folder(1, 2) / "from").read_text() == "in_epoch_2.pth"
    assert (trial.outcome, study.values(trial)) == (Outcome.COMPLETED, SEED_0)
    assert trial.duration_s == 0.5 + 0.25 + 3 * 0.5


def test_a_damaged_state_from_within_an_epoch_leaves_the_epochs_before_it(home: Home, sqlite_ledger: Ledger) -> None:
    study = Standin(home, sqlite_ledger, {"a": {}})
    claim = claimed(study)
    order = order_of(study, claim)
    leave(study, claim, epoch_frame(order, 1), epoch_frame(order, 2), end_frame(order, 3))
    (order.paths.folder / "in_epoch_3.pth").write_text("torn")
    study.pool(target="standin_saving:train").run(1)
    (trial,) = study.trials()
    assert (study.folder(1, 2) / "from").read_text() == "epoch_2.pth"
    assert (study.values(trial), trial.duration_s) == (SEED_0, 2.0)


def adopted(study: Standin) -> Claim:
    claim = claimed(study)
    found = left_behind.adopt(study.ledger, study.home, claim, METRIC, False)
    assert found is not None
    return found


def resumes_from(study: Standin, claim: Claim) -> list[str]:
    """Of the claim and of the ledger, which say the same."""
    (trial,) = study.trials()
    known = [path for path in (trial.ckpt_path, trial.prev_path) if path]
    assert [saved.path for saved in checkpoints(claim)] == known
    assert trial.duration_s == claim.trial.duration_s
    return [str(Path(path).relative_to(study.folder(1, 1).parent)) for path in known]


def test_epochs_without_a_checkpoint_come_with_what_was_saved_within_the_next(
    home: Home, sqlite_ledger: Ledger
) -> None:
    study = Standin(home, sqlite_ledger, {"a": {}})
    claim = claimed(study)
    order = order_of(study, claim)
    frames = [epoch_frame(order, epoch, checkpoint=epoch == 1) for epoch in (1, 2)]
    leave(study, claim, *frames, end_frame(order, 3))
    now = adopted(study)
    assert resumes_from(study, now) == ["1/in_epoch_3.pth", "1/epoch_1.pth"]
    assert (study.values(study.trials()[0]), now.trial.duration_s) == ({1: 0.01, 2: 0.02}, 1.25)


def test_a_saved_state_is_taken_over_once_and_no_older_one_after_it(home: Home, sqlite_ledger: Ledger) -> None:
    study = Standin(home, sqlite_ledger, {"a": {}})
    claim = claimed(study)
    leave(study, claim, end_frame(order_of(study, claim), 1))
    first = adopted(study)
    assert resumes_from(study, first) == ["1/in_epoch_1.pth"]
    leave(study, first, end_frame(order_of(study, first), 1))
    second = adopted(study)
    assert resumes_from(study, second) == ["2/in_epoch_1.pth", "1/in_epoch_1.pth"]
    leave(study, second)
    third = adopted(study)
    assert resumes_from(study, third) == ["2/in_epoch_1.pth", "1/in_epoch_1.pth"]
    assert third.trial.duration_s == 0.5


def test_the_time_of_epochs_the_ledger_knows_is_not_counted_again(home: Home, sqlite_ledger: Ledger) -> None:
    """Their values came by pipe; the checkpoint that holds them did not."""
    study = Standin(home, sqlite_ledger, {"a": {}})
    claim = claimed(study)
    order = order_of(study, claim)
    frames = [epoch_frame(order, epoch, checkpoint=epoch == 3) for epoch in (1, 2, 3)]
    for frame in frames[:2]:
        sqlite_ledger.record_epoch(claim.trial.uid, 1, {frame["epoch"]: frame["metrics"]}, None, 0.5)
    leave(study, claim, *frames)
    now = adopted(study)
    assert resumes_from(study, now) == ["1/epoch_3.pth"]
    assert now.trial.duration_s == 1.5
