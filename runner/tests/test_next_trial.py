"""The trial that is expected next is the one that the ledger grants."""

from __future__ import annotations

import time
from dataclasses import replace

from posestudy.ledger import Ledger
from posestudy.ledger.records import OpenStage
from posestudy.testing import new_cell
from posestudy.vocabulary import AttemptEnd, Direction, Outcome
from posestudy_runner.next_trial import BESIDE_OTHERS, NextTrial, granted, next_trial

STUDY = "s"


def put(ledger: Ledger) -> None:
    """Cells of which the first and the third are trained alike, two seeds each."""
    cells = [new_cell(name, seeds=(0, 1)) for name in ("first", "other", "alike")]
    cells[0], cells[2] = (replace(cell, training_key="same") for cell in (cells[0], cells[2]))
    study = ledger.put_study(STUDY, {}, "")
    ledger.apply(study.id, [OpenStage(0, "only", "variants", "first", {}, tuple(cells))])


def expected(ledger: Ledger) -> NextTrial | None:
    return next_trial(ledger.snapshot(STUDY, values=False), ledger.now())


def test_it_is_the_one_that_is_granted_to_the_last(sqlite_ledger: Ledger) -> None:
    put(sqlite_ledger)
    order = []
    while True:
        told = expected(sqlite_ledger)
        claim = sqlite_ledger.claim(STUDY, "w", 60.0)
        assert (told and told.uid) == (claim and claim.trial.uid)
        if claim is None:
            break
        order.append(claim.trial.number)
    assert order == [1, 2, 3, 4], "5 and 6 wait for the weights of 1 and 2"


def test_a_finished_trial_frees_those_that_are_trained_alike(sqlite_ledger: Ledger) -> None:
    put(sqlite_ledger)
    claims = [sqlite_ledger.claim(STUDY, "w", 60.0) for _ in range(4)]
    second = claims[1]
    assert second is not None
    assert sqlite_ledger.finish(
        second.trial.uid, 1, Outcome.COMPLETED, None, metric="coco/AP", direction=Direction.MORE, peak_memory_mb=None
    )
    told, claim = expected(sqlite_ledger), sqlite_ledger.claim(STUDY, "w", 60.0)
    assert told is not None
    assert claim is not None
    assert (told.number, told.uid) == (6, claim.trial.uid)


def test_nobody_waits_for_one_that_paused(sqlite_ledger: Ledger) -> None:
    put(sqlite_ledger)
    claims = [sqlite_ledger.claim(STUDY, "w", 60.0) for _ in range(4)]
    first = claims[0]
    assert first is not None
    assert sqlite_ledger.pause(first.trial.uid, 1, "after epoch 1")
    told, claim = expected(sqlite_ledger), sqlite_ledger.claim(STUDY, "w", 60.0)
    assert told is not None
    assert claim is not None
    assert (told.number, told.uid) == (5, claim.trial.uid)
    assert expected(sqlite_ledger) is None


def test_a_lease_that_ran_out_frees_its_trial(sqlite_ledger: Ledger) -> None:
    put(sqlite_ledger)
    lost = sqlite_ledger.claim(STUDY, "dies", 0.01)
    time.sleep(0.1)
    told, claim = expected(sqlite_ledger), sqlite_ledger.claim(STUDY, "w", 60.0)
    assert lost is not None
    assert told is not None
    assert claim is not None
    assert told.uid == claim.trial.uid == lost.trial.uid


def test_one_that_ended_for_its_neighbours_is_to_be_alone_until_it_is_retried(sqlite_ledger: Ledger) -> None:
    put(sqlite_ledger)
    claim = sqlite_ledger.claim(STUDY, "w", 60.0)
    assert claim is not None
    sqlite_ledger.release(claim.trial.uid, 1, AttemptEnd.PREEMPTED, "stopped")
    assert expected(sqlite_ledger) == granted(sqlite_ledger.snapshot(STUDY), claim)
    claim = sqlite_ledger.claim(STUDY, "w", 60.0)
    assert claim is not None
    sqlite_ledger.release(claim.trial.uid, 2, AttemptEnd.PREEMPTED, f"{BESIDE_OTHERS} it ended")
    told = expected(sqlite_ledger)
    assert told is not None
    assert told.alone
    claim = sqlite_ledger.claim(STUDY, "w", 60.0)
    assert claim is not None
    assert granted(sqlite_ledger.snapshot(STUDY), claim).alone
    sqlite_ledger.finish(
        claim.trial.uid, 3, Outcome.OUT_OF_MEMORY, None, metric="coco/AP", direction=Direction.MORE, peak_memory_mb=None
    )
    sqlite_ledger.retry(STUDY, {Outcome.OUT_OF_MEMORY})
    told = expected(sqlite_ledger)
    assert told is not None
    assert (told.number, told.alone) == (1, False)
