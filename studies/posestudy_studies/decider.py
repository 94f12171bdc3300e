"""Optuna decides and remembers nothing: its study is rebuilt in memory from ledger rows before every question."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any, Literal

from posestudy.ledger.records import CellRecord, Snapshot, StageRecord, StudyRecord, TrialRecord
from posestudy.vocabulary import METRICS, Direction, Outcome, TrialState
from posestudy_studies.designs.base import View
from posestudy_studies.designs.search import Log, Search, Uniform, Whole, choice_text

if TYPE_CHECKING:
    import optuna

Json = dict[str, Any]


def ask(search: Search, view: View) -> tuple[Json, Json]:
    """The levels of the next cell of a search, and the `optuna` JSON its trials start with.

    The sampler's random numbers are a function of study, stage and how many cells were asked for, so that
    asking twice about the same rows gives the same answer.
    """
    from optuna.distributions import distribution_to_json

    study = _rebuilt(search, view)
    study.sampler = _sampler(search, _seed(view))
    space = distributions(search)
    trial = study.ask(fixed_distributions=space)
    params = dict(trial.params)
    kept = {
        "params": params,
        "distributions": {name: distribution_to_json(space[name]) for name in params},
        "system_attrs": dict(study.get_trials(deepcopy=False)[trial.number].system_attrs),
    }
    return search.levels(params), kept


def prunes(study: StudyRecord, stage: StageRecord) -> bool:
    """Whether trials of `stage` are asked about pruning at all; imports nothing, fit for every epoch."""
    stages = study.document.get("stages") or []
    if stage.design != "search" or stage.ordinal >= len(stages):
        return False
    pruner = stages[stage.ordinal].get("pruner") or {}
    return bool(pruner.get("type", "none") != "none")


def should_prune(snapshot: Snapshot, uid: str, epoch: int) -> tuple[bool, Json]:
    """Whether the trial `uid` should stop after `epoch`, and its new `optuna` JSON to save with the decision.

    Values after `epoch` are not looked at. A trial outside a search, such as a stage's baseline, is never
    pruned. Raises `KeyError` where the snapshot has no such trial.
    """
    record = next((t for t in snapshot.trials if t.uid == uid), None)
    if record is None:
        raise KeyError(uid)
    view, search = _stage_of(snapshot, record)
    metric = snapshot.study.document["metric"]
    evaluated = any(v.epoch == epoch and metric in v.metrics for v in view.values(uid))
    if search is None or not record.optuna or search.pruner.type == "none" or not evaluated:
        return False, dict(record.optuna)
    study = _rebuilt(search, view, asking=uid, until=epoch)
    number = [t.uid for t in _asked(view)].index(uid)
    prune = study.pruner.prune(study, study.get_trials(deepcopy=True)[number])
    attrs = dict(study.get_trials(deepcopy=False)[number].system_attrs)
    return bool(prune), {**record.optuna, "system_attrs": attrs}


def distributions(search: Search) -> dict[str, optuna.distributions.BaseDistribution]:
    """The search space in Optuna's words."""
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

    space: dict[str, BaseDistribution] = {}
    for factor, dimension in search.space.items():
        match dimension:
            case Log(log=(low, high)):
                space[factor] = FloatDistribution(low, high, log=True)
            case Uniform(uniform=(low, high)):
                space[factor] = FloatDistribution(low, high)
            case Whole(int=(low, high)):
                space[factor] = IntDistribution(int(low), int(high))
            case list() as choices:
                space[factor] = CategoricalDistribution([choice_text(c) for c in choices])
    return space


def _stage_of(snapshot: Snapshot, trial: TrialRecord) -> tuple[View, Search | None]:
    cell: CellRecord = next(c for c in snapshot.cells if c.id == trial.cell_id)
    stage = next(s for s in snapshot.stages if s.id == cell.stage_id)
    view = View(snapshot, stage)
    if stage.design != "search":
        return view, None
    return view, Search.model_validate(snapshot.study.document["stages"][stage.ordinal])


def _asked(view: View) -> list[TrialRecord]:
    return [trial for trial in view.trials if trial.optuna.get("distributions")]


def _seed(view: View) -> int:
    text = f"{view.snapshot.study.name}\0{view.stage.name}\0{len(_asked(view))}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def _sampler(search: Search, seed: int) -> optuna.samplers.BaseSampler:
    import optuna

    if search.sampler.type == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=search.sampler.startup_trials)


def _pruner(search: Search) -> optuna.pruners.BasePruner:
    import optuna

    pruner = search.pruner
    if pruner.type == "none":
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(pruner.startup_trials, pruner.warmup_epochs, pruner.interval_epochs)


def _rebuilt(search: Search, view: View, asking: str | None = None, until: int = 0) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    metric = METRICS[view.snapshot.study.document["metric"]]
    direction: Literal["maximize", "minimize"] = "maximize" if metric.direction is Direction.MORE else "minimize"
    study = optuna.create_study(direction=direction, pruner=_pruner(search), sampler=_sampler(search, 0))
    for trial in _asked(view):
        study.add_trial(_frozen(view, trial, metric.name, until if trial.uid == asking else None))
    return study


def _frozen(view: View, trial: TrialRecord, metric: str, until: int | None) -> optuna.trial.FrozenTrial:
    from optuna.distributions import json_to_distribution
    from optuna.trial import TrialState as State
    from optuna.trial import create_trial

    curve = {v.epoch: v.metrics[metric] for v in view.values(trial.uid) if metric in v.metrics}
    if until is not None:
        curve = {epoch: value for epoch, value in curve.items() if epoch <= until}
    state, value = State.RUNNING, None
    if until is None and trial.state is TrialState.DONE:
        state, value = State.FAIL, None
        if trial.outcome is Outcome.COMPLETED and _finite(trial.final_value):
            state, value = State.COMPLETE, trial.final_value
        elif trial.outcome is Outcome.PRUNED:
            # As Optuna's own `tell` does: the last value stands for the whole trial.
            last = curve[max(curve)] if curve else None
            state, value = State.PRUNED, last if _finite(last) else None
    return create_trial(
        state=state,
        value=value,
        params=trial.optuna["params"],
        distributions={name: json_to_distribution(d) for name, d in trial.optuna["distributions"].items()},
        system_attrs=trial.optuna.get("system_attrs") or {},
        intermediate_values=curve,
    )


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
