"""When nothing more is begun: budgets, deadlines, plateaus and seeds that decide nothing, each with its reason."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posestudy.ledger import Ledger
from posestudy.ledger.records import CellRecord, CloseStage, KnownResult, Snapshot, StageRecord
from posestudy.vocabulary import METRICS, Outcome, TrialState
from posestudy_studies import deadlines, stop_rules
from posestudy_studies.advance import advance
from posestudy_studies.designs.base import View
from posestudy_studies.designs.contract import study_with
from posestudy_studies.plan import plan
from posestudy_studies.rehearsal import Rehearsal
from posestudy_studies.spec import Study

SEARCH = {
    "name": "find",
    "design": "search",
    "space": {"optimizer.lr": {"log": [1e-4, 1e-2]}},
    "sampler": "random",
    "cells": 24,
}
VARIANTS = {"name": "lr", "design": "variants", "variants": {"a": {"optimizer.lr": 0.01}, "b": {"optimizer.lr": 0.02}}}


def study(*stages: dict[str, Any], **more: Any) -> Study:
    document = study_with(stages[0]).model_dump(mode="json")
    return Study.model_validate({**document, "stages": list(stages), **more})


def scored(value: Any, duration_s: float = 60.0) -> Any:
    """Results by `value(stage, cell, seed)`."""

    def result(stage: StageRecord, cell: CellRecord, seed: int) -> KnownResult:
        found = value(stage, cell, seed)
        return KnownResult(Outcome.COMPLETED, {}, final_value=found, final_epoch=4, duration_s=duration_s)

    return result


def sampled(snapshot: Snapshot) -> list[CellRecord]:
    return [cell for cell in snapshot.cells if cell.name.startswith("sample")]


@pytest.mark.parametrize(
    ("seconds", "hours", "said"),
    [
        (0.05 * 3600, 0.05, "0.05 of 0.05 device hours"),
        (24.3 * 3600, 24, "24 of 24 device hours"),
        (99.6 * 3600, 99.5, "100 of 99.5 device hours"),
        (1234.4 * 3600, 1200, "1234 of 1200 device hours"),
    ],
)
def test_what_is_spent_is_said_without_powers_of_ten(seconds: float, hours: float, said: str) -> None:
    assert stop_rules.spent_of(seconds, hours) == said


# ---- deadlines


@pytest.mark.parametrize(
    ("deadline", "moment"),
    [("8h", 1000 + 8 * 3600), ("1d12h30m", 1000 + 36.5 * 3600), ("90m", 6400), ("1970-01-01T02:00:00+01:00", 3600)],
)
def test_a_deadline_is_a_time_after_the_first_launch_or_a_moment(deadline: str, moment: float) -> None:
    assert deadlines.moment(deadline, created=1000.0) == moment


@pytest.mark.parametrize(
    ("deadline", "hint"),
    [
        ("8 hours", ""), ("0h", ""), ("h", ""), ("2027-03-01T18:00:00", "18:00:00Z"), ("8x", ""),
        ("36601d", "100 years"), ("9" * 30 + "d", "100 years"), ("9999-12-31T23:59:59-14:00", "9999, in UTC"),
        ("0001-01-01T00:00:00+14:00", "years 1"),
    ],
)  # fmt: skip
def test_a_deadline_nobody_understands_is_refused_with_what_is_expected(deadline: str, hint: str) -> None:
    with pytest.raises(ValueError, match="a time after the first launch as '8h'") as caught:
        study(VARIANTS, budget={"deadline": deadline})
    assert hint in str(caught.value.errors()[0]["ctx"])  # type: ignore[attr-defined]


def test_a_later_launch_moves_no_deadline(sqlite_ledger: Ledger) -> None:
    made = study(VARIANTS, budget={"deadline": "8h"})
    document = made.model_dump(mode="json")
    sqlite_ledger.put_study(made.study, document, "")
    first = sqlite_ledger.snapshot(made.study)
    sqlite_ledger.put_study(made.study, {**document, "description": "edited"}, "")
    again = sqlite_ledger.snapshot(made.study)
    assert deadlines.of_study(first) == deadlines.of_study(again) == first.study.created + 8 * 3600
    assert again.at is not None
    assert first.study.created <= again.at < first.study.created + 600


def test_after_its_deadline_a_study_begins_nothing_and_says_so_and_a_later_one_goes_on(sqlite_ledger: Ledger) -> None:
    made = study(SEARCH, budget={"deadline": "2h"})
    document = made.model_dump(mode="json")
    sqlite_ledger.put_study(made.study, document, "")
    for _ in range(4):
        _settle(sqlite_ledger, made.study)
        _train(sqlite_ledger, made)
    late = _later(sqlite_ledger.snapshot(made.study), 3 * 3600)
    changes = advance(late)
    assert sqlite_ledger.apply(late.study.id, changes)
    stage = sqlite_ledger.snapshot(made.study).stages[0]
    assert stage.state == "open"
    assert stage.decisions[0].startswith("stopped after 3 of 24 cells: the deadline has passed (")
    assert advance(_later(sqlite_ledger.snapshot(made.study), 3 * 3600)) == []
    sqlite_ledger.put_study(made.study, {**document, "budget": {"deadline": "9h"}}, "")
    _settle(sqlite_ledger, made.study)
    later = sqlite_ledger.snapshot(made.study)
    assert later.stages[0].decisions == ()
    assert later.trials[-1].state is TrialState.WAITING


def test_a_plan_says_that_nothing_starts_any_more_by_the_file_as_it_is_now(sqlite_ledger: Ledger) -> None:
    made = study(SEARCH, budget={"deadline": "2h"})
    sqlite_ledger.put_study(made.study, made.model_dump(mode="json"), "")
    held = sqlite_ledger.snapshot(made.study)
    assert not [rule for rule in plan(made, snapshot=_later(held, 3600))["stop"] if "any more" in rule]
    late = _later(held, 3 * 3600)
    assert plan(made, snapshot=late)["stop"][-1].startswith("no further trial starts any more: the deadline has passed")
    moved = study(SEARCH, budget={"deadline": "9h"})
    assert not [rule for rule in plan(moved, snapshot=late)["stop"] if "any more" in rule]


@pytest.mark.parametrize(
    ("min_epochs", "validate_every", "pauses"), [(1, 1, True), (3, 1, True), (4, 1, False), (3, 4, False), (3, 3, True)]
)
def test_a_plan_says_where_trials_that_may_pause_never_do(min_epochs: int, validate_every: int, pauses: bool) -> None:
    document = study({**SEARCH, "pruner": {"type": "asha", "min_epochs": min_epochs}}).model_dump(mode="json")
    document["baseline"] |= {"epochs": 4, "validate_every": validate_every}
    told = [rule for rule in plan(Study.model_validate(document))["stop"] if "pauses" in rule]
    assert bool(told) is not pauses
    if told:
        assert f"no trial of stage 'find' pauses: pruner.min_epochs is {min_epochs}" in told[0]


def _later(snapshot: Snapshot, seconds: float) -> Snapshot:
    return replace(snapshot, at=snapshot.study.created + seconds)


def _settle(ledger: Ledger, name: str) -> None:
    while changes := advance(snapshot := ledger.snapshot(name)):
        assert ledger.apply(snapshot.study.id, changes)


def _train(ledger: Ledger, made: Study) -> None:
    claim = ledger.claim(made.study, "worker", 60.0)
    assert claim is not None
    ledger.record_epoch(claim.trial.uid, claim.trial.fence, {1: {made.metric: 0.5}}, None, 1.0)
    direction = METRICS[made.metric].direction
    ledger.finish(
        claim.trial.uid, claim.trial.fence, Outcome.COMPLETED, None,
        metric=made.metric, direction=direction, peak_memory_mb=None,
    )  # fmt: skip


# ---- budgets


def test_a_spent_budget_ends_a_search_with_its_reason_and_stays_open() -> None:
    played = Rehearsal(study(SEARCH, budget={"gpu_hours": 0.1})).play(scored(lambda *_: 0.5))
    assert played.study.state == "open"
    assert played.stages[0].decisions == ("stopped after 5 of 24 cells: the budget is spent (0.1 of 0.1 device hours)",)
    assert len(played.trials) == 6


def test_a_budget_that_ends_with_a_stage_opens_no_further_one() -> None:
    second = {**VARIANTS, "name": "second"}
    limited = study(VARIANTS, second, budget={"gpu_hours": 0.05})
    played = Rehearsal(limited).play(scored(lambda *_: 0.5))
    assert [stage.name for stage in played.stages] == ["lr"]
    assert played.stages[0].decisions == ("no further stage: the budget is spent (0.05 of 0.05 device hours)",)
    assert played.stages[0].carried_because.startswith("baseline: coco/AP 0.500")
    raised = study(VARIANTS, second, budget={"gpu_hours": 5})
    on = Rehearsal(raised, replace(played, study=replace(played.study, document=raised.model_dump(mode="json"))))
    done = on.play(scored(lambda *_: 0.5))
    assert done.study.state == "closed"
    assert [stage.decisions for stage in done.stages] == [(), ()]


# ---- plateaus

QUIET = {"seeds": [0, 1, 2], "when": "unresolved", "baseline_first": True}


def test_a_search_ends_where_its_last_cells_brought_nothing() -> None:
    rule = {"plateau": {"cells": 5, "by": 0.01}}
    values = [0.3, 0.5, 0.505, 0.4, 0.509, 0.2, 0.1, 0.6]

    def value(_stage: StageRecord, cell: CellRecord, _seed: int) -> float:
        return 0.2 if cell.name == "baseline" else values[int(cell.name[-3:]) - 1]

    played = Rehearsal(study(SEARCH, stop=rule)).play(scored(value))
    assert len(sampled(played)) == 7
    told = "stopped after 7 of 24 cells: the last 5 improved coco/AP by no more than 0.0100"
    assert played.stages[0].decisions == (told,)
    assert played.stages[0].carried == "sample_005"
    assert played.study.state == "closed"


def test_a_plateau_by_the_noise_floor_needs_the_seeds_of_the_baseline() -> None:
    rule = {"plateau": {"cells": 4}}

    def value(_stage: StageRecord, cell: CellRecord, seed: int) -> float:
        if cell.name == "baseline":
            return 0.5 + (0.0, 0.01, -0.01)[seed]
        return 0.5 + 0.001 * int(cell.name[-3:])

    noisy = Rehearsal(study(SEARCH, stop=rule, replicates={"seeds": [0, 1, 2], "when": "unresolved"}))
    told = noisy.play(scored(value)).stages[0].decisions
    # t(0.975, 2) * 0.01 * sqrt(2)
    assert told[0] == (
        "stopped after 4 of 24 cells: the last 4 improved coco/AP by no more than 0.0608, the noise floor"
    )
    unknown = Rehearsal(study(SEARCH, stop=rule)).play(scored(value))
    assert unknown.stages[0].decisions == ()
    assert len(sampled(unknown)) == 24


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.integers(0, 40), min_size=12, max_size=12),
    last=st.integers(1, 6),
    by=st.sampled_from([0.005, 0.035, 0.105]),
)
def test_a_plateau_is_the_first_run_of_cells_without_an_improvement(values: list[int], last: int, by: float) -> None:
    stage = {**SEARCH, "cells": 12}

    def value(_stage: StageRecord, cell: CellRecord, _seed: int) -> float:
        return 0.2 if cell.name == "baseline" else values[int(cell.name[-3:]) - 1] / 100

    played = Rehearsal(study(stage, stop={"plateau": {"cells": last, "by": by}})).play(scored(value))
    curve = [0.2, *(v / 100 for v in values)]
    first = next(
        (end for end in range(last + 1, 13) if max(curve[end - last : end]) - max(curve[: end - last]) <= by),
        13,
    )
    assert len(sampled(played)) == first - 1


def test_a_search_that_asked_for_all_its_cells_was_not_stopped_by_its_plateau() -> None:
    made = study({**SEARCH, "cells": 5}, stop={"plateau": {"cells": 4, "by": 0.01}})
    played = Rehearsal(made).play(scored(lambda _stage, cell, _seed: 0.0 if cell.name == "baseline" else 0.3))
    assert len(sampled(played)) == 5
    assert played.stages[0].decisions == ()
    assert played.study.state == "closed"


def test_a_search_of_two_objectives_has_no_plateau() -> None:
    stage = {**SEARCH, "objectives": ["coco/AP", "duration_s"], "cells": 8, "sampler": "nsgaii"}
    made = study(stage, stop={"plateau": {"cells": 2, "by": 0.5}})
    played = Rehearsal(made).play(scored(lambda *_: 0.5))
    assert len(sampled(played)) == 8
    assert stop_rules.plateau(made, made.stages[0], View(played, played.stages[0])) is None


# ---- the noise floor first


def test_the_baseline_is_trained_with_all_its_seeds_before_any_other_cell() -> None:
    made = study(VARIANTS, replicates={"seeds": [0, 1, 2], "baseline_first": True})
    begun = Rehearsal(made).play()
    assert [(c.name, t.seed) for c in begun.cells for t in begun.trials] == [("baseline", s) for s in (0, 1, 2)]
    assert begun.stages[0].state == "open"
    noise = (0.0, 0.010, -0.010)
    played = Rehearsal(made).play(scored(lambda _stage, cell, seed: 0.5 + noise[seed]))
    assert len(played.trials) == 9
    assert played.study.state == "closed"
    # t(1 - 0.05 / 2 / 2, 2) * 0.01 * sqrt(2 / 3), and the same with 0.05 / 2
    assert played.stages[0].decisions == (
        "noise floor: coco/AP has a standard deviation of 0.0100 over 3 seeds of the baseline of stage 'lr'; "
        "2 comparisons at once of 3 seeds a cell resolve 0.0507 at 95 %, one alone 0.0351",
    )


def test_a_baseline_that_never_completes_holds_nothing_up() -> None:
    made = study(VARIANTS, replicates={"seeds": [0, 1], "baseline_first": True})

    def result(_stage: StageRecord, cell: CellRecord, _seed: int) -> KnownResult:
        lost = cell.name == "baseline"
        return KnownResult(Outcome.DIVERGED if lost else Outcome.COMPLETED, {}, final_value=None if lost else 0.4)

    played = Rehearsal(made).play(result)
    assert played.study.state == "closed"
    assert {cell.name for cell in played.cells} == {"baseline", "a", "b"}
    assert played.stages[0].decisions == ()


# ---- nothing left to resolve


def noisy(means: dict[str, float]) -> Any:
    return scored(lambda _stage, cell, seed: means[cell.name] + (0.0, 0.010, -0.010, 0.005, -0.005, 0.002)[seed])


def test_seeds_that_cannot_decide_are_saved_where_the_study_says_so() -> None:
    replicates = {"seeds": [0, 1, 2, 3, 4, 5], "when": "unresolved"}
    means = {"baseline": 0.5, "a": 0.5, "b": 0.9}
    spent = Rehearsal(study(VARIANTS, replicates=replicates)).play(noisy(means))
    saved = Rehearsal(study(VARIANTS, replicates=replicates, stop={"nothing_to_resolve": True})).play(noisy(means))
    of_a = [[t.seed for t in played.trials if t.cell_id == 2] for played in (spent, saved)]
    assert of_a[0] == [0, 1, 2, 3, 4, 5]
    assert len(of_a[1]) < 6
    assert saved.stages[0].decisions == (
        "no further seeds: 1 difference from the baseline not resolved, and it has a chance below 5 % to be with all "
        "seeds that are left",
    )
    assert spent.stages[0].decisions == ()


def test_a_budget_that_ends_the_seeds_is_named() -> None:
    replicates = {"seeds": [0, 1, 2, 3], "when": "unresolved"}
    made = study(VARIANTS, replicates=replicates, budget={"gpu_hours": 0.1})
    played = Rehearsal(made).play(noisy({"baseline": 0.5, "a": 0.501, "b": 0.9}))
    assert played.study.state == "closed"
    assert played.stages[0].decisions == (
        "no further seeds: the budget is spent (0.1 of 0.1 device hours); 1 difference from the baseline not resolved",
    )


def test_decisions_are_no_part_of_why_a_cell_was_carried(sqlite_ledger: Ledger) -> None:
    made = study(VARIANTS)
    sqlite_ledger.put_study(made.study, made.model_dump(mode="json"), "")
    _settle(sqlite_ledger, made.study)
    for _ in range(3):
        _train(sqlite_ledger, made)
    held = sqlite_ledger.snapshot(made.study)
    [close] = advance(held)
    assert isinstance(close, CloseStage)
    told = replace(close, decisions=("stopped after 2 of 3 cells: a reason",))
    assert sqlite_ledger.apply(held.study.id, [told])
    stage = sqlite_ledger.snapshot(made.study).stages[0]
    assert (stage.carried_because, stage.decisions) == (close.reason, told.decisions)
    assert sqlite_ledger.apply(held.study.id, [close]) is False


def test_a_plateau_over_no_cells_is_refused() -> None:
    with pytest.raises(ValueError, match=r"plateau\.cells"):
        study(SEARCH, stop={"plateau": {"cells": 0}})


@pytest.mark.parametrize(
    ("more", "stage", "found"),
    [
        ({"replicates": {"seeds": [0], "baseline_first": True}}, {}, "one seed"),
        ({"replicates": {"seeds": [0, 1], "baseline_first": True}}, {"include_baseline": False}, "no baseline in"),
        ({"stop": {"plateau": {"cells": 3}}}, {}, "'noise_floor' with one seed a cell"),
        ({"stop": {"plateau": {"cells": 3}}, "replicates": {"seeds": [0, 1]}}, {}, None),
        ({"stop": {"plateau": {"cells": 3, "by": 0.01}}}, {}, None),
    ],
)
def test_a_rule_that_needs_a_noise_floor_nobody_measures_is_a_mistake(
    more: dict[str, Any], stage: dict[str, Any], found: str | None
) -> None:
    told = [mistake.found for mistake in stop_rules.mistakes(study({**SEARCH, **stage}, **more))]
    assert [text.startswith(found) for text in told] == ([True] if found else [])
