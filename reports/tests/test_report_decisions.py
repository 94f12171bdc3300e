"""What a report says of stops and of the noise floor: as it was decided, with numbers that have an address."""

from __future__ import annotations

from typing import Any

import pytest
from scipy import stats
from searched_study import Searched

from posestudy_reports.report import StudyReport

PLATEAU = "stopped after 14 of 24 cells: the last 8 improved coco/AP by no more than 0.0210, the noise floor"
SEEDS = "no further seeds: the budget is spent (2 of 2 device hours); 1 difference from the baseline not resolved"
KNOWN = "begins with 2 known cells: 2 of 3 of study 'v1.5' (1 without a value)"


def study(*decisions: str, carried: str | None = "b", **document: Any) -> StudyReport:
    made = Searched(stages=[{"name": "lr"}], **document)
    reason = "\n".join(["b: coco/AP 0.600 is the best of 3 cells.", "noise floor: coco/AP ...", *decisions])
    made.stage("lr", carried=carried, carry_reason=reason)
    made.row("baseline", {}, (0.50, 0.51, 0.49))
    made.row("a", {"optimizer.lr": 1e-3}, (0.55, 0.56, 0.54))
    made.row("b", {"optimizer.lr": 1e-2}, (0.60,))
    return made.report()


def test_decisions_stand_in_the_summary_with_their_numbers_and_leave_the_carry() -> None:
    report = study(PLATEAU, SEEDS, KNOWN)
    stage = "Stage \u201clr\u201d"
    for told in (f"{stage} {PLATEAU}.", f"{stage} got {SEEDS}.", f"{stage} {KNOWN}."):
        assert told in [str(text) for text in report.summary]
    assert f"{stage} carried \u201cb\u201d: coco/AP 0.600 is the best of 3 cells." in [str(t) for t in report.summary]
    assert report.numbers["lr/decision_1/1"].value == 0.021
    # The name of a study is no number.
    assert not any(address.startswith("lr/decision_3") for address in report.numbers)
    assert not any("noise floor: coco/AP ..." in text for text in report.summary)


def test_an_open_stage_that_was_stopped_says_so_without_a_carry() -> None:
    report = study("stopped after 3 of 24 cells: the deadline has passed (2027-03-01 17:00 UTC)", carried=None)
    assert "Stage \u201clr\u201d stopped after 3 of 24 cells: the deadline has passed (2027-03-01 17:00 UTC)." in [
        str(text) for text in report.summary
    ]


def test_the_methods_state_the_smallest_difference_of_each_table_by_its_formula() -> None:
    report = study(replicates={"seeds": [0, 1, 2], "baseline_first": True})
    # Two rows at once; the row `b` has one seed, so that is what all have at least.
    expected = stats.t.ppf(1 - 0.05 / 4, 2) * 0.01 * 2**0.5
    number = report.numbers["lr/resolvable"]
    assert number.value == pytest.approx(expected)
    assert len(number.uids) == 3
    assert report.numbers["study/noise_floor/sd"].value == pytest.approx(0.01)
    assert "lr/resolvable" not in study().numbers


def test_the_rules_of_a_study_are_in_its_methods() -> None:
    from posestudy_reports import methods

    rules = {"plateau": {"cells": 8, "by": 0.005}, "nothing_to_resolve": True}
    told = [s.text for s in methods.trials(study(stop=rules, budget={"deadline": "8h"}).result)]
    assert "No trial starts later than 8h after the first launch." in told
    assert "A search ends where its last 8 cells improved the best value by no more than 0.00500." in told
    assert "No seed is added for a difference that has a chance below 5 % to be resolved." in told
