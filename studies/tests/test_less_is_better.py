"""An error is searched, pruned, carried and replicated as the mirror image of an accuracy."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from posestudy.ledger.records import AddSeeds, CloseStage, ValueRecord
from posestudy.vocabulary import Outcome, TrialState, Verdict
from posestudy_studies import advance, decider, seed_spread
from posestudy_studies.cells import baseline_proposal
from posestudy_studies.designs.base import Proposal, View
from posestudy_studies.designs.contract import stage_view, study_with
from posestudy_studies.spec import Study

METRICS = {"coco/AP": 1, "nme": -1}
SEARCH = {
    "name": "find", "design": "search", "cells": 14, "sampler": {"type": "tpe", "startup_trials": 4},
    "pruner": {"type": "median", "startup_trials": 3}, "space": {"optimizer.lr": {"log": [1e-5, 1e-1]}},
}  # fmt: skip
VARIANTS = {
    "name": "find", "design": "variants",
    "variants": {f"v{i}": {"optimizer.lr": 10.0**-i} for i in range(1, 4)},
}  # fmt: skip


def study_of(metric: str, stage: dict[str, Any]) -> Study:
    return study_with(stage).model_copy(update={"metric": metric})


def cells_of(metric: str, stage: dict[str, Any]) -> tuple[Study, list[Proposal]]:
    study = study_of(metric, stage)
    return study, [baseline_proposal(), *study.stages[0].opening(study.baseline)]


def curve(rate: float, epoch: int) -> float:
    """Best at 1e-3."""
    return (1 - 0.3 * abs(math.log10(rate) + 3)) * epoch / 4


def searched(metric: str) -> list[tuple[float, int]]:
    """Learning rate and the epoch it was pruned at (0: not) of each trial of a search."""
    study = study_of(metric, SEARCH)
    search: Any = study.stages[0]
    view = stage_view(study, [baseline_proposal()], [METRICS[metric] * 0.3])
    path = []
    for number in range(1, search.cells):
        _, kept = decider.ask(search, view)
        cell = replace(view.snapshot.cells[0], id=number, ordinal=number, name=f"c{number}")
        trial = replace(
            view.snapshot.trials[0], uid=f"{number:032x}", number=number + 1, cell_id=number,
            state=TrialState.RUNNING, outcome=None, final_value=None, optuna=json.loads(json.dumps(kept)),
        )  # fmt: skip
        rate, pruned_at, rows = float(kept["params"]["optimizer.lr"]), 0, (*view.snapshot.trials, trial)
        view = View(replace(view.snapshot, cells=(*view.snapshot.cells, cell), trials=rows), view.stage)
        for epoch in range(1, 5):
            value = ValueRecord(trial.uid, epoch, {metric: METRICS[metric] * curve(rate, epoch)}, 0.0, 1)
            view = View(replace(view.snapshot, values=(*view.snapshot.values, value)), view.stage)
            verdict, attributes = decider.judge(view.snapshot, trial.uid, epoch)
            trial = replace(trial, optuna=attributes)
            view = View(replace(view.snapshot, trials=(*view.snapshot.trials[:-1], trial)), view.stage)
            if verdict is Verdict.PRUNE:
                pruned_at = epoch
                break
        final = METRICS[metric] * curve(rate, pruned_at or 4)
        outcome = Outcome.PRUNED if pruned_at else Outcome.COMPLETED
        done = replace(trial, state=TrialState.DONE, outcome=outcome, final_value=final)
        view = View(replace(view.snapshot, trials=(*view.snapshot.trials[:-1], done)), view.stage)
        path.append((rate, pruned_at))
    return path


def test_a_search_of_an_error_takes_the_mirror_images_path() -> None:
    found = searched("nme")
    assert found == searched("coco/AP")
    pruned = [rate for rate, at in found if at]
    assert pruned
    assert all(abs(math.log10(rate) + 3) > 0.3 for rate in pruned)


@pytest.mark.parametrize(("metric", "best"), [("coco/AP", "v2"), ("nme", "v3"), ("epe", "v3"), ("pck", "v2")])
def test_the_best_cell_is_carried(metric: str, best: str) -> None:
    view = stage_view(*cells_of(metric, VARIANTS), [0.3, 0.4, 0.5, 0.1])
    (closed,) = [change for change in advance.advance(view.snapshot) if isinstance(change, CloseStage)]
    assert closed.carried == best
    assert ("(lowest)" in closed.reason) == (metric in ("nme", "epe"))


def test_of_an_error_the_cells_with_the_smallest_get_more_seeds_first() -> None:
    stage = {**VARIANTS, "replicates": {"seeds": [0, 1, 2], "when": "unresolved"}}
    for metric, expected in (("coco/AP", {"v1", "v2"}), ("nme", {"v3", "baseline"})):
        view = stage_view(*cells_of(metric, stage), [0.3, 0.4, 0.41, 0.29])
        (added,) = [change for change in advance.advance(view.snapshot) if isinstance(change, AddSeeds)]
        assert set(added.seeds) == expected, metric


def test_an_error_above_one_is_no_share() -> None:
    """The spread of a share is comparable near it alone; of an error nothing is known, so every group counts."""
    view = stage_view(*cells_of("nme", VARIANTS), [0.03, 0.031, 0.5, 0.5])
    trials = view.snapshot.trials
    twice = [replace(trials[i], uid=f"{9 + i:032x}", seed=1, final_value=0.52) for i in (2, 3)]
    snapshot = replace(view.snapshot, trials=(*trials, *twice))
    assert seed_spread.resolved(snapshot, [0.03], [0.031]) is False
    shares = replace(snapshot, study=replace(snapshot.study, document={**snapshot.study.document, "metric": "pck"}))
    assert seed_spread.resolved(shares, [0.03], [0.031]) is None
