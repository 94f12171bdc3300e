"""The model of the learning curves finds what was planted, and proposes and ranks by it."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from posestudy.ledger.records import ValueRecord
from posestudy.vocabulary import Outcome, TrialState, Verdict
from posestudy_studies import asha, curve_search, decider
from posestudy_studies.curve_model import CurveModel, Points, time
from posestudy_studies.designs.base import View
from posestudy_studies.designs.contract import DesignContract, stage_view, study_with
from posestudy_studies.failure_model import FailureModel
from posestudy_studies.rehearsal import Rehearsal

LONGEST = 100
SPACE = {
    "optimizer.lr": {"log": [1e-5, 1e-2]},
    "batch_size": {"int": [4, 64]},
    "model": ["resnet18", "resnet34"],
    "backbone.deep_stem": {"choices": [False, True], "when": {"model": "resnet34"}},
    "input_size": [[64, 64], [96, 96]],
}
STAGE = {
    "name": "find",
    "design": "search",
    "space": SPACE,
    "sampler": "curves",
    "cells": 30,
    "include_baseline": False,
}
ASHA = {"type": "asha", "min_epochs": 2, "reduction": 3, "rank": "forecast"}


def fit(kinds, codes, curves):
    """A model of curves `[(epoch, value), ...]`, one for each row of codes."""
    rows = [(i, float(time(e, LONGEST)), 0.0, v, 1.0, 0.0) for i, curve in enumerate(curves) for e, v in curve]
    training, *columns = np.array(rows, dtype=float).T
    return CurveModel(kinds, np.array(codes, dtype=float), Points(training.astype(int), *columns))


def at_end(model, codes, **more):
    codes = np.array(codes, dtype=float)
    means, _ = model.forecast(codes, np.zeros(len(codes)), np.zeros(len(codes)), **more)
    return means


def planted(code, epoch):
    """A choice that adds 0.3, another that takes 0.2, and a number that is best in the middle."""
    return 0.3 * code[0] - 0.2 * code[1] - 2.0 * (code[2] - 0.5) ** 2 + 0.4 * float(time(epoch, LONGEST))


# ---- the model


def test_planted_effects_are_found_from_short_trainings():
    random = np.random.default_rng(0)
    codes = np.column_stack([random.integers(0, 2, 40), random.integers(0, 2, 40), random.random(40)])
    curves = [[(e, planted(c, e) + 0.03 * random.standard_normal()) for e in (5, 10)] for c in codes]
    curves[0] += [(e, planted(codes[0], e)) for e in (20, 50, 100)]
    model = fit(["choice", "choice", "number"], codes, curves)
    base, helps, hurts, off = at_end(model, [[0, 0, 0.5], [1, 0, 0.5], [0, 1, 0.5], [0, 0, 0.9]])
    assert helps - base == pytest.approx(0.3, abs=0.08)
    assert hurts - base == pytest.approx(-0.2, abs=0.08)
    assert off < base - 0.15


def test_crossing_curves_are_forecast_better_than_by_their_last_values():
    """A factor that hurts early and helps late: a few long trainings tell, and short ones are ranked by it."""
    random = np.random.default_rng(1)

    def value(late, rate, epoch):
        return float(-0.3 * (rate - 0.5) + late * (0.25 + 0.25 * time(epoch, LONGEST)) + 0.3 * time(epoch, LONGEST))

    codes = [(i % 2, random.random()) for i in range(24)]
    lengths = [100 if i < 4 else 10 for i in range(24)]
    curves = [
        [(e, value(late, rate, e) + 0.02 * random.standard_normal()) for e in (5, 10, 20, 50, 100) if e <= length]
        for (late, rate), length in zip(codes, lengths, strict=True)
    ]
    model = fit(["choice", "number"], codes, curves)
    short = list(range(4, 24))
    truth = np.array([value(*codes[i], LONGEST) for i in short])
    told = at_end(model, [codes[i] for i in short], trainings=np.array(short))
    last = np.array([curves[i][-1][1] for i in short])

    def agreement(found):
        pairs = [(i, j) for i in range(len(truth)) for j in range(i)]
        return np.mean([(found[i] > found[j]) == (truth[i] > truth[j]) for i, j in pairs])

    assert agreement(told) > 0.85
    assert agreement(told) > agreement(last) + 0.2


def test_what_is_unlike_anything_tried_is_less_certain():
    codes = [[0, 0.2 + 0.01 * i] for i in range(10)]
    model = fit(["choice", "number"], codes, [[(10, 0.1), (100, 0.5)] for _ in codes])
    asked = np.array([[0, 0.25], [1, 0.9]])
    _, sds = model.forecast(asked, np.zeros(2), np.zeros(2))
    assert sds[1] > 2 * sds[0]
    drawn = [model.draw(asked, np.zeros(2), np.zeros(2), np.random.default_rng(i)) for i in range(200)]
    assert np.std(drawn, axis=0) == pytest.approx(sds, rel=0.2)


def test_failures_are_expected_where_they_happened():
    random = np.random.default_rng(2)
    codes = np.column_stack([random.random(40), random.integers(0, 2, 40)])
    model = FailureModel(["number", "choice"], [0, 2], codes, codes[:, 0] < 0.7)
    low, high = model.chance(np.array([[0.3, 0], [0.95, 0]]))
    assert low > 0.85
    assert high < 0.3


# ---- proposals


def view_of(stage, results):
    """The first stage with a trial for each proposal in turn; `results` maps levels to a curve or an outcome."""
    study = study_with(stage, {"epochs": 20, "validate_every": 2})
    view = stage_view(study, [], [])
    view = View(replace(view.snapshot, stages=(view.stage,)), view.stage)
    return study.stages[0], view, results


def grown(search, view, results, count):
    """`view` with `count` further trials asked for and ended."""
    for _ in range(count):
        levels, kept = decider.ask(search, view)
        number = len(view.snapshot.trials)
        study = study_with(STAGE, {"epochs": 20, "validate_every": 2})
        from posestudy_studies import cells
        from posestudy_studies.designs.base import Proposal

        proposal = Proposal(f"c{number}", levels, optuna=json.loads(json.dumps(kept)))
        template = stage_view(study, [proposal], [Outcome.COMPLETED])
        new = cells.new_cell(study, study.baseline, proposal, (0,))
        assert new.levels == levels
        cell = replace(template.snapshot.cells[0], id=number, ordinal=number)
        result = results(levels)
        outcome = result if isinstance(result, Outcome) else Outcome.COMPLETED
        curve = {} if isinstance(result, Outcome) else result
        trial = replace(
            template.snapshot.trials[0], uid=f"{number:032x}", number=number + 1, cell_id=number, outcome=outcome,
            final_value=curve[max(curve)] if curve else None,
        )  # fmt: skip
        rows = tuple(ValueRecord(trial.uid, e, {"coco/AP": v}, 0.0, 1) for e, v in curve.items())
        held = view.snapshot
        held = replace(
            held, cells=(*held.cells, cell), trials=(*held.trials, trial), values=(*held.values, *rows)
        )  # fmt: skip
        view = View(held, view.stage)
    return view


def quality(levels):
    """Best at a rate of 1e-3, a batch of 16 and large images."""
    off = (math.log10(levels["optimizer.lr"]) + 3) ** 2 + 0.3 * math.log2(levels["batch_size"] / 16) ** 2
    return 1.0 - 0.6 * off + 0.5 * (levels["input_size"] == [96, 96]) + 0.3 * (levels["model"] == "resnet34")


def learning(levels):
    best = quality(levels)
    return {e: 1 / (1 + math.exp(-(best - 3 * (1 - e / 20)))) for e in (2, 4, 10, 20)}


def started(**fields):
    search, view, _ = view_of({**STAGE, **fields}, None)
    return search, view


def test_cells_get_better_and_stay_inside_the_space():
    search, view = started()
    view = grown(search, view, learning, 22)
    for cell in view.cells:
        levels = cell.levels
        assert 1e-5 <= levels["optimizer.lr"] <= 1e-2
        assert isinstance(levels["batch_size"], int)
        assert 4 <= levels["batch_size"] <= 64
        assert ("backbone.deep_stem" in levels) == (levels["model"] == "resnet34")
    values = [quality(cell.levels) for cell in view.cells]
    assert np.median(values[14:]) > np.median(values[:10]) + 0.5
    assert max(values) > 1.5


def test_same_rows_same_cell_and_other_studies_other_cells():
    search, view = started()
    view = grown(search, view, learning, 12)
    first = decider.ask(search, view)
    curve_search.learnt.cache_clear()
    assert decider.ask(search, view) == first
    other = replace(view.snapshot, study=replace(view.snapshot.study, name="other"))
    assert decider.ask(search, View(other, view.stage)) != first


def test_the_first_cells_cover_every_level_alike():
    search, view = started()
    view = grown(search, view, learning, 10)
    assert sum(cell.levels["model"] == "resnet34" for cell in view.cells) == 5
    decades = sorted(int(math.log10(cell.levels["optimizer.lr"]) // 1) for cell in view.cells)
    assert {decades.count(d) for d in (-5, -4, -3)} <= {3, 4}


def test_the_first_cells_cover_every_level_alike_with_several_seeds_too():
    search, view = started()
    asked = []
    for _ in range(10):
        levels, _ = decider.ask(search, view)
        asked.append(levels["model"])
        grew = grown(search, view, learning, 1)
        replicate = replace(grew.trials[-1], uid=f"{100 + len(asked):032x}", seed=1, number=100 + len(asked))
        view = View(replace(grew.snapshot, trials=(*grew.snapshot.trials, replicate)), view.stage)
    assert asked.count("resnet34") == 5


def test_a_range_whose_ends_have_no_ratio_is_searched_between_them():
    search, view = started(space={"optimizer.weight_decay": {"log": [1e-200, 1e200]}})
    found = [math.log10(decider.ask(search, view)[0]["optimizer.weight_decay"])]
    for number in range(5):
        other = replace(view.snapshot, study=replace(view.snapshot.study, name=f"other{number}"))
        found.append(math.log10(decider.ask(search, View(other, view.stage))[0]["optimizer.weight_decay"]))
    assert len({round(value) for value in found}) > 3
    assert all(-200 < value < 200 for value in found)


def test_where_a_cell_ends_is_by_its_own_length_and_schedule():
    search, view = started(space={"schedule.type": ["step", "cosine"], "epochs": [10, 20]}, cells=4)
    cells = [{"schedule.type": kind, "epochs": epochs} for kind in ("step", "cosine") for epochs in (10, 20)]
    when, settled = curve_search._ends(cells, view, 20)
    assert list(when) == [pytest.approx(time(epochs, 20)) for epochs in (10, 20, 10, 20)]
    assert list(settled) == [0, 0, 1, 1]
    assert search.space.keys() == {"schedule.type", "epochs"}


def test_a_metric_that_never_moves_is_searched_as_widely_as_by_chance():
    search, view = started()
    view = grown(search, view, lambda _: {2: 0.4, 20: 0.4}, 24)
    asked = [json.dumps(cell.levels) for cell in view.cells]
    assert len(set(asked)) == len(asked)
    assert {cell.levels["model"] for cell in view.cells[10:]} == {"resnet18", "resnet34"}
    assert {json.dumps(cell.levels["input_size"]) for cell in view.cells[10:]} == {"[64, 64]", "[96, 96]"}


@pytest.mark.parametrize("outcome", [Outcome.OUT_OF_MEMORY, Outcome.DIVERGED, Outcome.NOT_CONVERGED])
def test_cells_that_fail_are_avoided(outcome):
    search, view = started()
    view = grown(search, view, lambda x: outcome if x["batch_size"] > 24 else learning(x), 26)
    failing = [cell.levels["batch_size"] > 24 for cell in view.cells]
    assert sum(failing[10:]) < 0.5 * 16


@pytest.mark.parametrize("result", [Outcome.OUT_OF_MEMORY, Outcome.FAILED, Outcome.DIVERGED])
def test_goes_on_where_nothing_has_a_value(result):
    search, view = started()
    view = grown(search, view, lambda _: result, 13)
    assert len(view.cells) == 13
    assert set(curve_search.forecasts(search, view).values()) <= {-math.inf}


def test_errors_are_less_in_forecasts_that_are_more():
    search, view = started()
    metric = replace(view.snapshot.study, document={**view.snapshot.study.document, "metric": "nme"})
    view = grown(search, View(replace(view.snapshot, study=metric), view.stage), learning, 8)
    values = [replace(v, metrics={"nme": 1 - v.metrics["coco/AP"]}) for v in view.snapshot.values]
    view = View(replace(view.snapshot, values=tuple(values)), view.stage)
    told = curve_search.forecasts(search, view)
    finals = {t.uid: min(v.metrics["nme"] for v in values if v.trial_uid == t.uid) for t in view.trials}
    fine = [uid for uid, value in told.items() if value > -math.inf]
    assert min(finals, key=finals.get) == max(fine, key=told.get)


# ---- ranks at rungs


def test_what_comes_after_the_question_is_not_looked_at():
    search, view = started(pruner=ASHA)
    view = grown(search, view, learning, 12)
    asking = view.trials[-1].uid
    before = curve_search.forecasts(search, view, asking, 2)
    later = tuple(v for v in view.snapshot.values if v.trial_uid != asking or v.epoch <= 2)
    trials = tuple(
        replace(t, state=TrialState.RUNNING, outcome=None) if t.uid == asking else t for t in view.snapshot.trials
    )
    assert (
        curve_search.forecasts(search, View(replace(view.snapshot, values=later, trials=trials), view.stage)) == before
    )


def test_forecasts_rank_at_a_rung_and_no_more_pass_than_there_are_places():
    rules = asha.Halving(2, 3, asha.Direction.MORE)
    among = [asha.Contender(i, 20, {2: 0.1 * i}, True, forecast=-float(i)) for i in range(6)]
    assert [one.number for one in rules.ranked(among, 2)] == [0, 1, 2, 3, 4, 5]
    assert rules.promotable(among).number == 0
    assert rules.verdict(among[0], among, 2) is Verdict.GO
    # Two went on; the order turned over since, and a third must not.
    gone = [replace(one, curve={2: 0.1, 6: 0.2}, forecast=-9.0) if one.number > 3 else one for one in among]
    assert rules.passing(gone, 2) == []
    assert rules.verdict(gone[0], gone, 2) is Verdict.PAUSE


def test_a_search_by_forecasts_ends_with_its_best_cell_trained_to_its_end():
    def stage(**fields):
        return {**STAGE, "cells": 14, "pruner": ASHA, **fields}

    study = study_with(stage(), {"epochs": 20, "validate_every": 2})
    every = range(2, 21, 2)
    curves = {}

    def trained(_stage, cell, _seed):
        best = quality(cell.levels)
        curves[cell.name] = best
        return {e: 1 / (1 + math.exp(-(best - 3 * (1 - e / 20)))) for e in every}

    snapshot = Rehearsal(study).train(trained)
    assert snapshot.study.state == "closed"
    carried = snapshot.stages[0].carried
    assert curves[carried] >= sorted(curves.values())[-3]
    (best,) = [c for c in snapshot.cells if c.name == carried]
    assert [t.outcome for t in snapshot.trials if t.cell_id == best.id] == [Outcome.COMPLETED]
    spent = sum(t.ckpt_epoch for t in snapshot.trials)
    assert spent < 0.6 * 14 * 20


def test_two_objectives_are_refused():
    search = study_with({**STAGE, "sampler": "nsgaii", "objectives": ["coco/AP", "duration_s"]}).stages[0]
    wrong = search.model_copy(update={"sampler": search.sampler.model_copy(update={"type": "curves"})})
    assert any("nsgaii" in mistake.expected for mistake in wrong.mistakes())


def test_a_warm_start_is_refused():
    search = study_with({**STAGE, "warm_start": ["other"]}).stages[0]
    assert [mistake.path for mistake in search.mistakes()] == [("sampler",)]


class TestSearchByCurves(DesignContract):
    stage = {**STAGE, "include_baseline": True, "cells": 13}  # noqa: RUF012
