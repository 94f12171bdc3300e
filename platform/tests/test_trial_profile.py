"""What a trial's network costs to run, from the ledger to MLflow: written under its fence, carried over, shown."""

from __future__ import annotations

from dataclasses import replace

import pytest
from projection_study import DOCUMENT, METRIC, PROFILE, begin, cell, create, epoch, finish, train

from posestudy.ledger import Ledger
from posestudy.ledger.records import OpenStage, TrialRecord
from posestudy.projections.run_card import RunCard, cards
from posestudy.vocabulary import Outcome


def trial(ledger: Ledger, study: str = "cats", number: int = 1) -> TrialRecord:
    return next(t for t in ledger.snapshot(study).trials if t.number == number)


def card(ledger: Ledger) -> RunCard:
    return next(c for c in cards(ledger.snapshot("cats")) if c.number == 1)


def profiled(ledger: Ledger) -> None:
    create(ledger)
    claim = begin(ledger)
    epoch(ledger, claim, 1, 0.3)
    assert ledger.profiled(claim.trial.uid, claim.trial.fence, PROFILE)
    finish(ledger, claim)


def test_a_profile_is_kept_as_it_was_measured(ledger: Ledger) -> None:
    profiled(ledger)
    assert trial(ledger).profile == PROFILE
    assert trial(ledger, number=2).profile is None
    assert trial(ledger).final_value == 0.3, "it is no value of the trial"
    assert all("profile" not in name for v in ledger.snapshot("cats").values for name in v.metrics)


def test_a_lost_fence_writes_no_profile(ledger: Ledger) -> None:
    create(ledger)
    claim = begin(ledger)
    assert not ledger.profiled(claim.trial.uid, claim.trial.fence + 1, PROFILE)
    finish(ledger, claim)
    assert not ledger.profiled(claim.trial.uid, claim.trial.fence, PROFILE)
    assert trial(ledger).profile is None


def test_a_retried_trial_is_profiled_anew(ledger: Ledger) -> None:
    create(ledger)
    claim = begin(ledger)
    assert ledger.profiled(claim.trial.uid, claim.trial.fence, PROFILE)
    finish(ledger, claim, Outcome.FAILED, "no")
    assert ledger.retry("cats", {Outcome.FAILED}) == 1
    assert trial(ledger).profile is None


def test_a_reused_result_brings_its_profile_along(ledger: Ledger) -> None:
    profiled(ledger)
    record = ledger.put_study("again", {**DOCUMENT, "study": "again", "metric": METRIC, "reuse": "home"}, "")
    first = replace(cell("other", {}, {"model": "resnet_tiny"}), key="baseline".ljust(64, "0"))
    assert ledger.apply(record.id, [OpenStage(0, "one", "variants", "other", {}, (first,))])
    reused = trial(ledger, "again")
    assert reused.source is not None
    assert reused.profile == PROFILE


def test_mlflow_shows_the_numbers_and_says_on_what_they_were_measured(sqlite_ledger: Ledger) -> None:
    profiled(sqlite_ledger)
    shown = card(sqlite_ledger)
    points = {p.key: p for p in shown.summary if p.key.startswith("profile/")}
    assert {key: p.value for key, p in points.items()} == {
        "profile/parameters": 62009.0,
        "profile/trainable_parameters": 62009.0,
        "profile/gmacs": 0.0056,
        "profile/gflops": 0.0112,
        "profile/latency_p50_ms": 3.5,
        "profile/latency_p95_ms": 4.25,
        "profile/fps": 285.7,
    }
    assert {p.step for p in points.values()} == {1}
    assert shown.tags["posestudy.profiled_on"] == "A processor, 2 threads, batch 1, 96 x 128 px"
    # The same rows make the same points, so that sending them again adds none.
    assert card(sqlite_ledger).summary == shown.summary


@pytest.mark.parametrize("state", ["running", "unprofiled"])
def test_nothing_is_shown_of_what_was_not_measured(sqlite_ledger: Ledger, state: str) -> None:
    create(sqlite_ledger)
    if state == "running":
        claim = begin(sqlite_ledger)
        epoch(sqlite_ledger, claim, 1, 0.3)
    else:
        train(sqlite_ledger, [0.3])
    shown = card(sqlite_ledger)
    assert not [p for p in shown.summary if p.key.startswith("profile/")]
    assert "posestudy.profiled_on" not in shown.tags
