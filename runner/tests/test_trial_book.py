"""A task without a database: what it writes down is what the ledger gets, whenever and how often it is collected."""

from __future__ import annotations

from pathlib import Path

import pytest

from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import Checkpoint, Claim, TrialRecord
from posestudy.task_journal import LEASE_S, OWNER, collect
from posestudy.testing import put_small_study
from posestudy.vocabulary import AttemptEnd, Direction, Outcome, TrialState
from posestudy_runner.engines.trial_book import STRIDE, TrialBook

METRIC = "coco/AP"


@pytest.fixture
def held(ledger: Ledger) -> Claim:
    """The first trial of a small study, held for a task."""
    put_small_study(ledger)
    claim = ledger.claim("small", f"{OWNER}login", LEASE_S)
    assert claim is not None
    return claim


def opened(home: Home, held: Claim) -> TrialBook:
    return TrialBook(held, home.task_journal("small", held.trial.number, held.trial.fence))


def begun(book: TrialBook) -> TrialRecord:
    claim = book.claim("small", "node/1", 60.0)
    assert claim is not None
    return claim.trial


def checkpoint(home: Home, trial: TrialRecord, name: str, epoch: int) -> Checkpoint:
    path = home.attempt("small", trial.number, trial.fence).folder / name
    return Checkpoint(str(path), f"{epoch:064d}", epoch)


def epoch(book: TrialBook, home: Home, trial: TrialRecord, number: int) -> None:
    saved = checkpoint(home, trial, f"epoch_{number}.pth", number)
    assert book.record_epoch(trial.uid, trial.fence, {number: {METRIC: number / 10}}, saved, 2.0)


def gives_way(book: TrialBook, home: Home, trial: TrialRecord, number: int) -> None:
    """Saved within the epoch after `number`, and released."""
    assert book.record_epoch(trial.uid, trial.fence, {}, checkpoint(home, trial, "preempted.pth", number), 1.0)
    assert book.release(trial.uid, trial.fence, AttemptEnd.PREEMPTED, "Slurm sent SIGUSR1")


def finish(book: TrialBook, trial: TrialRecord) -> bool:
    return book.finish(
        trial.uid, trial.fence, Outcome.COMPLETED, None, metric=METRIC, direction=Direction.MORE, peak_memory_mb=9.0
    )


def now(ledger: Ledger, held: Claim) -> TrialRecord:
    return next(trial for trial in ledger.snapshot("small").trials if trial.uid == held.trial.uid)


def test_a_trial_of_many_runs_is_collected_as_one(home: Home, ledger: Ledger, held: Claim) -> None:
    book = opened(home, held)
    trial = begun(book)
    assert book.started(trial.uid, trial.fence, {"threads": 2})
    epoch(book, home, trial, 1)
    assert list(collect(ledger, home)) == ["collected of 'small': trial 1 up to epoch 1"]
    for _ in range(3):
        gives_way(book, home, trial, 1)
        book.close()
        book = opened(home, held)
        trial = begun(book)
        assert list(collect(ledger, home)) == []
    assert trial.fence == held.trial.fence + 3 * STRIDE
    assert trial.ckpt_path == str(home.attempt("small", 1, trial.fence - STRIDE).preempted)
    for number in (2, 3):
        epoch(book, home, trial, number)
    assert finish(book, trial)
    assert book.claim("small", "node/2", 60.0) is None
    assert list(collect(ledger, home)) == ["collected of 'small': trial 1 completed"]
    assert list(collect(ledger, home)) == []
    done = now(ledger, held)
    assert (done.state, done.outcome, done.final_value, done.best_epoch) == (
        TrialState.DONE, Outcome.COMPLETED, 0.3, 3,
    )  # fmt: skip
    assert (done.duration_s, done.peak_memory_mb, done.provenance["threads"]) == (9.0, 9.0, 2)
    found = ledger.snapshot("small")
    assert [(value.epoch, value.fence) for value in found.values] == [(1, 1), (2, 3001), (3, 3001)]
    told = [(a.fence, a.end, a.why) for a in found.attempts if a.trial_uid == done.uid]
    gave_way = (AttemptEnd.PREEMPTED, "Slurm sent SIGUSR1")
    assert told == [(1, *gave_way), (1001, *gave_way), (2001, *gave_way), (3001, AttemptEnd.FINISHED, None)]


def test_a_task_that_was_killed_goes_on_from_its_journal(home: Home, held: Claim) -> None:
    book = opened(home, held)
    epoch(book, home, begun(book), 1)
    again = opened(home, held)
    (attempt,) = again.snapshot("small").attempts
    assert (attempt.end, attempt.why) == (AttemptEnd.LOST, "the task was killed")
    trial = begun(again)
    assert (trial.ckpt_epoch, trial.fence) == (1, held.trial.fence + STRIDE)
    assert not book.renew(trial.uid, trial.fence, 1.0)


def test_what_a_cancelled_trial_wrote_is_no_result(home: Home, ledger: Ledger, held: Claim) -> None:
    book = opened(home, held)
    trial = begun(book)
    epoch(book, home, trial, 1)
    ledger.cancel("small", 1)
    assert finish(book, trial)
    assert list(collect(ledger, home, "small")) == []
    assert now(ledger, held).outcome is Outcome.CANCELLED
    assert not ledger.snapshot("small").values


def test_a_torn_journal_gives_what_is_whole(home: Home, ledger: Ledger, held: Claim) -> None:
    book = opened(home, held)
    trial = begun(book)
    epoch(book, home, trial, 1)
    epoch(book, home, trial, 2)
    book.close()
    path: Path = home.task_journal("small", 1, held.trial.fence)
    path.write_bytes(path.read_bytes()[:-3])
    assert list(collect(ledger, home)) == ["collected of 'small': trial 1 up to epoch 1"]


def test_nobody_else_gets_a_held_trial(ledger: Ledger, held: Claim) -> None:
    other = ledger.claim("small", "node/1", 60.0)
    assert other is not None
    assert other.trial.number == 2
    assert ledger.claim("small", "node/1", 60.0) is None
