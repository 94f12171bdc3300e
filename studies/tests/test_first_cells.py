"""Cells that a search tries first: what they may be, and that every sampler takes them as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from study_head import HEAD

from posestudy.errors import InputError
from posestudy.ledger.records import CellRecord, KnownResult, StageRecord
from posestudy.vocabulary import Outcome
from posestudy_studies.designs import first_cells
from posestudy_studies.designs.contract import study_with
from posestudy_studies.designs.search import Search
from posestudy_studies.file import load
from posestudy_studies.plan import plan
from posestudy_studies.rehearsal import Rehearsal
from posestudy_studies.spec import Study

SPACE: dict[str, Any] = {
    "optimizer.lr": {"log": [1e-5, 1e-2]},
    "batch_size": {"int": [4, 64]},
    "input_size": [[64, 64], [96, 96]],
    "model": ["resnet18", "hrnet_w32"],
    "backbone.deep_stem": {"choices": [False, True], "when": {"model": "resnet18"}},
}
LARGE = {"optimizer.lr": 5e-4, "batch_size": 32, "input_size": [96, 96], "model": "hrnet_w32"}
SMALL = {**LARGE, "batch_size": 16, "model": "resnet18", "backbone.deep_stem": True}
SAMPLERS = ["random", "tpe", "gp", "qmc", "nsgaii", "curves"]


def searching(sampler: str = "random", *first: dict[str, Any], **more: Any) -> Study:
    stage = {"name": "find", "design": "search", "space": SPACE, "sampler": sampler, "cells": 5, **more}
    return study_with({**stage, "include_baseline": False, "first_cells": list(first)})


def by_batch(_: StageRecord, cell: CellRecord, __: int) -> KnownResult:
    value = cell.levels["batch_size"] / 100
    return KnownResult(Outcome.COMPLETED, {}, final_value=value, final_epoch=4, duration_s=60.0)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_tries_them_first_and_samples_the_others(sampler: str) -> None:
    cells = Rehearsal(searching(sampler, LARGE, SMALL)).play(by_batch).cells
    assert [cell.levels for cell in cells[:2]] == [LARGE, SMALL]
    assert [cell.note for cell in cells] == ["tried first", "tried first", "", "", ""]
    assert [cell.name for cell in cells] == [f"sample_00{number}" for number in range(1, 6)]
    assert len({str(cell.levels) for cell in cells}) == 5


def test_the_spread_of_the_first_samples_is_that_of_a_search_without_them() -> None:
    stated = Rehearsal(searching("curves", LARGE, SMALL)).play(by_batch).cells
    without = Rehearsal(searching("curves", cells=3)).play(by_batch).cells
    assert [cell.levels for cell in stated[2:]] == [cell.levels for cell in without]


@pytest.mark.parametrize("sampler", ["tpe", "curves"])
def test_one_that_does_not_fit_into_memory_is_tried_all_the_same(sampler: str) -> None:
    def without_memory(stage: StageRecord, cell: CellRecord, seed: int) -> KnownResult:
        found = by_batch(stage, cell, seed)
        return KnownResult(Outcome.OUT_OF_MEMORY, {}) if cell.levels["batch_size"] >= 32 else found

    larger = {**LARGE, "batch_size": 48}
    cells = Rehearsal(searching(sampler, LARGE, larger, SMALL)).play(without_memory).cells
    assert [cell.levels for cell in cells if cell.note == "tried first"] == [LARGE, larger, SMALL]


def test_a_plan_shows_them() -> None:
    shown = plan(searching("tpe", LARGE, SMALL))["stages"][0]["cells"]
    assert [cell["levels"] for cell in shown[:2]] == [LARGE, SMALL]
    assert [cell["note"] for cell in shown] == ["tried first", "tried first", "", "", ""]
    assert [cell["decided"] for cell in shown] == [True, True, False, False, False]
    assert shown[1]["label"].startswith("lr 0.0005, batch_size 16")
    assert shown[2]["label"] == "sampled by tpe"


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_nothing_is_sampled_that_one_does_not_name(sampler: str) -> None:
    """The baseline has no `amp`, so that `sigma` exists once `amp` is left out."""
    space = {
        "batch_size": [4, 8],
        "amp": {"choices": [False, True], "when": {"model": "hrnet_w32"}},
        "sigma": {"choices": [1.0, 2.0], "when": {"amp": False}},
    }
    study = searching(sampler, {"batch_size": 8, "amp": True}, space=space, cells=2)
    assert study.baseline.amp is False
    assert Rehearsal(study).play(by_batch).cells[0].levels == {"batch_size": 8}


def test_a_plateau_is_one_of_sampled_cells() -> None:
    first = [{**LARGE, "batch_size": size} for size in (64, 8, 7, 6)]
    document = searching("random", *first, cells=9).model_dump(mode="json")
    study = Study.model_validate({**document, "stop": {"plateau": {"cells": 2, "by": 1.0}}})
    held = Rehearsal(study).play(by_batch)
    assert [cell.levels for cell in held.cells[:4]] == first
    assert len(held.cells) == 6
    assert held.stages[0].decisions[0].startswith("stopped after 6 of 9 cells: the last 2 improved")


LATER = (
    HEAD
    + """\
  - {name: network, design: grid, factors: {model: [resnet18, hrnet_w32]}}
  - name: find
    design: search
    cells: 2
    space:
      batch_size: [4, 8]
      backbone.deep_stem: {choices: [false, true], when: {model: resnet18}}
    first_cells: [{batch_size: 8, backbone.deep_stem: true}]
"""
)


def test_a_level_is_named_that_only_some_starts_of_a_later_stage_have(tmp_path: Path) -> None:
    path = tmp_path / "later.yaml"
    path.write_text(LATER)
    (find,) = (stage for stage in load(path).stages if isinstance(stage, Search))
    assert first_cells.of(find, 0, {"model": "resnet18"}) == {"batch_size": 8, "backbone.deep_stem": True}
    assert first_cells.of(find, 0, {"model": "hrnet_w32"}) == {"batch_size": 8}
    path.write_text(LATER.replace(", backbone.deep_stem: true}]", "}]"))
    with pytest.raises(InputError, match=r"found no level of backbone\.deep_stem"):
        load(path)


FILE = (
    HEAD
    + """\
  - name: find
    design: search
    cells: 2
    space:
      sigma: {uniform: [1.0, 3.0]}
      batch_size: {int: [4, 64]}
      model: [resnet18, hrnet_w32]
      backbone.deep_stem: {choices: [false, true], when: {model: resnet18}}
    first_cells:
"""
)


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        (["{sigma: 2, batch_size: 8, model: hrnet_w32}"], None),
        (["{sgima: 2.0, batch_size: 8, model: hrnet_w32}"], "23:10: stages.0.first_cells.0.sgima: found 'sgima'"),
        (["{sgima: 2.0, batch_size: 8, model: hrnet_w32}"], "a factor of `space` (did you mean 'sigma'?)"),
        (["{sigma: 2.0, model: hrnet_w32}"], "stages.0.first_cells.0: found no level of batch_size, expected a level"),
        (["{sigma: 4.0, batch_size: 8, model: hrnet_w32}"], "found 4.0, expected a number from 1 to 3"),
        (["{sigma: 2.0, batch_size: 8.5, model: hrnet_w32}"], "found 8.5, expected a whole number from 4 to 64"),
        (["{sigma: true, batch_size: 8, model: hrnet_w32}"], "found true, expected a number from 1 to 3"),
        (["{sigma: 2.0, batch_size: 8, model: hrnet}"], "found 'hrnet', expected one of 'resnet18', 'hrnet_w32'"),
        (["{sigma: 2.0, batch_size: 8, model: resnet18}"], "found no level of backbone.deep_stem"),
        (
            ["{sigma: 2.0, batch_size: 8, model: hrnet_w32, backbone.deep_stem: true}"],
            "first_cells.0.backbone.deep_stem: found true, expected no level where model: 'resnet18' does not hold",
        ),
        (
            ["{sigma: 2.0, batch_size: 8, model: hrnet_w32}"] * 2,
            "stages.0.first_cells.1: found a cell a second time, expected each cell once",
        ),
        (
            [f"{{sigma: {sigma}, batch_size: 8, model: hrnet_w32}}" for sigma in ("2", "2.0")],
            "stages.0.first_cells.1: found a cell a second time, expected each cell once",
        ),
        (
            [f"{{sigma: 2.0, batch_size: {size}, model: hrnet_w32}}" for size in (8, 9, 10)],
            "stages.0.first_cells: found 3 cells, expected at most the 2 of `cells`",
        ),
    ],
)
def test_what_is_none_of_the_space_is_named_at_its_place(tmp_path: Path, cells: list[str], found: str | None) -> None:
    path = tmp_path / "cats.yaml"
    path.write_text(FILE + "".join(f"      - {cell}\n" for cell in cells))
    if found is None:
        assert load(path).stages[0].design == "search"
        return
    with pytest.raises(InputError) as caught:
        load(path)
    assert found in str(caught.value)


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("{sigma: true, batch_size: 8, model: hrnet_w32}", 1),
        ("{sgima: 2.0, batch_size: 8, model: hrnet_w32}", 1),
        ("{sgima: 2.0, model: hrnet_w32}", 2),
    ],
)
def test_a_mistake_is_told_once(tmp_path: Path, cell: str, told: int) -> None:
    path = tmp_path / "cats.yaml"
    path.write_text(f"{FILE}      - {cell}\n")
    with pytest.raises(InputError) as caught:
        load(path)
    assert len(caught.value.problems) == told
