"""Optuna without memory decides as Optuna with memory does."""

import json
import math
from dataclasses import replace

import optuna
import pytest

from posestudy.ledger.records import ValueRecord
from posestudy.vocabulary import Outcome, TrialState
from posestudy_studies import decider
from posestudy_studies.designs.base import View
from posestudy_studies.designs.contract import stage_view, study_with

SPACE = {"optimizer.lr": {"log": [1e-5, 1e-2]}, "batch_size": {"int": [4, 64]}, "input_size": [[64, 64], [96, 96]]}
EPOCHS = 5


def stage(**fields):
    return {"name": "find", "design": "search", "space": SPACE, "cells": 30} | fields


def value(params, epoch):
    """A learning curve with a best learning rate."""
    distance = abs(math.log10(params["optimizer.lr"]) + 3) + abs(params["batch_size"] - 20) / 40
    return (1 - 0.3 * distance) * epoch / EPOCHS


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


def memoryless(search, view):
    """Params and the epoch at which each trial was pruned (0: not), one trial after the other."""
    history = []
    for index in range(30):
        _, kept = decider.ask(search, view)
        view, uid = added(view, kept)
        pruned_at = 0
        if index % 11 == 7:
            view = ended(view, uid, Outcome.DIVERGED, None)
            history.append((kept["params"], pruned_at))
            continue
        for epoch in range(1, EPOCHS + 1):
            view = recorded(view, uid, epoch, value(kept["params"], epoch))
            prune, attrs = decider.should_prune(view.snapshot, uid, epoch)
            trials = [replace(t, optuna=attrs) if t.uid == uid else t for t in view.snapshot.trials]
            view = View(replace(view.snapshot, trials=tuple(trials)), view.stage)
            if prune:
                pruned_at = epoch
                break
        last = value(kept["params"], pruned_at or EPOCHS)
        view = ended(view, uid, Outcome.PRUNED if pruned_at else Outcome.COMPLETED, last)
        history.append((kept["params"], pruned_at))
    return history


def live(search, view, sampler, pruner=None):
    """The same with one Optuna study that lives through all trials."""
    name = f"{view.snapshot.study.name}/{view.stage.name}"
    study = optuna.create_study(direction="maximize", pruner=pruner or optuna.pruners.MedianPruner(), study_name=name)
    history = []
    for index in range(30):
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
            trial.report(value(trial.params, epoch), epoch)
            if trial.should_prune():
                pruned_at = epoch
                break
        if pruned_at:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, value(trial.params, EPOCHS))
        history.append((dict(trial.params), pruned_at))
    return history


@pytest.mark.parametrize(
    ("name", "sampler"),
    [
        ("tpe", lambda seed: optuna.samplers.TPESampler(seed=seed)),
        ("random", lambda seed: optuna.samplers.RandomSampler(seed=seed)),
    ],
)
def test_thirty_trials_with_median_pruning_equal_a_live_study(name, sampler):
    search, view = start(sampler=name, pruner="median")
    ours, theirs = memoryless(search, view), live(search, view, sampler)
    assert ours == theirs
    assert sum(1 for _, pruned_at in ours if pruned_at) >= 3
    assert len({json.dumps(params) for params, _ in ours}) == 30


PRUNERS = {
    "hyperband": (
        {"type": "hyperband", "reduction": 2, "max_epochs": EPOCHS},
        lambda: optuna.pruners.HyperbandPruner(min_resource=1, max_resource=EPOCHS, reduction_factor=2),
    ),
    "successive_halving": (
        {"type": "successive_halving", "reduction": 2},
        lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2),
    ),
    "patience": (
        {"type": "patience", "patience": 0, "min_delta": 0.15},
        lambda: optuna.pruners.PatientPruner(None, patience=0, min_delta=0.15),
    ),
}


@pytest.mark.parametrize("name", PRUNERS)
def test_thirty_trials_with_another_pruner_equal_a_live_study(name):
    declared, pruner = PRUNERS[name]
    search, view = start(sampler="tpe", pruner=declared)
    ours = memoryless(search, view)
    assert ours == live(search, view, lambda seed: optuna.samplers.TPESampler(seed=seed), pruner())
    assert sum(1 for _, pruned_at in ours if pruned_at) >= 3


@pytest.mark.parametrize("name", ["qmc", "nsgaii", "gp"])
def test_thirty_trials_of_another_sampler_equal_a_live_study(name):
    search, view = start(sampler={"type": name, "startup_trials": 4, "population": 6}, pruner="none")
    fixed = decider._seed(view, -1)
    made = {
        "qmc": lambda seed: optuna.samplers.QMCSampler(
            scramble=True, seed=fixed, independent_sampler=optuna.samplers.RandomSampler(seed=seed)
        ),
        "nsgaii": lambda seed: optuna.samplers.NSGAIISampler(seed=seed, population_size=6),
        "gp": lambda seed: optuna.samplers.GPSampler(seed=seed, n_startup_trials=4),
    }
    ours = memoryless(search, view)
    assert ours == live(search, view, made[name], optuna.pruners.NopPruner())
    assert len({json.dumps(params) for params, _ in ours}) >= 20


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


@pytest.mark.parametrize("name", ["tpe", "gp", "nsgaii", "random"])
def test_what_ran_out_of_memory_is_not_asked_for_again(name):
    """Half of all batch sizes do not fit; nobody tells the sampler but the outcomes."""
    search, view = start(
        sampler={"type": name, "startup_trials": 3, "population": 4},
        pruner="none",
        space={"batch_size": {"int": [1, 64]}, "optimizer.lr": {"log": [1e-5, 1e-2]}},
    )
    asked = []
    for _ in range(16):
        levels, kept = decider.ask(search, view)
        view, uid = added(view, kept)
        cells = [
            replace(c, levels=levels, config=c.config | {"batch_size": levels["batch_size"]})
            if c.id == view.snapshot.trials[-1].cell_id
            else c
            for c in view.snapshot.cells
        ]
        view = View(replace(view.snapshot, cells=tuple(cells)), view.stage)
        too_large = levels["batch_size"] > 32
        asked.append(levels["batch_size"])
        outcome = Outcome.OUT_OF_MEMORY if too_large else Outcome.COMPLETED
        view = ended(view, uid, outcome, None if too_large else levels["batch_size"] / 100)
    smallest = 65
    for batch in asked:
        assert batch < smallest
        smallest = min(smallest, batch) if batch > 32 else smallest
    assert any(batch > 32 for batch in asked)
    assert any(batch <= 32 for batch in asked)


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
    assert decider.should_prune(view.snapshot, uid, 1)[0] is False
    _, pruned = start(pruner={"type": "median", "startup_trials": 1})
    assert decider.prunes(pruned.snapshot.study, pruned.stage)


def test_the_baseline_of_a_search_and_an_epoch_without_the_metric_are_never_pruned():
    search, view = start(pruner={"type": "median", "startup_trials": 0})
    baseline = view.snapshot.trials[0].uid
    assert decider.should_prune(recorded(view, baseline, 1, -9.0).snapshot, baseline, 1) == (False, {})
    for number in (0.5, 0.6):
        view, uid = added(view, decider.ask(search, view)[1])
        view = ended(recorded(view, uid, 1, number), uid, Outcome.COMPLETED, number)
    view, uid = added(view, decider.ask(search, view)[1])
    assert decider.should_prune(recorded(view, uid, 1, 0.1).snapshot, uid, 1)[0] is True
    assert decider.should_prune(recorded(view, uid, 1, 0.9).snapshot, uid, 1)[0] is False
    assert decider.should_prune(view.snapshot, uid, 1)[0] is False


def test_an_unknown_trial_is_an_error():
    _, view = start()
    with pytest.raises(KeyError):
        decider.should_prune(view.snapshot, "f" * 32, 1)
