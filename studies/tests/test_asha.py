"""Who pauses at a rung, who goes on later, and that every search comes to its end."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posestudy.ledger.records import EndPaused, Promote, Snapshot
from posestudy.vocabulary import Direction, Outcome, TrialState, Verdict
from posestudy_studies import asha, decider
from posestudy_studies.advance import advance
from posestudy_studies.asha import Contender, Halving
from posestudy_studies.designs.base import View
from posestudy_studies.designs.contract import study_with
from posestudy_studies.plan import plan, work
from posestudy_studies.rehearsal import Rehearsal
from posestudy_studies.spec import Study

RULES = Halving(5, 3, Direction.MORE)
SPACE = {"optimizer.lr": {"log": [1e-5, 1e-2]}}


def contender(number: int, *curve: float, epochs: int = 20, every: int = 5, paused: bool = False) -> Contender:
    return Contender(number, epochs, {every * (i + 1): value for i, value in enumerate(curve)}, paused)


def study(**fields: Any) -> Study:
    """A search whose cells are trained for 20 epochs and validated after every fifth, with rungs at 5 and 15."""
    stage = {"name": "find", "design": "search", "space": SPACE, "sampler": "random", "cells": 9}
    stage |= {"pruner": {"type": "asha", "min_epochs": 5, "reduction": 3}} | fields
    document = study_with(stage).model_dump(mode="json")
    document["baseline"] |= {"epochs": 20, "validate_every": 5}
    return Study.model_validate(document)


def curves(values: list[float], every: int = 5):
    """Cell i of a search learns towards `values[i]`; the baseline towards nothing."""

    def of(stage, cell, seed):
        del stage
        value = values[cell.ordinal - 1] if cell.levels else 0.0
        epochs = int(cell.config["epochs"])
        validated = [e for e in range(1, epochs + 1) if e % every == 0 or e == epochs]
        return {epoch: value + epoch / 1000 + seed / 10_000 for epoch in validated}

    return of


def ends(snapshot: Snapshot) -> list[int]:
    """The epochs that each sampled trial was trained for."""
    return [trial.ckpt_epoch for trial in snapshot.trials if trial.optuna]


def test_rungs_lie_below_the_epochs_of_the_cell():
    assert RULES.rungs(20) == [5, 15]
    assert RULES.rungs(15) == [5]
    assert RULES.rungs(5) == []
    assert RULES.rungs(0) == []


@pytest.mark.parametrize(
    ("others", "value", "verdict"),
    [
        ([], 0.9, Verdict.PAUSE),  # a third of one is none
        ([0.1, 0.2], 0.9, Verdict.GO),
        ([0.1, 0.95], 0.9, Verdict.PAUSE),
        ([0.1, 0.95, 0.2, 0.3], 0.9, Verdict.PAUSE),
        ([0.1, 0.95, 0.2, 0.3, 0.4], 0.9, Verdict.GO),
        ([0.9, 0.1], 0.9, Verdict.PAUSE),  # the earlier of equals is the better one
    ],
)
def test_the_best_third_of_those_at_a_rung_goes_on(others, value, verdict):
    among = [contender(i + 1, other) for i, other in enumerate(others)]
    one = contender(10, value)
    assert RULES.verdict(one, [*among, one], 5) is verdict


def test_less_is_better_where_the_metric_says_so():
    rules = replace(RULES, direction=Direction.LESS)
    among = [contender(1, 0.5), contender(2, 0.2), contender(3, 0.3)]
    assert [rules.verdict(one, among, 5) for one in among] == [Verdict.PAUSE, Verdict.GO, Verdict.PAUSE]


def test_between_rungs_and_at_the_end_no_trial_pauses():
    worst = contender(9, 0.1, 0.1, 0.1, 0.1)
    among = [*(contender(i, 0.9, 0.9, 0.9, 0.9) for i in range(6)), worst]
    verdicts = {epoch: RULES.verdict(replace(worst, curve=dict.fromkeys(range(5, epoch + 1, 5), 0.1)), among, epoch)
                for epoch in (5, 10, 15, 20)}  # fmt: skip
    assert verdicts == {5: Verdict.PAUSE, 10: Verdict.GO, 15: Verdict.PAUSE, 20: Verdict.GO}


def test_a_rung_is_reached_by_the_first_validation_at_or_after_it():
    # Validated at 4, 8, 12, 16, 20: the rung at 5 is reached at 8, that at 15 at 16.
    among = [contender(i, 0.9, 0.5, 0.1, 0.1, every=4) for i in range(3)]
    assert RULES.reached(contender(1, 0.9, every=4)) is None
    assert RULES.reached(contender(1, 0.9, 0.5, every=4)) == 5
    assert [one.number for one in RULES.ranked([*among, contender(7, 0.0, 0.6, every=4)], 5)] == [7, 0, 1, 2]
    low = contender(8, 0.0, 0.4, every=4)
    assert RULES.verdict(contender(8, 0.0, every=4), among, 4) is Verdict.GO
    assert RULES.verdict(low, [*among, low], 8) is Verdict.PAUSE


def test_one_validation_at_two_rungs_is_judged_at_the_higher_one():
    one = Contender(4, 30, {16: 0.5}, False)
    others = [Contender(i, 30, {8: 0.9, 16: 0.1}, False) for i in range(3)]
    assert RULES.verdict(one, [*others, one], 16) is Verdict.GO


def test_the_highest_rung_is_promoted_first_and_the_best_on_it():
    low = [contender(i, 0.5 + i / 10, paused=True) for i in range(3)]
    high = [contender(10 + i, 0.9, 0.9, 0.1 * i, paused=True) for i in range(3)]
    chosen = RULES.promotable([*low, *high])
    assert chosen is not None
    assert chosen.number == 12
    # Without it there are six at the first rung: the best two of them are above it already.
    assert RULES.promotable([*low, *(replace(one, paused=False) for one in high)]) is None
    assert RULES.promotable(low).number == 2
    assert RULES.promotable(low[:2]) is None


def test_a_trial_that_failed_takes_no_place_at_a_rung():
    view = View(*_opened(study(), [0.9, 0.1, 0.2]))
    assert [c.number for c in RULES.ranked(list(asha.contenders(view).values()), 5)] == [2, 4, 3]
    trials = [replace(t, state=TrialState.DONE, outcome=Outcome.FAILED) if t.number == 2 else t
              for t in view.snapshot.trials]  # fmt: skip
    failed = View(replace(view.snapshot, trials=tuple(trials)), view.stage)
    assert [c.number for c in RULES.ranked(list(asha.contenders(failed).values()), 5)] == [4, 3]


def _opened(of: Study, values: list[float]):
    """The study with as many cells, each trained to its first rung."""
    rehearsal = Rehearsal(of.model_copy(update={"stages": [of.stages[0].model_copy(update={"cells": len(values)})]}))
    rehearsal.train(curves(values))
    return rehearsal.snapshot, rehearsal.snapshot.stages[0]


def test_a_search_that_finds_the_best_first_trains_what_halving_says():
    # Nine reach the rung at 5, three of them that at 15, one of these the end.
    values = [0.9 - i / 100 for i in range(9)]
    played = Rehearsal(study()).train(curves(values))
    assert ends(played) == [20, 15, 15, 5, 5, 5, 5, 5, 5]
    assert played.study.state == "closed"
    outcomes = [trial.outcome for trial in played.trials if trial.optuna]
    assert outcomes == [Outcome.COMPLETED, *[Outcome.PRUNED] * 8]
    paused = played.trials[2]
    assert (paused.final_epoch, paused.final_value) == (15, pytest.approx(0.89 + 0.015))


def test_what_is_better_than_all_before_goes_on_at_once():
    values = [i / 100 for i in range(9)]
    played = Rehearsal(study()).train(curves(values))
    # The first two pause: a third of two is none. At the second rung the same holds for the third and fourth.
    assert ends(played) == [5, 5, 15, 15, 20, 20, 20, 20, 20]


def test_a_search_of_few_cells_ends_with_one_that_is_trained_to_its_end():
    played = Rehearsal(study(cells=2)).train(curves([0.1, 0.2]))
    assert ends(played) == [5, 20]
    assert [t.outcome for t in played.trials if t.optuna] == [Outcome.PRUNED, Outcome.COMPLETED]
    assert played.stages[0].carried == "sample_002"


def test_no_cell_is_carried_by_its_lucky_seed():
    def results(stage, cell, seed):
        del stage
        value = {"sample_001": (0.9, 0.1), "sample_002": (0.8, 0.7)}.get(cell.name, (0.2, 0.2))[seed]
        return {epoch: (value if cell.levels else 0.0) + epoch / 1000 for epoch in (5, 10, 15, 20)}

    document = study().model_dump(mode="json") | {"replicates": {"seeds": [0, 1]}}
    played = Rehearsal(Study.model_validate(document)).train(results)
    names = {cell.id: cell.name for cell in played.cells}
    trained = {(names[t.cell_id], t.seed) for t in played.trials if t.outcome is Outcome.COMPLETED and t.optuna}
    assert {("sample_001", 0), ("sample_001", 1), ("sample_002", 0), ("sample_002", 1)} <= trained
    assert played.stages[0].carried == "sample_002"
    assert "(mean of 2 of 2 seeds)" in played.stages[0].carried_because


def test_a_paused_trial_goes_on_before_another_cell_is_asked_for():
    rehearsal = Rehearsal(study())
    rehearsal.train(curves([0.5, 0.4, 0.3, *[0.1] * 6]))
    # Rehearsed anew, stopped where the third cell has reached the rung and paused.
    trials = [t for t in rehearsal.snapshot.trials if t.number <= 4]
    kept = {t.cell_id for t in trials}
    at_rung = [
        replace(t, state=TrialState.PAUSED, outcome=None, ckpt_epoch=5, fence=1) if t.optuna else t for t in trials
    ]
    values = [v for v in rehearsal.snapshot.values if v.epoch <= 5 or v.trial_uid == trials[0].uid]
    values = [v for v in values if v.trial_uid in {t.uid for t in trials}]
    snapshot = replace(
        rehearsal.snapshot,
        study=replace(rehearsal.snapshot.study, state="open"),
        stages=tuple(replace(s, state="open", carried=None) for s in rehearsal.snapshot.stages),
        cells=tuple(c for c in rehearsal.snapshot.cells if c.id in kept),
        trials=tuple(at_rung),
        values=tuple(values),
    )
    assert advance(snapshot) == [Promote(trials[1].uid, 1)]
    waiting = [replace(t, state=TrialState.WAITING) if t.number == 2 else t for t in at_rung]
    assert advance(replace(snapshot, trials=tuple(waiting))) == []
    running = [replace(t, state=TrialState.RUNNING) if t.number == 2 else t for t in at_rung]
    (asked,) = advance(replace(snapshot, trials=tuple(running)))
    assert asked.cells[0].name == "sample_004"


@pytest.mark.parametrize("later_stage", [False, True])
def test_who_is_put_back_in_a_closed_stage_may_pause_and_the_study_still_ends(later_stage):
    of = study()
    if later_stage:
        following = {"name": "then", "design": "variants", "variants": {"a": {"sigma": 1.5}}}
        of = Study.model_validate({**of.model_dump(mode="json"), "stages": [of.stages[0].model_dump(), following]})
    values = [0.9 - i / 100 for i in range(9)]
    curve = curves(values)

    def of_any(stage, cell, seed):
        return curve(stage, cell, seed) if stage.ordinal == 0 else {20: 0.5}

    played = Rehearsal(of).train(of_any)
    ended = {t.uid for t in played.trials if t.outcome is Outcome.PRUNED}
    # As `posestudy launch --retry pruned` does.
    anew = [
        replace(t, state=TrialState.WAITING, outcome=None, ckpt_epoch=0, final_value=None) if t.uid in ended else t
        for t in played.trials
    ]
    kept = tuple(v for v in played.values if v.trial_uid not in ended)
    before = replace(played, study=replace(played.study, state="open"), trials=tuple(anew), values=kept)
    again = Rehearsal(of, before).train(of_any, workers=2)
    assert again.study.state == "closed"
    assert {t.uid for t in again.trials if t.outcome is Outcome.PRUNED} == ended
    assert [s.carried for s in again.stages] == [s.carried for s in played.stages]


def test_who_paused_below_the_first_rung_of_an_edited_file_goes_on_to_it():
    old = [contender(i, 0.9 - i / 10, paused=True) for i in range(3)]
    rules = replace(RULES, min_epochs=10)
    assert rules.promotable(old).number == 0
    reached = [contender(i, 0.1, 0.9 - i / 10, paused=True) for i in range(3)]
    assert rules.promotable([*reached, contender(7, 0.0, paused=True)]).number == 7


def test_trials_pause_no_longer_where_the_pruner_is_taken_out_of_the_file():
    rehearsal = Rehearsal(study(cells=2))
    rehearsal.train(curves([0.1, 0.2]))
    paused = tuple(
        replace(t, state=TrialState.PAUSED, outcome=None, fence=i) if t.optuna else t
        for i, t in enumerate(rehearsal.snapshot.trials)
    )
    stage = replace(rehearsal.snapshot.stages[0], state="open")
    document = study(cells=2, pruner="none").model_dump(mode="json")
    of = replace(rehearsal.snapshot.study, state="open", document=document)
    snapshot = replace(rehearsal.snapshot, study=of, stages=(stage,), trials=paused)
    assert advance(snapshot) == [Promote(t.uid, t.fence) for t in paused if t.optuna]


def test_the_paused_end_with_their_stage_by_a_change_of_its_own():
    rehearsal = Rehearsal(study(cells=3))
    seen = []
    apply = rehearsal.apply
    rehearsal.apply = lambda change: (seen.append(change), apply(change))[1]  # type: ignore[method-assign]
    rehearsal.train(curves([0.3, 0.2, 0.1]))
    (ended,) = [change for change in seen if isinstance(change, EndPaused)]
    assert (ended.metric, ended.direction) == ("coco/AP", Direction.MORE)
    assert all(t.state is TrialState.DONE for t in rehearsal.snapshot.trials)


def test_a_trial_is_not_judged_by_its_later_values():
    snapshot, _ = _opened(study(), [0.9, 0.8, 0.7])
    best = next(t for t in snapshot.trials if t.ckpt_epoch == 20 and t.optuna)
    assert decider.judge(snapshot, best.uid, 5)[0] is Verdict.GO
    assert decider.judge(snapshot, best.uid, 7) == (Verdict.GO, best.optuna)


def test_the_sampler_sees_a_paused_trial_with_its_last_value():
    snapshot, stage = _opened(study(sampler="tpe"), [0.9, 0.8, 0.7])
    states = {2: TrialState.PAUSED, 3: TrialState.RUNNING}
    trials = [
        replace(t, state=states[t.number], outcome=None, final_value=None) if t.number in states else t
        for t in snapshot.trials
    ]
    view = View(replace(snapshot, trials=tuple(trials)), stage)
    rebuilt = decider._rebuilt(study(sampler="tpe").stages[0], view)
    told = [(t.state.name, t.value, t.last_step) for t in rebuilt.trials]
    assert told == [
        ("PRUNED", pytest.approx(0.92), 20),
        ("PRUNED", pytest.approx(0.805), 5),
        ("PRUNED", pytest.approx(0.705), 5),
    ]


@pytest.mark.parametrize(
    ("pruner", "place"),
    [
        ({"type": "patience", "wrapped": "asha"}, ("pruner", "wrapped")),
        ({"type": "patience", "wrapped": {"type": "patience", "wrapped": "asha"}}, ("pruner", "wrapped", "wrapped")),
    ],
)
def test_a_pruner_that_ends_trials_wraps_none_that_lets_them_pause(pruner, place):
    (wrong,) = study(pruner=pruner).stages[0].mistakes()
    assert (wrong.path, wrong.found) == (place, "'asha'")


def test_two_objectives_take_no_pruner():
    (wrong,) = study(objectives=["coco/AP", "duration_s"]).stages[0].mistakes()
    assert (wrong.path, wrong.found) == (("pruner",), "'asha'")


def test_the_plan_of_such_a_search_names_all_its_cells():
    assert len(plan(study())["stages"][0]["cells"]) == 10


def test_the_plan_expects_what_halving_takes():
    baseline, *sampled = work(study())
    assert (baseline.part, baseline.only_evaluated) == (1.0, False)
    assert len(sampled) == 9
    assert not any(one.only_evaluated for one in sampled)
    # 9 x 5 + 3 x 10 + 1 x 5 epochs of 9 x 20, as in the search that finds the best first.
    assert [one.part for one in sampled] == [pytest.approx(80 / 180)] * 9
    assert {one.part for one in work(study(pruner="none"))} == {1.0}
    assert asha.expected_part(study().stages[0].pruner, 9, 5) == 1.0


def test_the_plan_expects_trials_to_stand_where_they_are_validated():
    # Rungs at 1, 3 and 9, one validation at 10: all nine are trained to 10, three of them to the end.
    of = study(pruner={"type": "asha", "min_epochs": 1, "reduction": 3}).model_dump(mode="json")
    of["baseline"] |= {"epochs": 20, "validate_every": 10}
    of = Study.model_validate(of)
    values = [0.9 - i / 100 for i in range(9)]
    trained = sum(ends(Rehearsal(of).train(curves(values, every=10))))
    assert trained == 9 * 10 + 3 * 10
    assert sum(one.part * one.training.epochs for one in work(of)[1:]) == pytest.approx(trained)


def test_the_plan_of_a_search_under_way_expects_what_is_left_of_it():
    # As it stands when five cells were asked for and all but the best pause.
    values = [0.9 - i / 100 for i in range(9)]
    played = Rehearsal(study()).train(curves(values))
    first = [t for t in played.trials if t.number <= 6]
    trials = [
        replace(t, state=TrialState.PAUSED, outcome=None, ckpt_epoch=5, final_value=None) if t.number > 2 else t
        for t in first
    ]
    cells = tuple(c for c in played.cells if c.id in {t.cell_id for t in trials})
    values_then = tuple(v for v in played.values if v.epoch <= 5 or v.trial_uid in {t.uid for t in first[:2]})
    values_then = tuple(v for v in values_then if v.trial_uid in {t.uid for t in trials})
    snapshot = replace(
        played,
        study=replace(played.study, state="open"),
        stages=tuple(replace(s, state="open", carried=None) for s in played.stages),
        cells=cells,
        trials=tuple(trials),
        values=values_then,
    )
    left = work(study(), snapshot=snapshot)
    assert {one.cell for one in left} == {f"sample_{i:03d}" for i in range(2, 10)}
    # Of 80 epochs the best has taken 20, four others 5 each.
    assert sum(one.part * one.training.epochs for one in left) == pytest.approx(80 - 20 - 20)


@given(
    values=st.lists(st.floats(0, 1, allow_nan=False), min_size=1, max_size=12),
    workers=st.integers(1, 5),
    reduction=st.integers(2, 4),
    min_epochs=st.integers(1, 25),
    every=st.integers(1, 7),
    seeds=st.lists(st.integers(0, 3), min_size=1, max_size=2, unique=True),
)
@settings(max_examples=60, deadline=None)
def test_every_search_ends_and_halves(values, workers, reduction, min_epochs, every, seeds):
    pruner = {"type": "asha", "min_epochs": min_epochs, "reduction": reduction}
    document = study(cells=len(values), pruner=pruner).model_dump(mode="json")
    document |= {"replicates": {"seeds": seeds}}
    played = Rehearsal(Study.model_validate(document)).train(curves(values, every), workers)
    rules = Halving(min_epochs, reduction, Direction.MORE)

    assert played.study.state == "closed"
    assert all(trial.state is TrialState.DONE for trial in played.trials)
    names = {cell.id: cell.name for cell in played.cells}
    searched = [trial for trial in played.trials if trial.optuna]
    assert len(searched) == len(values) * len(seeds)
    assert any(trial.outcome is Outcome.COMPLETED for trial in searched)

    # No epoch is validated twice, and a trial rests only where it has reached a rung, or at its end.
    validated = [(value.trial_uid, value.epoch) for value in played.values]
    assert len(set(validated)) == len(validated)
    for trial in searched:
        assert (trial.outcome is Outcome.COMPLETED) == (trial.ckpt_epoch == 20)
        stops = {min(20, math.ceil(rung / every) * every) for rung in rules.rungs(20)} | {20}
        assert trial.ckpt_epoch in stops

    # What is carried is so with all of its seeds.
    carried = [trial for trial in searched if names[trial.cell_id] == played.stages[0].carried]
    assert all(trial.outcome is Outcome.COMPLETED for trial in carried)

    # Whoever is among the best at a rung has gone on from it: the search leaves none of them behind.
    among = list(asha.contenders(View(played, played.stages[0])).values())
    for rung in rules.rungs(20):
        for one in rules.passing(among, rung):
            assert rules.reached(one) != rung or max(one.curve) == 20


@pytest.mark.parametrize("workers", [1, 4])
def test_the_epochs_of_a_random_order_are_near_those_of_halving(workers):
    # 27 cells of 45 epochs with rungs at 5 and 15: 27 x 5 + 9 x 10 + 3 x 30 where nobody is promoted by mistake.
    order = [(7 * i) % 27 / 100 for i in range(27)]
    document = study(cells=27).model_dump(mode="json")
    document["baseline"] |= {"epochs": 45}
    played = Rehearsal(Study.model_validate(document)).train(curves(order), workers)
    spent = sum(ends(played))
    assert 27 * 5 + 9 * 10 + 3 * 30 <= spent <= 1.5 * (27 * 5 + 9 * 10 + 3 * 30)
    best = max((t for t in played.trials if t.optuna), key=lambda t: t.best_value or 0.0)
    assert best.outcome is Outcome.COMPLETED
    assert best.final_value == pytest.approx(max(order) + 0.045)
