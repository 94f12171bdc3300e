"""A task without a database: what it writes down is what the ledger gets, whenever and how often it is collected."""

from __future__ import annotations

from pathlib import Path

import pytest

from posestudy import journal
from posestudy.commands.app import main
from posestudy.durable import write_text
from posestudy.errors import LedgerUnavailableError
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import Checkpoint, Claim, TrialRecord
from posestudy.task_journal import LEASE_S, OWNER, collect, give, read, take_back_lost, waiting_for_launch
from posestudy.testing import put_small_study
from posestudy.vocabulary import AttemptEnd, Direction, Outcome, TrialState
from posestudy_runner.engines.trial_book import STRIDE, TrialBook

METRIC = "coco/AP"


@pytest.fixture
def held(ledger: Ledger) -> Claim:
    """The first trial of a small study, held for a task."""
    return held_in(ledger)


def held_in(ledger: Ledger) -> Claim:
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


def test_a_run_that_slurm_believes_dead_harms_nothing(home: Home, ledger: Ledger, held: Claim) -> None:
    """Its node is cut off: it writes on, while Slurm has run the task again on another node."""
    cut_off = opened(home, held)
    old = begun(cut_off)
    epoch(cut_off, home, old, 1)
    book = opened(home, held)
    trial = begun(book)
    assert not cut_off.renew(old.uid, old.fence, 1.0), "it did not see that the task runs again"
    assert not cut_off.record_epoch(old.uid, old.fence, {2: {METRIC: 0.9}}, None, 1.0)
    assert cut_off.claim("small", "node/1", 60.0) is None
    # Between its look and its word it may have been slow.
    assert cut_off._note(
        {"call": "record_epoch", "values": {"2": {METRIC: 0.7}}, "checkpoint": None, "duration_s": 1.0}
    )
    for number in (2, 3):
        epoch(book, home, trial, number)
    assert cut_off._note({"call": "release", "end": AttemptEnd.PREEMPTED, "why": "late"})
    assert finish(book, trial)
    assert list(collect(ledger, home)) == ["collected of 'small': trial 1 completed"]
    assert {v.epoch: v.metrics[METRIC] for v in ledger.snapshot("small").values} == {1: 0.1, 2: 0.2, 3: 0.3}
    assert opened(home, held).is_done


def test_of_two_runs_that_begin_at_once_one_has_the_trial(home: Home, held: Claim) -> None:
    one, other = opened(home, held), opened(home, held)
    begun(one)
    assert other.claim("small", "node/2", 60.0) is None
    assert other.is_done
    assert [trial.state for trial in other.snapshot("small").trials] == [TrialState.DONE], (
        "its worker would wait for ever"
    )
    assert not one.is_done


def test_a_disk_that_fails_as_a_run_begins_costs_no_run(
    home: Home, held: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = opened(home, held)

    def fails(path: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(journal, "JournalWriter", fails)
        with pytest.raises(LedgerUnavailableError, match="journal cannot be written"):
            book.claim("small", "node/1", 60.0)
    assert not book.is_done
    trial = begun(book)
    epoch(book, home, trial, 1)
    frames = read(home.task_journal("small", 1, held.trial.fence))
    assert [frame["call"] for frame in frames] == ["claim", "record_epoch"]


def test_a_task_whose_trial_was_cancelled_ends(
    home: Home, sqlite_ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger, held = sqlite_ledger, held_in(sqlite_ledger)
    book = opened(home, held)
    trial = begun(book)
    epoch(book, home, trial, 1)
    write_text(home.task_journal("small", 1, held.trial.fence).with_suffix(".task"), "7_0")
    assert not list(take_back_lost(ledger, home, "small")), "the trial is still the task's"
    assert main(["--home", str(home.root), "cancel", "small", "--trial", "1"]) == 0
    assert "trial 1 of 'small' is taken back from task 7_0 of Slurm" in capsys.readouterr().out
    assert not book.renew(trial.uid, trial.fence, 1.0)
    assert book.cancelled(trial.uid, trial.fence)
    assert [one.state for one in book.snapshot("small").trials] == [TrialState.DONE], "its worker would wait for ever"
    assert [value.epoch for value in ledger.snapshot("small").values] == [1], "what it had measured is lost"
    assert not list(take_back_lost(ledger, home, "small")), "it is told twice"
    give(home.task_journal("small", 1, held.trial.fence))
    assert not opened(home, held).is_done, "after a ledger is restored a task may have the same name once more"


def test_a_task_with_a_result_is_not_told_of(home: Home, ledger: Ledger, held: Claim) -> None:
    book = opened(home, held)
    trial = begun(book)
    assert finish(book, trial)
    write_text(home.task_journal("small", 1, held.trial.fence).with_suffix(".task"), "7_0")
    list(collect(ledger, home))
    assert not list(take_back_lost(ledger, home, "small"))
    ledger.retry("small", {Outcome.COMPLETED})
    assert not list(take_back_lost(ledger, home, "small"))


def test_whoever_collects_the_last_trial_is_told_what_to_do_next(home: Home, ledger: Ledger, held: Claim) -> None:
    book = opened(home, held)
    assert finish(book, begun(book))
    (trial,) = (trial for trial in ledger.snapshot("small").trials if trial.number != 1)
    ledger.cancel("small", trial.number)
    write_text(home.task_journal("small", 1, held.trial.fence).with_suffix(".task"), "7_0")
    assert not list(waiting_for_launch(ledger, home)), "what is not collected may be anything"
    list(collect(ledger, home))
    assert list(waiting_for_launch(ledger, home)) == [
        "all trials of 'small' that are known so far are done: launch it again, which begins what follows "
        "or closes the study"
    ]
    ledger.cancel("small", None)
    assert not list(waiting_for_launch(ledger, home)), "the study is closed"


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
