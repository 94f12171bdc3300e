"""Stages open, ask, close and carry as their results say: played on a ledger that is a few tuples."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posestudy.errors import PoseStudyError
from posestudy.ledger.records import (
    AddCells,
    CellRecord,
    CloseStage,
    CloseStudy,
    OpenStage,
    Snapshot,
    StageRecord,
    StudyRecord,
    TrialRecord,
)
from posestudy.vocabulary import Outcome, TrialState
from posestudy_studies.advance import advance
from posestudy_studies.designs.contract import study_with
from posestudy_studies.spec import Study

VARIANTS = {"name": "aug", "design": "variants", "variants": {"a": {"sigma": 1.0}, "b": {"sigma": 3.0}}}
GRID = {"name": "lr", "design": "grid", "factors": {"optimizer.lr": [0.001, 0.01], "batch_size": [8, 16]}}
SEARCH = {"name": "find", "design": "search", "space": {"optimizer.lr": {"log": [1e-4, 1e-2]}}, "cells": 4}


class Book:
    """The few operations of a ledger that `advance` needs to be played to the end."""

    def __init__(self, *stages, **fields):
        document = study_with(stages[0]).model_dump(mode="json") | {"stages": list(stages)} | fields
        self.study = Study.model_validate(document)
        record = StudyRecord(1, "s", self.study.model_dump(mode="json"), "", "open", 0.0)
        self.snapshot = Snapshot(record, (), (), (), (), ())

    def apply(self, changes):
        for change in changes:
            getattr(self, type(change).__name__)(change)

    def OpenStage(self, change):  # noqa: N802 - named as the change
        stage = StageRecord(
            change.ordinal,
            1,
            change.ordinal,
            change.name,
            change.design,
            "open",
            1,
            change.baseline,
            change.start,
            None,
            None,
        )
        self.snapshot = replace(self.snapshot, stages=(*self.snapshot.stages, stage))
        self._add(change.ordinal, change.cells)

    def AddCells(self, change):  # noqa: N802 - named as the change
        assert change.version == self._stage(change.stage_id).version
        self._add(change.stage_id, change.cells)
        self._set(change.stage_id, version=change.version + 1)

    def CloseStage(self, change):  # noqa: N802 - named as the change
        self._set(change.stage_id, state="closed", carried=change.carried, carry_reason=change.reason)

    def CloseStudy(self, _change):  # noqa: N802 - named as the change
        self.snapshot = replace(self.snapshot, study=replace(self.snapshot.study, state="closed"))

    def _stage(self, stage_id):
        return next(s for s in self.snapshot.stages if s.id == stage_id)

    def _set(self, stage_id, **fields):
        stages = tuple(replace(s, **fields) if s.id == stage_id else s for s in self.snapshot.stages)
        self.snapshot = replace(self.snapshot, stages=stages)

    def _add(self, stage_id, cells):
        rows, trials = list(self.snapshot.cells), list(self.snapshot.trials)
        for cell in cells:
            ordinal = sum(c.stage_id == stage_id for c in rows)
            rows.append(
                CellRecord(
                    len(rows), stage_id, ordinal, cell.name, cell.label, cell.note, cell.key, cell.levels, cell.config
                )
            )
            trials += [self._trial(len(trials), len(rows) - 1, seed, cell.optuna) for seed in cell.seeds]
        self.snapshot = replace(self.snapshot, cells=tuple(rows), trials=tuple(trials))

    @staticmethod
    def _trial(index, cell, seed, optuna):
        return TrialRecord(
            f"{index:032x}", 1, cell, index + 1, seed, TrialState.WAITING, None, None, 0, None, None, None,
            None, 0, None,
            None, 0, None, json.loads(json.dumps(optuna)), None, None, None, None, None, None, None, None,
        )  # fmt: skip

    def end(self, index, value, outcome=Outcome.COMPLETED):
        trials = list(self.snapshot.trials)
        trials[index] = replace(
            trials[index], state=TrialState.DONE, outcome=outcome, final_value=value, best_value=value
        )
        self.snapshot = replace(self.snapshot, trials=tuple(trials))

    def play(self, result):
        """Run everything; `result(cell, seed)` gives a value, or None for a trial that ran out of memory."""
        for _ in range(200):
            changes = advance(self.snapshot)
            self.apply(changes)
            waiting = [i for i, t in enumerate(self.snapshot.trials) if t.state is TrialState.WAITING]
            if not changes and not waiting:
                return self
            for i in waiting[:1]:
                trial = self.snapshot.trials[i]
                value = result(self.snapshot.cells[trial.cell_id], trial.seed)
                self.end(i, value, Outcome.COMPLETED if value is not None else Outcome.OUT_OF_MEMORY)
        raise AssertionError("never ends")


def scores(table):
    return lambda cell, seed: table.get(cell.name, 0.1)


def test_the_first_call_opens_the_first_stage_with_the_baseline_first():
    [change] = advance(Book(VARIANTS).snapshot)
    assert isinstance(change, OpenStage)
    assert [cell.name for cell in change.cells] == ["baseline", "a", "b"]
    assert change.baseline == "baseline"
    assert change.cells[1].config["sigma"] == 1.0
    assert change.cells[1].label == "sigma 1"
    assert len({cell.key for cell in change.cells}) == 3


def test_nothing_happens_while_trials_run():
    book = Book(VARIANTS)
    book.apply(advance(book.snapshot))
    book.end(0, 0.1)
    book.end(1, 0.2)
    assert advance(book.snapshot) == []


def test_the_best_cell_is_carried_with_a_sentence_and_other_results_carry_another():
    book = Book(VARIANTS, GRID).play(scores({"baseline": 0.144, "a": 0.156, "b": 0.1}))
    stage = book.snapshot.stages[0]
    assert (stage.carried, stage.carry_reason) == (
        "a",
        "a: coco/AP 0.156 is the best of 3 cells (baseline 0.144).",
    )
    assert book.snapshot.stages[1].start["sigma"] == 1.0
    assert book.snapshot.study.state == "closed"
    other = Book(VARIANTS, GRID).play(scores({"baseline": 0.144, "a": 0.1, "b": 0.156}))
    assert other.snapshot.stages[1].start["sigma"] == 3.0
    start = {c.name: c.config for c in other.snapshot.cells if c.stage_id == 1}
    assert all(config["sigma"] == 3.0 for config in start.values())


def test_ties_go_to_the_earlier_cell_and_cells_without_a_value_are_not_carried():
    book = Book(VARIANTS).play(lambda cell, seed: {"baseline": 0.1, "a": None, "b": 0.1}[cell.name])
    stage = book.snapshot.stages[0]
    assert stage.carried == "baseline"
    assert "1 without a value" in stage.carry_reason
    assert "ties with b go to the earlier cell" in stage.carry_reason


def test_without_any_value_the_baseline_is_carried_and_said_so():
    book = Book(VARIANTS, GRID).play(lambda cell, seed: None)
    assert [s.carried for s in book.snapshot.stages] == ["baseline", "baseline"]
    assert "no cell of stage 'aug' completed with a value of coco/AP" in book.snapshot.stages[0].carry_reason


def test_pruned_and_failed_trials_are_never_carried():
    book = Book(VARIANTS)
    book.apply(advance(book.snapshot))
    for i, (value, outcome) in enumerate([(0.1, "completed"), (0.9, "pruned"), (0.8, "failed")]):
        book.end(i, value, Outcome(outcome))
    [change] = advance(book.snapshot)
    assert isinstance(change, CloseStage)
    assert change.carried == "baseline"


def test_the_mean_over_seeds_decides():
    table = {("baseline", 0): 0.2, ("baseline", 1): 0.2, ("a", 0): 0.5, ("a", 1): 0.0, ("b", 0): 0.4, ("b", 1): 0.2}
    book = Book(VARIANTS, replicates={"seeds": [0, 1]}).play(lambda cell, seed: table[cell.name, seed])
    assert len(book.snapshot.trials) == 6
    assert book.snapshot.stages[0].carried == "b"
    assert book.snapshot.stages[0].carry_reason.startswith("b: coco/AP 0.300 (mean of 2 of 2 seeds) is the best of 3")


@pytest.mark.parametrize(("carry", "sigma"), [("baseline", 2.0), ("b", 3.0), ("best", 1.0)])
def test_a_stage_says_what_it_carries(carry, sigma):
    book = Book(VARIANTS, GRID | {"carry": carry}).play(scores({"a": 0.9}))
    assert book.snapshot.stages[1].start["sigma"] == sigma
    if carry != "best":
        assert f"says `carry: {carry}`" in book.snapshot.stages[0].carry_reason


def test_a_stage_without_a_baseline_cell_can_still_go_back_to_it():
    book = Book(VARIANTS | {"include_baseline": False}, GRID | {"carry": "baseline"}).play(scores({"a": 0.9}))
    assert [c.name for c in book.snapshot.cells if c.stage_id == 0] == ["a", "b"]
    assert book.snapshot.stages[0].baseline is None
    assert book.snapshot.stages[1].start["sigma"] == 2.0


def test_a_search_gives_every_waiting_worker_a_cell_of_its_own():
    book = Book(SEARCH)
    book.apply(advance(book.snapshot))
    assert advance(book.snapshot) == []  # the baseline waits to be claimed
    trials = [replace(t, state=TrialState.RUNNING) for t in book.snapshot.trials]
    book.snapshot = replace(book.snapshot, trials=tuple(trials))
    [change] = advance(book.snapshot)
    assert isinstance(change, AddCells)
    assert [cell.name for cell in change.cells] == ["sample_001"]
    assert advance(book.snapshot) == [change]  # asked twice about the same rows: the same answer
    book.apply([change])
    assert advance(book.snapshot) == []
    book.end(0, 0.1)
    book.play(scores({"sample_003": 0.7}))
    assert len(book.snapshot.cells) == 5
    assert len({c.config["optimizer"]["lr"] for c in book.snapshot.cells}) == 5
    assert book.snapshot.stages[0].carried == "sample_003"


def test_the_end_of_a_study():
    book = Book(VARIANTS).play(scores({}))
    assert book.snapshot.study.state == "closed"
    assert advance(book.snapshot) == []
    still = replace(book.snapshot, study=replace(book.snapshot.study, state="open"))
    assert advance(still) == [CloseStudy()]


def test_a_cell_added_to_the_file_joins_an_open_stage():
    book = Book(VARIANTS)
    book.apply(advance(book.snapshot))
    more = {**VARIANTS, "variants": {**VARIANTS["variants"], "c": {"sigma": 2.5}}}
    document = book.snapshot.study.document | {"stages": [more]}
    document = Study.model_validate(document).model_dump(mode="json")
    edited = replace(book.snapshot, study=replace(book.snapshot.study, document=document))
    [change] = advance(edited)
    assert [cell.name for cell in change.cells] == ["c"]


def test_levels_that_do_not_fit_what_is_carried_are_told_in_a_sentence():
    first = {"name": "long", "design": "variants", "variants": {"long": {"epochs": 20}}}
    second = {"name": "often", "design": "variants", "variants": {"rarely": {"validate_every": 10}}}
    with pytest.raises(PoseStudyError, match=r"validate_every: 10.* validate_every 10 with epochs 4"):
        Book(first, second).play(scores({"baseline": 0.9}))


values = st.lists(st.integers(0, 6).map(lambda i: i / 10), min_size=3, max_size=3)


@settings(max_examples=40, deadline=None)
@given(values)
def test_the_carried_cell_has_the_largest_value_and_comes_first(numbers):
    table = dict(zip(["baseline", "a", "b"], numbers, strict=True))
    book = Book(VARIANTS).play(scores(table))
    assert book.snapshot.stages[0].carried == max(table, key=table.get)


levels = st.lists(st.integers(1, 6).map(float), min_size=1, max_size=4, unique=True)


@settings(max_examples=40, deadline=None)
@given(sigmas=levels, batches=st.lists(st.integers(1, 5), min_size=1, max_size=4, unique=True), baseline=st.booleans())
def test_a_grid_is_the_product_of_its_levels_each_once(sigmas, batches, baseline):
    stage = {
        "name": "g",
        "design": "grid",
        "factors": {"sigma": sigmas, "batch_size": batches},
        "include_baseline": baseline,
    }
    [change] = advance(Book(stage).snapshot)
    configs = [(cell.config["sigma"], cell.config["batch_size"]) for cell in change.cells]
    expected = {(s, b) for s in sigmas for b in batches}
    if baseline:
        expected |= {(2.0, 8)}
    assert sorted(configs) == sorted(expected)
    assert len({cell.name for cell in change.cells}) == len(change.cells)
