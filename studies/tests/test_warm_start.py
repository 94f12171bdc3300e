"""A search begins with what other studies know: what is taken, what is left out and why, and that it stays so."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posestudy.ledger import Ledger
from posestudy.ledger.records import CellRecord, KnownResult, Snapshot, StageRecord
from posestudy.vocabulary import METRICS, Outcome
from posestudy_studies import decider, warm_start
from posestudy_studies.advance import advance
from posestudy_studies.designs.base import View
from posestudy_studies.designs.contract import study_with
from posestudy_studies.designs.search import Search
from posestudy_studies.plan import plan
from posestudy_studies.rehearsal import Rehearsal
from posestudy_studies.spec import Study

DATA = "d" * 64
SPACE: dict[str, Any] = {
    "optimizer.lr": {"log": [1e-4, 1e-2]},
    "batch_size": [8, 16],
    "augmentation.flip": {"choices": [None, {"prob": 0.5}], "when": {"batch_size": 16}},
}
SEARCH = {"name": "find", "design": "search", "space": SPACE, "warm_start": ["before"], "cells": 6}
GRID = {"name": "grid", "design": "grid", "factors": {"optimizer.lr": [0.0005, 0.002, 0.05], "batch_size": [8, 16]}}


def study(name: str, *stages: dict[str, Any], data: str | None = DATA, **more: Any) -> Study:
    document = study_with(stages[0]).model_dump(mode="json")
    document["dataset"]["fingerprint"] = data
    document["baseline"]["augmentation"] = {}
    return Study.model_validate({**document, "study": name, "stages": list(stages), **more})


def scored(stage: StageRecord, cell: CellRecord, seed: int) -> KnownResult:
    value = 0.5 + cell.config["optimizer"]["lr"] + cell.config["batch_size"] / 1000 + seed / 100
    return KnownResult(Outcome.COMPLETED, {}, final_value=value, final_epoch=4)


def before(**more: Any) -> Snapshot:
    """A finished grid: of its six cells and the baseline, the two with a rate of 0.05 lie outside of the space."""
    return Rehearsal(study("before", GRID, **more)).play(scored)


def logged(held: Snapshot) -> Snapshot:
    """A study with the document that `posestudy import` gives to logs."""
    return replace(held, study=replace(held.study, document={"study": "before", "metric": "coco/AP", "stages": []}))


def begun(made: Study, *elsewhere: Snapshot) -> Snapshot:
    """The search with its baseline done and its first cell asked for."""
    rehearsal = Rehearsal(made)
    rehearsal.snapshot = replace(rehearsal.snapshot, elsewhere=elsewhere)

    def only_baseline(stage: StageRecord, cell: CellRecord, seed: int) -> KnownResult | None:
        return scored(stage, cell, seed) if cell.name == "baseline" else None

    return rehearsal.play(only_baseline)


def first(snapshot: Snapshot) -> dict[str, Any]:
    return next(t.optuna for t in snapshot.trials if t.optuna)


def test_cells_of_the_space_are_known_with_the_mean_of_their_seeds() -> None:
    held = begun(study("now", SEARCH), before(replicates={"seeds": [0, 1]}))
    known = first(held)["warm_start"]["known"]
    assert [row["params"] for row in known] == [
        {"optimizer.lr": 0.001, "batch_size": 8},
        {"optimizer.lr": 0.0005, "batch_size": 8},
        {"optimizer.lr": 0.0005, "batch_size": 16, "augmentation.flip": None},
        {"optimizer.lr": 0.002, "batch_size": 8},
        {"optimizer.lr": 0.002, "batch_size": 16, "augmentation.flip": None},
    ]
    assert known[1]["value"] == pytest.approx(0.5 + 0.0005 + 0.008 + 0.005)
    assert [(row["study"], row["stage"], len(row["uids"])) for row in known] == [("before", "grid", 2)] * 5
    assert held.stages[0].decisions == (
        "begins with 5 known cells: 5 of 7 of study 'before' (2 outside of the space or otherwise different)",
    )
    # They are known, and are no cells of the stage.
    assert [cell.name for cell in held.cells] == ["baseline", "sample_001"]


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (lambda: before(data="e" * 64), "none of study 'before', which has other data"),
        (lambda: before(metric="coco/AR"), "none of study 'before', which has another metric (coco/AR)"),
        (None, "none of study 'before', which is not in this home"),
        (
            lambda: logged(before()),
            "none of study 'before', which was imported without a study file: what its cells are configured as is not "
            "known",
        ),
        (lambda: before(evaluation={"flip_test": False}), "(7 outside of the space or otherwise different)"),
    ],
)
def test_what_does_not_agree_is_left_out_and_said(other: Any, why: str) -> None:
    held = begun(study("now", SEARCH), *([other()] if other else []))
    assert first(held)["warm_start"]["known"] == []
    assert held.stages[0].decisions[0].startswith("begins with 0 known cells: ")
    assert held.stages[0].decisions[0].endswith(why)


def test_results_that_are_of_another_configuration_or_have_no_value_are_left_out() -> None:
    other = before()
    odd = {"kind": "imported", "file": "a.csv", "line": 1, "sha256": "0" * 64, "remarks": [], "elsewhere": True}
    trials = list(other.trials)
    trials[0] = replace(trials[0], source={"kind": "reused", "source": odd})
    trials[1] = replace(trials[1], outcome=Outcome.DIVERGED)
    held = begun(study("now", SEARCH), replace(other, trials=tuple(trials)))
    assert len(first(held)["warm_start"]["known"]) == 3
    assert "2 without a value" in held.stages[0].decisions[0]


def test_the_same_configuration_of_two_studies_is_known_once() -> None:
    again = before()
    again = replace(again, study=replace(again.study, name="again"))
    made = study("now", {**SEARCH, "warm_start": ["before", "again"]})
    held = begun(made, before(), again)
    assert len(first(held)["warm_start"]["known"]) == 5
    assert (
        held.stages[0]
        .decisions[0]
        .endswith("0 of 7 of study 'again' (2 outside of the space or otherwise different, 5 known already)")
    )


@pytest.mark.parametrize(
    ("space", "rows", "params"),
    [
        # A factor of any numbers holds a whole one as 3.0.
        (
            {"sigma": {"int": [1, 3]}},
            {"a": {"sigma": 1.0}, "b": {"sigma": 3.0}, "c": {"sigma": 2.5}},
            [{"sigma": 2}, {"sigma": 1}, {"sigma": 3}],
        ),
        # By itself no choice of one factor fits what the stage starts from: 4 epochs.
        (
            {"validate_every": [5, 8], "epochs": [10, 20]},
            {"a": {"validate_every": 5, "epochs": 20}, "b": {"validate_every": 8, "epochs": 10}},
            [{"validate_every": 5, "epochs": 20}, {"validate_every": 8, "epochs": 10}],
        ),
        # A group is a choice, and one of its members is sampled too.
        (
            {
                "augmentation.flip": [None, {}],
                "augmentation.flip.prob": {"uniform": [0.1, 0.9], "when": {"augmentation.flip": {}}},
            },
            {"a": {"augmentation.flip": {"prob": 0.3}}, "b": {"augmentation.flip": {"prob": 0.95}}},
            [{"augmentation.flip": None}, {"augmentation.flip": "{}", "augmentation.flip.prob": 0.3}],
        ),
    ],
)
def test_a_level_is_recognised_however_its_factor_holds_it(space: Any, rows: Any, params: Any) -> None:
    """The first of the known cells is the grid's baseline, where the space holds it."""
    other = Rehearsal(study("before", {"name": "rows", "design": "variants", "variants": rows})).play(scored)
    held = begun(study("now", {**SEARCH, "space": space}), other)
    assert [row["params"] for row in first(held)["warm_start"]["known"]] == params


def test_the_own_name_stands_for_earlier_stages_and_not_for_the_baseline_of_this_one() -> None:
    held = begun(study("now", {**SEARCH, "warm_start": ["now"]}))
    assert first(held)["warm_start"]["known"] == []
    assert held.stages[0].decisions == ("begins with 0 known cells: 0 of 0 of study 'now'",)


def test_what_is_known_stays_known_where_a_later_cell_has_an_earlier_trial() -> None:
    """The file was edited, and a trial of the search as it was before came back for the second cell."""
    made = study("now", SEARCH)
    played = Rehearsal(made, begun(made, before())).play(scored)
    one, two = (t for t in played.trials if t.number in (2, 3))
    numbers = {one.uid: two.number, two.uid: one.number}
    trials = tuple(replace(t, number=numbers.get(t.uid, t.number)) for t in played.trials)
    search = made.stages[0]
    assert isinstance(search, Search)
    rebuilt = decider._rebuilt(search, View(replace(played, trials=trials), played.stages[0]))
    known = [row["params"] for row in one.optuna["warm_start"]["known"]]
    assert len(known) == 5
    asked = [one.optuna["params"], two.optuna["params"]]
    assert [trial.params for trial in rebuilt.trials[:7]] == known + asked


def test_the_sampler_decides_as_one_optuna_study_that_was_given_these_trials() -> None:
    sampler = {"type": "tpe", "startup_trials": 2}
    search = {**SEARCH, "space": {"optimizer.lr": SPACE["optimizer.lr"]}, "sampler": sampler}
    rows = {"name": "grid", "design": "grid", "factors": {"optimizer.lr": [0.0003, 0.0005, 0.002, 0.007]}}
    other = Rehearsal(study("before", rows)).play(scored)
    made = study("now", search)
    rehearsal = Rehearsal(made)
    rehearsal.snapshot = replace(rehearsal.snapshot, elsewhere=(other,))
    played = rehearsal.play(scored)
    mine = [t.optuna["params"] for t in played.trials if t.optuna]
    assert len(mine) == 6

    space = decider.distributions(Search.model_validate(search))
    live = optuna.create_study(direction="maximize", study_name="now/find")
    for row in first(played)["warm_start"]["known"]:
        live.add_trial(optuna.create_trial(value=row["value"], params=row["params"], distributions=space))
    theirs = []
    for index in range(6):
        template = next(t for t in played.trials if t.optuna)
        view = View(replace(played, trials=(template,) * index), played.stages[0])
        live.sampler = optuna.samplers.TPESampler(n_startup_trials=2, seed=decider._seed(view))
        trial = live.ask(fixed_distributions=space)
        theirs.append(trial.params)
        live.tell(trial, 0.5 + trial.params["optimizer.lr"] + 8 / 1000)
    assert mine == theirs
    cold = Rehearsal(study("now", {**search, "warm_start": []})).play(scored)
    assert [t.optuna["params"] for t in cold.trials if t.optuna] != mine


def test_later_results_elsewhere_change_nothing_once_a_search_has_begun() -> None:
    made, other = study("now", SEARCH), before()
    held = begun(made, other)

    def finished(*elsewhere: Snapshot) -> list[Any]:
        on = Rehearsal(made, held)
        on.snapshot = replace(on.snapshot, elsewhere=elsewhere)
        return [(t.seed, t.optuna.get("params")) for t in on.play(scored).trials]

    better = replace(other, trials=tuple(replace(t, final_value=0.99) for t in other.trials))
    assert finished(other) == finished(better) == finished()
    assert warm_start.wanted(held) == ()


def test_a_study_of_the_ledger_is_asked_for_only_before_the_first_cell(sqlite_ledger: Ledger) -> None:
    made = study("now", SEARCH)
    sqlite_ledger.put_study(made.study, made.model_dump(mode="json"), "")
    assert warm_start.wanted(sqlite_ledger.snapshot("now")) == ()
    opened = sqlite_ledger.snapshot("now")
    assert sqlite_ledger.apply(opened.study.id, advance(opened))
    assert warm_start.wanted(sqlite_ledger.snapshot("now")) == ("before",)
    claim = sqlite_ledger.claim("now", "worker", 60.0)
    assert claim is not None
    sqlite_ledger.record_epoch(claim.trial.uid, claim.trial.fence, {4: {made.metric: 0.5}}, None, 1.0)
    sqlite_ledger.finish(
        claim.trial.uid, claim.trial.fence, Outcome.COMPLETED, None,
        metric=made.metric, direction=METRICS[made.metric].direction, peak_memory_mb=None,
    )  # fmt: skip
    held = replace(sqlite_ledger.snapshot("now"), elsewhere=(before(),))
    changes = advance(held)
    assert sqlite_ledger.apply(held.study.id, changes, document=held.study.document)
    stored = sqlite_ledger.snapshot("now")
    assert len(first(stored)["warm_start"]["known"]) == 5
    assert stored.stages[0].decisions[0].startswith("begins with 5 known cells")
    assert warm_start.wanted(stored) == ()


def test_a_plan_shows_the_first_cell_that_will_be_asked_for() -> None:
    made, other = study("now", {**SEARCH, "include_baseline": False}), before()
    row = plan(made, elsewhere=[other])["stages"][0]
    assert row["decisions"][0].startswith("begins with 5 known cells")
    asked = begun(made, other)
    assert row["cells"][0]["levels"] == asked.cells[0].levels


@pytest.mark.parametrize(
    ("stage", "found"),
    [
        ({"sampler": "random"}, "'random'"),
        ({"sampler": "nsgaii", "objectives": ["coco/AP", "duration_s"]}, "two objectives"),
        ({"warm_start": ["a", "b", "a"]}, "'a' a second time"),
    ],
)
def test_a_warm_start_that_nothing_learns_from_is_a_mistake(stage: dict[str, Any], found: str) -> None:
    made = study("now", {**SEARCH, **stage})
    assert [mistake.found for mistake in made.stages[0].mistakes()] == [found]


@settings(max_examples=40, deadline=None)
@given(
    rate=st.floats(1e-5, 1e-1, allow_nan=False), batch=st.sampled_from([8, 16, 24]), flip=st.booleans(),
    sigma=st.sampled_from([2.0, 3.0]),
)  # fmt: skip
def test_what_is_taken_gives_back_the_very_configuration(rate: float, batch: int, flip: bool, sigma: float) -> None:
    levels = {"optimizer.lr": rate, "batch_size": batch, "augmentation.flip": {"prob": 0.5} if flip else None}
    it = {**levels, "sigma": sigma}
    stage = {"name": "one", "design": "variants", "variants": {"it": it}, "include_baseline": False}
    other = Rehearsal(study("before", stage)).play(scored)
    held = begun(study("now", SEARCH), other)
    known = first(held)["warm_start"]["known"]
    inside = 1e-4 <= rate <= 1e-2 and batch in (8, 16) and sigma == 2.0 and (batch == 16 or not flip)
    assert bool(known) is inside
    if known:
        assert known[0]["params"]["optimizer.lr"] == rate
        flips = known[0]["params"].get("augmentation.flip")
        assert (json.loads(flips) if flips else None) == (levels["augmentation.flip"] if batch == 16 else None)


def test_a_pruner_judges_the_same_trial_with_known_cells_before_it() -> None:
    """Successive halving looks at its own rungs alone, so what is known must change none of its verdicts."""
    pruned = {**SEARCH, "include_baseline": False, "cells": 5, "pruner": {"type": "successive_halving", "reduction": 2}}
    document = study("now", pruned).model_dump(mode="json")
    document["baseline"] |= {"epochs": 8, "validate_every": 1}
    made = Study.model_validate(document)
    eight = before().study.document
    other = Rehearsal(Study.model_validate({**eight, "baseline": document["baseline"]})).play(scored)
    rehearsal = Rehearsal(made)
    rehearsal.snapshot = replace(rehearsal.snapshot, elsewhere=(other,))
    played = rehearsal.train(lambda _stage, cell, _seed: {e: -cell.ordinal + e / 10 for e in range(1, 9)})
    assert len(first(played)["warm_start"]["known"]) == 5

    cold = json.loads(json.dumps(played.study.document))
    cold["stages"][0]["warm_start"] = []
    without = replace(played, study=replace(played.study, document=cold))
    verdicts = {
        (t.number, e): [decider.judge(held, t.uid, e)[0] for held in (played, without)]
        for t in played.trials
        for e in (1, 2, 4)
    }
    assert all(one == other for one, other in verdicts.values())
    assert {str(t.outcome) for t in played.trials} == {"completed", "pruned"}
