"""Optuna without memory decides as Optuna with memory does."""

import json
import math
from dataclasses import replace

import optuna
import pytest

from posestudy.ledger.records import ValueRecord
from posestudy.vocabulary import Outcome, TrialState, Verdict
from posestudy_studies import decider, factors
from posestudy_studies.designs.base import View
from posestudy_studies.designs.contract import stage_view, study_with
from posestudy_studies.training import Training

SPACE = {"optimizer.lr": {"log": [1e-5, 1e-2]}, "batch_size": {"int": [4, 64]}, "input_size": [[64, 64], [96, 96]]}
EPOCHS = 5


def stage(**fields):
    return {"name": "find", "design": "search", "space": SPACE, "cells": 30} | fields


def value(params, epoch):
    """A learning curve with a best learning rate; far from it the curve falls."""
    distance = abs(math.log10(params["optimizer.lr"]) + 3) + abs(params["batch_size"] - 20) / 40
    rising = epoch / EPOCHS if distance < 1 else 0.5 - epoch / 20
    return (1 - 0.3 * distance) * rising


def ended(view, uid, outcome, final):
    trials = [
        replace(t, state=TrialState.DONE, outcome=outcome, final_value=final) if t.uid == uid else t
        for t in view.snapshot.trials
    ]
    return View(replace(view.snapshot, trials=tuple(trials)), view.stage)


def added(view, kept):
    """`view` with one more trial, its `optuna` through JSON as in the ledger."""
    template = view.snapshot.trials[0]
    n = len(view.snapshot.trials)
    cell = replace(view.snapshot.cells[0], id=n, ordinal=n, name=f"c{n}")
    trial = replace(
        template, uid=f"{n:032x}", number=n + 1, cell_id=n, state=TrialState.RUNNING, outcome=None, final_value=None,
        optuna=json.loads(json.dumps(kept)),
    )  # fmt: skip
    snapshot = replace(view.snapshot, cells=(*view.snapshot.cells, cell), trials=(*view.snapshot.trials, trial))
    return View(snapshot, view.stage), trial.uid


def recorded(view, uid, epoch, number):
    row = ValueRecord(uid, epoch, {"coco/AP": number, "loss": 1.0}, 0.0, 1)
    return View(replace(view.snapshot, values=(*view.snapshot.values, row)), view.stage)


def start(**fields):
    from posestudy_studies.cells import baseline_proposal

    study = study_with(stage(**fields))
    return study.stages[0], stage_view(study, [baseline_proposal()], [0.3])


def curve(params, epoch):
    """As `value`, but what learns too fast gets worse after epoch 2."""
    if params["optimizer.lr"] > 2e-3 and epoch > 2:
        return value(params, 2) - 0.05 * epoch
    return value(params, epoch)


def memoryless(search, view, trials=30):
    """Params and the epoch at which each trial was pruned (0: not), one trial after the other."""
    history = []
    for index in range(trials):
        _, kept = decider.ask(search, view)
        view, uid = added(view, kept)
        pruned_at = 0
        if index % 11 == 7:
            view = ended(view, uid, Outcome.DIVERGED, None)
            history.append((kept["params"], pruned_at))
            continue
        for epoch in range(1, EPOCHS + 1):
            view = recorded(view, uid, epoch, curve(kept["params"], epoch))
            if search.pruner.type == "none":
                continue
            verdict, attrs = decider.judge(view.snapshot, uid, epoch)
            rows = [replace(t, optuna=attrs) if t.uid == uid else t for t in view.snapshot.trials]
            view = View(replace(view.snapshot, trials=tuple(rows)), view.stage)
            if verdict is Verdict.PRUNE:
                pruned_at = epoch
                break
        last = curve(kept["params"], pruned_at or EPOCHS)
        view = ended(view, uid, Outcome.PRUNED if pruned_at else Outcome.COMPLETED, last)
        history.append((kept["params"], pruned_at))
    return history


def live(search, view, sampler, pruner, trials=30):
    """The same with one Optuna study that lives through all trials."""
    name = f"{view.snapshot.study.name}/{view.stage.name}"
    study = optuna.create_study(direction="maximize", pruner=pruner, study_name=name)
    history = []
    for index in range(trials):
        asked = replace(view.snapshot.trials[0], optuna={"distributions": "x"})
        rows = replace(view.snapshot, trials=(asked,) * index)
        study.sampler = sampler(decider._seed(View(rows, view.stage)))
        trial = study.ask(fixed_distributions=decider.distributions(search))
        pruned_at = 0
        if index % 11 == 7:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            history.append((dict(trial.params), pruned_at))
            continue
        for epoch in range(1, EPOCHS + 1):
            trial.report(curve(trial.params, epoch), epoch)
            if trial.should_prune():
                pruned_at = epoch
                break
        if pruned_at:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, curve(trial.params, EPOCHS))
        history.append((dict(trial.params), pruned_at))
    return history


def samplers(fixed):
    """What the study file says and the same in Optuna's words, given a seed."""
    return {
        "tpe": ("tpe", lambda seed: optuna.samplers.TPESampler(seed=seed)),
        "random": ("random", lambda seed: optuna.samplers.RandomSampler(seed=seed)),
        "qmc": (
            "qmc",
            lambda seed: optuna.samplers.QMCSampler(
                scramble=True, seed=fixed, independent_sampler=optuna.samplers.RandomSampler(seed=seed)
            ),
        ),
        "nsgaii": (
            {"type": "nsgaii", "population": 6},
            lambda seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=6),
        ),
        "gp": (
            {"type": "gp", "startup_trials": 4},
            lambda seed: optuna.samplers.GPSampler(seed=seed, n_startup_trials=4),
        ),
    }


PRUNERS = {
    "none": ("none", optuna.pruners.NopPruner),
    "median": ("median", optuna.pruners.MedianPruner),
    "hyperband": (
        {"type": "hyperband", "reduction": 2, "max_epochs": EPOCHS},
        lambda: optuna.pruners.HyperbandPruner(min_resource=1, max_resource=EPOCHS, reduction_factor=2),
    ),
    "successive_halving": (
        {"type": "successive_halving", "reduction": 2},
        lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
    ),
    "patience": (
        {"type": "patience", "patience": 1, "min_delta": 0.01},
        lambda: optuna.pruners.PatientPruner(None, patience=1, min_delta=0.01),
    ),
    "patience around median": (
        {"type": "patience", "patience": 0, "wrapped": "median"},
        lambda: optuna.pruners.PatientPruner(optuna.pruners.MedianPruner(), patience=0),
    ),
}


def equal_a_live_study(sampler_name, pruner_name, trials):
    fixed = decider._seed(start()[1], -1)
    declared, sampler = samplers(fixed)[sampler_name]
    declared_pruner, pruner = PRUNERS[pruner_name]
    search, view = start(sampler=declared, pruner=declared_pruner)
    ours = memoryless(search, view, trials)
    assert ours == live(search, view, sampler, pruner(), trials)
    pruned = sum(1 for _, pruned_at in ours if pruned_at)
    assert pruned == 0 if pruner_name == "none" else pruned >= 3
    # A genetic algorithm may breed the same child twice.
    assert len({json.dumps(params) for params, _ in ours}) >= (trials if sampler_name != "nsgaii" else trials // 2)


PAIRS = [
    *(("tpe", name) for name in PRUNERS if name != "none"),
    ("random", "median"),
    ("qmc", "none"),
    ("nsgaii", "none"),
    pytest.param("gp", "none", marks=pytest.mark.slow),
]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize(("sampler", "pruner"), PAIRS)
def test_thirty_trials_equal_a_live_study(sampler, pruner):
    equal_a_live_study(sampler, pruner, 30)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize(("sampler", "pruner"), [*PAIRS[:-1], ("nsgaii", "hyperband")])
def test_two_hundred_trials_equal_a_live_study(sampler, pruner):
    equal_a_live_study(sampler, pruner, 200)


def test_two_objectives_are_told_to_nsga_ii_in_their_directions():
    search, view = start(sampler="nsgaii", objectives=["coco/AP", "duration_s"])
    for duration in (10.0, 20.0):
        view, uid = added(view, decider.ask(search, view)[1])
        view = ended(recorded(view, uid, EPOCHS, 0.5), uid, Outcome.COMPLETED, 0.5)
        trials = [replace(t, duration_s=duration) if t.uid == uid else t for t in view.snapshot.trials]
        view = View(replace(view.snapshot, trials=tuple(trials)), view.stage)
    study = decider._rebuilt(search, view)
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert [t.values for t in study.trials] == [[0.5, 10.0], [0.5, 20.0]]
    assert len(study.best_trials) == 1


def test_latency_is_an_objective_and_a_trial_without_it_has_failed_for_the_sampler():
    search, view = start(sampler="nsgaii", objectives=["coco/AP", "latency_ms"])
    for profile in ({"latency_p50_ms": 3.0}, {"latency_p50_ms": 4}, {"parameters": 7}, None):
        view, uid = added(view, decider.ask(search, view)[1])
        view = ended(recorded(view, uid, EPOCHS, 0.5), uid, Outcome.COMPLETED, 0.5)
        trials = [replace(t, profile=profile) if t.uid == uid else t for t in view.snapshot.trials]
        view = View(replace(view.snapshot, trials=tuple(trials)), view.stage)
    study = decider._rebuilt(search, view)
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert [t.values for t in study.trials] == [[0.5, 3.0], [0.5, 4.0], None, None]
    assert [t.state.name for t in study.trials] == ["COMPLETE", "COMPLETE", "FAIL", "FAIL"]


def test_what_was_pruned_before_the_file_named_two_objectives_has_failed_for_the_sampler():
    search, view = start(sampler="nsgaii", objectives=["coco/AP", "duration_s"])
    view, uid = added(view, decider.ask(search, view)[1])
    view = ended(recorded(view, uid, 1, 0.1), uid, Outcome.PRUNED, 0.1)
    [trial] = decider._rebuilt(search, view).trials
    assert (trial.state.name, trial.values) == ("FAIL", None)
    assert decider.ask(search, view) == decider.ask(search, view)


@pytest.mark.parametrize("sampler", ["qmc", "nsgaii"])
def test_the_order_is_that_of_the_cells_where_a_trial_has_kept_the_number_of_an_earlier_plan(sampler):
    search, view = start(sampler={"type": sampler, "population": 3})
    plain = view
    for number in range(8):
        view, uid = added(view, decider.ask(search, view)[1])
        view = ended(recorded(view, uid, EPOCHS, number / 10), uid, Outcome.COMPLETED, number / 10)
        plain = view
    trials = plain.snapshot.trials
    numbers = {trials[2].uid: trials[8].number, trials[8].uid: trials[2].number}
    moved = tuple(replace(t, number=numbers.get(t.uid, t.number)) for t in trials)
    assert decider.ask(search, View(replace(plain.snapshot, trials=moved), view.stage)) == decider.ask(search, plain)


def conditional():
    return start(
        sampler="random",
        space={
            "backbone.frozen_stages": {"int": [0, 2], "when": {"model": "resnet34"}},
            "model": ["resnet18", "resnet34"],
            "sigma": {"choices": [1.0, 2.0], "when": {"model": ["resnet18"]}},
        },
    )


def test_a_factor_is_sampled_only_where_its_condition_holds():
    search, view = conditional()
    seen = set()
    for _ in range(20):
        levels, kept = decider.ask(search, view)
        assert set(levels) == set(kept["params"])
        assert ("backbone.frozen_stages" in levels) == (levels["model"] == "resnet34")
        assert ("sigma" in levels) == (levels["model"] == "resnet18")
        seen.add(levels["model"])
        view, uid = added(view, kept)
        view = ended(view, uid, Outcome.COMPLETED, 0.1)
    assert seen == {"resnet18", "resnet34"}


@pytest.mark.parametrize(("codec", "there"), [("megvii", True), ("msra", False)])
def test_a_condition_names_the_codec_that_the_stage_starts_from(codec, there):
    from posestudy_studies.cells import baseline_proposal

    space = {"codec.kernel_size": {"choices": [5, 7], "when": {"codec": "megvii"}}, "sigma": [1.0, 2.0]}
    study = study_with(stage(sampler="random", space=space), {"codec": codec})
    view = stage_view(study, [baseline_proposal()], [0.3])
    levels, _ = decider.ask(study.stages[0], view)
    assert ("codec.kernel_size" in levels) is there
    assert any("codec.kernel_size" in probe.levels for probe in study.stages[0].probes_on(study.baseline)) is there


def in_memory(view, uid, levels, fits):
    """`view` with the cell of trial `uid` configured so, and the trial ended as `fits(config)` says."""
    trial = next(t for t in view.snapshot.trials if t.uid == uid)
    (config,) = [
        factors.apply(Training.model_validate(c.config), levels).model_dump(mode="json")
        for c in view.snapshot.cells
        if c.id == trial.cell_id
    ]
    cells = [
        replace(c, levels=levels, config=config) if c.id == trial.cell_id else c for c in view.snapshot.cells
    ]  # fmt: skip
    view = View(replace(view.snapshot, cells=tuple(cells)), view.stage)
    if fits(config):
        return ended(view, uid, Outcome.COMPLETED, config["batch_size"] / 100)
    return ended(view, uid, Outcome.OUT_OF_MEMORY, None)


@pytest.mark.parametrize("name", ["tpe", pytest.param("gp", marks=pytest.mark.slow), "nsgaii", "qmc", "random"])
def test_what_ran_out_of_memory_is_not_asked_for_again(name):
    """Half of all batch sizes do not fit, the larger the better; nobody tells the sampler but the outcomes."""
    search, view = start(
        sampler={"type": name, "startup_trials": 3, "population": 4},
        space={"batch_size": {"int": [1, 64]}, "optimizer.lr": {"log": [1e-5, 1e-2]}},
    )
    asked = []
    for _ in range(16):
        levels, kept = decider.ask(search, view)
        assert decider.ask(search, view) == (levels, kept)
        view, uid = added(view, kept)
        view = in_memory(view, uid, levels, lambda config: config["batch_size"] <= 32)
        asked.append(levels["batch_size"])
    smallest = 65
    for batch in asked:
        assert batch < smallest
        smallest = min(smallest, batch) if batch > 32 else smallest
    assert any(batch > 32 for batch in asked)
    assert sum(batch <= 32 for batch in asked) >= 8


def test_where_nothing_fits_the_search_asks_on():
    search, view = start(sampler="random", space={"batch_size": [16, 32]})
    for _ in range(4):
        levels, kept = decider.ask(search, view)
        view, uid = added(view, kept)
        view = in_memory(view, uid, levels, lambda config: False)
    assert len(view.snapshot.trials) == 5


def test_a_smaller_input_is_asked_for_where_a_large_one_did_not_fit():
    search, view = start(sampler="random", space={"batch_size": [16, 32], "input_size": [[64, 64], [96, 96]]})
    asked = []
    for _ in range(24):
        levels, kept = decider.ask(search, view)
        view, uid = added(view, kept)
        view = in_memory(view, uid, levels, lambda config: config["input_size"] == [64, 64])
        asked.append((levels["batch_size"], levels["input_size"][0]))
    large = [batch for batch, width in asked if width == 96]
    # At the most the larger batch first and then the smaller.
    assert large in ([32, 16], [16])
    assert {batch for batch, width in asked if width == 64} == {16, 32}


def test_another_network_is_no_comparison_for_memory():
    search, view = start(
        sampler="random", space={"model": ["resnet18", "resnet34"], "batch_size": {"int": [1, 64]}}
    )  # fmt: skip
    asked = []
    for _ in range(30):
        levels, kept = decider.ask(search, view)
        view, uid = added(view, kept)
        view = in_memory(view, uid, levels, lambda config: config["model"] != "resnet34")
        asked.append((levels["model"], levels["batch_size"]))
    failed = [batch for model, batch in asked if model == "resnet34"]
    assert failed == sorted(set(failed), reverse=True)
    assert max(batch for model, batch in asked if model == "resnet18") > min(failed)


def test_tpe_gets_better_than_its_random_start():
    search, view = start(sampler="tpe")
    finals = [value(params, EPOCHS) for params, _ in memoryless(search, view)]
    assert sum(finals[15:]) / 15 > sum(finals[:10]) / 10


def test_levels_are_the_files_own_and_lists_come_back_as_lists():
    search, view = start()
    levels, kept = decider.ask(search, view)
    assert levels["input_size"] in ([64, 64], [96, 96])
    assert isinstance(kept["params"]["input_size"], str)
    assert json.loads(json.dumps(kept)) == kept


def test_a_stage_without_a_pruner_prunes_nothing_and_is_not_asked():
    search, view = start()
    assert not decider.prunes(view.snapshot.study, view.stage)
    view, uid = added(view, decider.ask(search, view)[1])
    view = recorded(view, uid, 1, -100.0)
    assert decider.judge(view.snapshot, uid, 1)[0] is Verdict.GO
    _, pruned = start(pruner={"type": "median", "startup_trials": 1})
    assert decider.prunes(pruned.snapshot.study, pruned.stage)


def test_the_baseline_of_a_search_and_an_epoch_without_the_metric_are_never_pruned():
    search, view = start(pruner={"type": "median", "startup_trials": 0})
    baseline = view.snapshot.trials[0].uid
    assert decider.judge(recorded(view, baseline, 1, -9.0).snapshot, baseline, 1) == (Verdict.GO, {})
    for number in (0.5, 0.6):
        view, uid = added(view, decider.ask(search, view)[1])
        view = ended(recorded(view, uid, 1, number), uid, Outcome.COMPLETED, number)
    view, uid = added(view, decider.ask(search, view)[1])
    assert decider.judge(recorded(view, uid, 1, 0.1).snapshot, uid, 1)[0] is Verdict.PRUNE
    assert decider.judge(recorded(view, uid, 1, 0.9).snapshot, uid, 1)[0] is Verdict.GO
    assert decider.judge(view.snapshot, uid, 1)[0] is Verdict.GO


def test_an_unknown_trial_is_an_error():
    _, view = start()
    with pytest.raises(KeyError):
        decider.judge(view.snapshot, "f" * 32, 1)
