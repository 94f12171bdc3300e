"""What `plan` says of a study: which cells are decided, which change several factors, what is still to train."""

from __future__ import annotations

from typing import Any

import pytest

from posestudy.ledger import Ledger
from posestudy.ledger.records import CellRecord, KnownResult, StageRecord
from posestudy.vocabulary import METRICS, Outcome
from posestudy_studies import joint
from posestudy_studies.advance import advance
from posestudy_studies.designs.contract import study_with
from posestudy_studies.plan import joint_changes, plan, work
from posestudy_studies.spec import Study

FIRST = {
    "name": "first",
    "design": "variants",
    "variants": {"a": {"sigma": 1.0}, "b": {"sigma": 3.0, "optimizer.lr": 0.01}, "same": {"sigma": 2.0, "epochs": 8}},
}
SECOND = {"name": "second", "design": "variants", "variants": {"c": {"batch_size": 16}}}


def study(*stages: dict[str, Any], seeds: int = 1, reuse: str = "home") -> Study:
    document = study_with(stages[0]).model_dump(mode="json")
    document |= {"stages": list(stages), "replicates": {"seeds": list(range(seeds))}, "reuse": reuse}
    return Study.model_validate(document)


def valued(values: dict[str, float | None]) -> Any:
    """Results by cell: a value, or None for out of memory; of other cells nothing is known."""

    def result(stage: StageRecord, cell: CellRecord, seed: int) -> KnownResult | None:
        del stage, seed
        if cell.name not in values:
            return None
        value = values[cell.name]
        outcome = Outcome.OUT_OF_MEMORY if value is None else Outcome.COMPLETED
        return KnownResult(outcome, {}, final_value=value, final_epoch=4)

    return result


def decided(planned: dict[str, Any], stage: int) -> dict[str, bool]:
    return {c["name"]: c["decided"] for c in planned["stages"][stage]["cells"]}


@pytest.mark.parametrize(
    ("carry", "certain", "sigma"), [("best", False, 2.0), ("baseline", True, 2.0), ("a", True, 1.0)]
)
def test_a_stage_is_decided_where_the_file_says_what_it_carries(carry: str, certain: bool, sigma: float) -> None:
    planned = plan(study(FIRST, SECOND | {"carry": carry}))
    assert set(decided(planned, 0).values()) == {True}
    assert decided(planned, 1) == {"baseline": certain, "c": certain}
    assert planned["stages"][1]["start_decided"] is certain
    assert {c["config"]["sigma"] for c in planned["stages"][1]["cells"]} == {sigma}


def test_results_decide_what_is_carried_and_say_why() -> None:
    made = study(FIRST, SECOND)
    some = plan(made, results=valued({"baseline": 0.1, "a": 0.2}))
    assert some["stages"][0]["carried"] is None
    assert decided(some, 1) == {"baseline": False, "c": False}
    whole = plan(made, results=valued({"baseline": 0.1, "a": 0.2, "b": 0.3, "same": None}))
    assert whole["stages"][0]["carried"] == "b"
    assert "0.300 is the best of 4 cells" in whole["stages"][0]["carry_reason"]
    assert decided(whole, 1) == {"baseline": True, "c": True}
    assert whole["stages"][1]["cells"][1]["config"]["optimizer.lr"] == 0.01


def test_what_the_ledger_holds_decides_too(sqlite_ledger: Ledger) -> None:
    made = study(FIRST, SECOND)
    sqlite_ledger.put_study(made.study, made.model_dump(mode="json"), "")
    snapshot = sqlite_ledger.snapshot(made.study)
    assert sqlite_ledger.apply(snapshot.study.id, advance(snapshot))
    values = [0.1, 0.4, 0.3]
    for value in values:
        claim = sqlite_ledger.claim(made.study, "worker", 60)
        assert claim is not None
        trial = claim.trial
        assert sqlite_ledger.record_epoch(trial.uid, trial.fence, {4: {made.metric: value}}, None, 1.0)
        assert sqlite_ledger.finish(
            trial.uid, trial.fence, Outcome.COMPLETED, None,
            metric=made.metric, direction=METRICS[made.metric].direction, peak_memory_mb=None,
        )  # fmt: skip
    held = sqlite_ledger.snapshot(made.study)
    assert plan(made, snapshot=held)["stages"][0]["carried"] is None
    assert [(w.stage, w.cell, w.trials) for w in work(made, snapshot=held)] == [
        ("first", "same", 1),
        ("second", "c", 1),
    ]
    # Results that are supposed stand beside those that are there and change none of them.
    supposed = valued({"baseline": 0.9, "same": 0.2})
    planned = plan(made, snapshot=held, results=supposed)
    assert planned["stages"][0]["carried"] == "a"
    assert [(w.stage, w.cell) for w in work(made, snapshot=held, results=supposed)] == [("second", "c")]


def test_a_search_shows_ranges_until_it_has_sampled() -> None:
    find = {"name": "find", "design": "search", "space": {"batch_size": [8, 16], "sigma": [1.0, 3.0]}, "cells": 3}
    planned = plan(study(find))
    assert decided(planned, 0) == {"baseline": True, "sample_001": False, "sample_002": False, "sample_003": False}
    assert {row["cell"] for row in planned["joint"]} == {"sample_001", "sample_002", "sample_003"}
    assert planned["joint"][0]["factors"] == ["batch_size", "sigma"]


@pytest.mark.parametrize("known", range(6))
def test_a_search_under_way_keeps_all_that_is_still_to_be_sampled(known: int) -> None:
    find = {"name": "find", "design": "search", "space": {"sigma": {"uniform": [1.0, 3.0]}}, "cells": 5}
    made = study({**find, "sampler": "random"})
    names = ["baseline", *(f"sample_{i:03d}" for i in range(1, 6))]
    supposed = valued(dict.fromkeys(names[: known + 1], 0.5))
    planned = plan(made, results=supposed)
    assert list(decided(planned, 0)) == names
    assert [row["comparisons"] for row in planned["noise_floor"]["stages"]] == [5]
    assert planned["estimate"]["trials"] == 6
    assert [one.cell for one in work(made, results=supposed)] == names[known + 1 :]


def test_a_bisection_keeps_the_count_of_what_may_come() -> None:
    longer = {"name": "longer", "design": "bisect", "factor": "epochs", "between": [10, 50], "tolerance": 6}
    made = study(longer)
    first = plan(made)
    names = [c["name"] for c in first["stages"][0]["cells"]]
    assert names[:4] == ["baseline", "epochs_10", "epochs_50", "epochs_30"]
    further = plan(made, results=valued({"baseline": 0.1, "epochs_10": 0.2, "epochs_50": 0.6, "epochs_30": 0.5}))
    assert decided(further, 0) == dict.fromkeys(["baseline", "epochs_10", "epochs_50", "epochs_30", "epochs_40"], True)
    assert first["estimate"]["trials"] >= further["estimate"]["trials"]


@pytest.mark.parametrize(("reuse", "again"), [("home", 0), ("none", 3)])
def test_the_baseline_of_a_later_stage_is_trained_again_only_where_nothing_is_reused(reuse: str, again: int) -> None:
    found = {(w.stage, w.cell): w.trials for w in work(study(FIRST, SECOND, seeds=3, reuse=reuse))}
    assert found["first", "baseline"] == 3
    assert found.get(("second", "baseline"), 0) == again


def test_a_level_equal_to_what_is_carried_is_no_change() -> None:
    planned = plan(study(FIRST))
    assert [(row["cell"], row["factors"]) for row in planned["joint"]] == [("b", ["optimizer.lr", "sigma"])]
    start = {"sigma": 2.0, "optimizer": {"lr": 1.0}, "augmentation": {"flip": None, "half_body": None}}
    config = start | {"augmentation": {"flip": {"prob": 0.5}, "half_body": {}}}
    assert joint.changed({"augmentation": {}, "sigma": 2.0}, config, start) == ["augmentation"]


@pytest.mark.parametrize(
    ("changed", "as_one", "at_once"),
    [
        (["lr"], [], []),
        (["batch_size", "lr"], [], ["batch_size", "lr"]),
        (["batch_size", "lr"], [["lr", "batch_size"]], []),
        (["batch_size", "lr", "sigma"], [["lr", "batch_size"]], ["batch_size", "lr", "sigma"]),
        (["batch_size", "lr", "sigma"], [["lr", "batch_size", "sigma"]], []),
        (["a", "b", "c", "d"], [["a", "b"], ["c", "d"]], ["a", "b", "c", "d"]),
        ([], [["a", "b"]], []),
    ],
)
def test_factors_declared_as_one_count_as_one(changed: list[str], as_one: list[list[str]], at_once: list[str]) -> None:
    assert joint.factors_at_once(changed, as_one) == at_once


def test_a_declared_combination_is_no_joint_change() -> None:
    stage = {
        "name": "s",
        "design": "one_at_a_time",
        "variants": {"a": {"sigma": 1.0}, "b": {"epochs": 8}},
        "combine": {"both": {"of": ["a", "b"], "label": "3"}},
    }
    planned = plan(study(stage))
    assert planned["joint"] == []
    assert planned["combinations"] == [{"stage": "s", "cell": "both", "label": "3", "of": ["a", "b"]}]


def test_joint_changes_are_told_once_for_rows_that_change_the_same() -> None:
    stage = {
        "name": "s",
        "design": "variants",
        "variants": {
            "a": {"sigma": 1.0, "epochs": 8, "label": "9"},
            "b": {"sigma": 3.0, "epochs": 8},
            "c": {"sigma": 3.0, "batch_size": 4},
        },
    }
    told = joint_changes(plan(study(stage)))
    assert len(told) == 2
    assert told[0].startswith("joint change in stage 's': 9, sigma 3, epochs 8 change epochs, sigma at once")
    assert "changes batch_size, sigma at once" in told[1]
