"""An edited study file: which stages stay, which are planned anew."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from posestudy.ledger.records import CellRecord, KnownResult, Snapshot, StageRecord
from posestudy.vocabulary import Outcome
from posestudy_studies.designs.contract import study_with
from posestudy_studies.edited import first_changed
from posestudy_studies.rehearsal import Rehearsal
from posestudy_studies.spec import Study

STAGES: list[dict[str, Any]] = [
    {"name": "lr", "design": "variants", "variants": {"high": {"optimizer.lr": 0.01, "label": "1"}}},
    {"name": "target", "design": "grid", "factors": {"sigma": [1.0, 2.0, 3.0]}},
    {"name": "find", "design": "search", "space": {"batch_size": [4, 16, 32]}, "cells": 3},
]


def document() -> dict[str, Any]:
    made = study_with(STAGES[0]).model_dump(mode="json")
    made["stages"] = deepcopy(STAGES)
    return made


def launched(until: str | None = None) -> Snapshot:
    """The study with results for every stage before `until`."""

    def result(stage: StageRecord, cell: CellRecord, seed: int) -> KnownResult | None:
        if stage.name == until:
            return None
        return KnownResult(Outcome.COMPLETED, {}, final_value=0.5 + 0.1 * len(cell.levels), final_epoch=4)

    return Rehearsal(Study.model_validate(document())).play(result)


def edited(**changes: Any) -> Study:
    changed = document()
    for path, value in changes.items():
        at: Any = changed
        *groups, last = path.split("__")
        for group in groups:
            at = at[int(group)] if isinstance(at, list) else at[group]
        at[last] = value
    return Study.model_validate(changed)


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({}, None),
        ({"description": "other words"}, None),
        ({"budget": {"gpu_hours": 3.0}}, None),
        ({"report": {"title": "A title"}}, None),
        ({"cluster": {"partition": "gpu", "time": "12:00:00"}}, None),
        ({"stages__1__columns": ["gflops", "coco/AP50"]}, None),
        ({"baseline__sigma": 1.5}, 0),
        ({"metric": "coco/AR"}, 0),
        ({"evaluation": {"flip_test": False}}, 0),
        ({"replicates": {"seeds": [0, 1]}}, 0),
        ({"stages__0__variants__high": {"optimizer.lr": 0.02}}, 0),
        ({"stages__0__variants__high": {"optimizer.lr": 0.01, "label": "2"}}, 0),
        ({"stages__0__variants__more": {"optimizer.lr": 0.02}}, 0),
        ({"stages__1__factors": {"sigma": [1.0, 2.0]}}, 1),
        ({"stages__1__carry": "baseline"}, 0),
        ({"stages__2__cells": 4}, 2),
    ],
)
def test_a_finished_study_is_planned_anew_from_the_first_stage_that_differs(
    changes: dict[str, Any], first: int | None
) -> None:
    assert first_changed(edited(**changes), launched()) == first


def test_a_stage_that_is_taken_out_goes_and_those_after_it() -> None:
    shorter = document()
    del shorter["stages"][1]
    assert first_changed(Study.model_validate(shorter), launched()) == 1


def test_an_open_stage_may_grow() -> None:
    at_first, at_last = launched("lr"), launched("find")
    assert first_changed(edited(stages__0__variants__more={"optimizer.lr": 0.02}), at_first) is None
    assert first_changed(edited(stages__2__cells=9), at_last) is None
    assert first_changed(edited(stages__2__cells=2), at_last) == 2


def test_naming_the_cell_that_was_carried_anyway_changes_nothing() -> None:
    assert first_changed(edited(stages__1__carry="high"), launched()) is None


def test_a_carry_that_later_seeds_contradict_is_not_redone_by_launching_again() -> None:
    played = launched()
    names = {cell.id: cell.name for cell in played.cells if cell.stage_id == played.stages[0].id}
    later = tuple(
        replace(trial, final_value=0.9) if names.get(trial.cell_id) == "baseline" else trial for trial in played.trials
    )
    assert first_changed(edited(), replace(played, trials=later)) is None
    # Unless the file now says so.
    assert first_changed(edited(stages__1__carry="baseline"), played) == 0
