"""Optuna decides and remembers nothing: its study is rebuilt in memory from ledger rows before every question."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Literal

from posestudy.ledger.records import CellRecord, Snapshot, StageRecord, StudyRecord, TrialRecord
from posestudy.vocabulary import METRICS, Direction, Outcome, TrialState, Verdict
from posestudy_studies import asha, factors, optuna_sampling, warm_start
from posestudy_studies.designs import first_cells
from posestudy_studies.designs.base import View
from posestudy_studies.designs.conditions import holds
from posestudy_studies.designs.sampling import Sampler
from posestudy_studies.designs.search import OUTCOMES, Log, Search, Uniform, Whole, choice_text
from posestudy_studies.training import Training

if TYPE_CHECKING:
    import optuna

Json = dict[str, Any]

_OPTUNA: dict[Direction, Literal["maximize", "minimize"]] = {Direction.MORE: "maximize", Direction.LESS: "minimize"}
MOST_ASKED = 40
"""So many proposals are asked for where each must run out of memory; the last one is taken."""
MOST_LEARNT = 8
"""So many of them the sampler makes, told each time that the one before would not fit; chance makes the others."""


def ask(search: Search, view: View) -> tuple[Json, Json]:
    """The levels of the next cell of a search, and the `optuna` JSON its trials start with.

    The sampler's random numbers are a function of study, stage and how many cells were asked for, so that
    asking twice about the same rows gives the same answer. A proposal that is at least as large as a cell that ran out
    of memory, in all that drives memory, is asked for again, at most `MOST_ASKED` times. The cells that the file wants
    tried first are no proposals and come as they are.

    Raises:
        PoseStudyError: the levels do not fit the configuration that the stage starts from.
    """
    out_of_memory = [cell.config for cell in _without_memory(view)]
    start = Training.model_validate(view.stage.start)
    given = first_cells.of(search, _count(view), view.stage.start)
    if search.sampler.type == "curves":
        return _recorded(search, _proposed(search, view, start, out_of_memory) if given is None else given)
    rejected: list[Json] = []
    while True:
        levels, kept = _asked_once(search, view, rejected, given)
        if given is not None or not out_of_memory or len(rejected) == MOST_ASKED - 1:
            return levels, kept
        config = factors.apply(start, levels).model_dump(mode="json")
        if not any(_at_least(config, known) for known in out_of_memory):
            return levels, kept
        rejected.append(kept)


def _count(view: View) -> int:
    """How many cells were asked for."""
    return len({trial.cell_id for trial in _asked(view)})


def _proposed(search: Search, view: View, start: Training, out_of_memory: Sequence[Json]) -> Json:
    """What the model of the learning curves proposes."""
    from posestudy_studies import curve_search

    def fits(levels: Json) -> bool:
        config = factors.apply(start, levels).model_dump(mode="json") if out_of_memory else {}
        return not any(_at_least(config, known) for known in out_of_memory)

    sampled = _count(view) - len(search.first_cells)
    return curve_search.propose(search, view, sampled, _seed(view), _seed(view, -1), fits)


def _recorded(search: Search, levels: Json) -> tuple[Json, Json]:
    """The levels and the `optuna` JSON of a cell that no sampler of Optuna's proposed."""
    from optuna.distributions import distribution_to_json

    space = distributions(search)
    return levels, {
        "params": {name: choice_text(level) for name, level in levels.items()},
        "distributions": {name: distribution_to_json(space[name]) for name in levels},
        "system_attrs": {},
        "study_attrs": {},
    }


def _asked_once(search: Search, view: View, rejected: Sequence[Json], given: Json | None = None) -> tuple[Json, Json]:
    """One question after those answered with the `optuna` JSON of `rejected`; where levels are `given`, about these."""
    from optuna.distributions import distribution_to_json

    study = _rebuilt(search, view)
    before = deepcopy(_study_attrs(study))
    for kept in rejected:
        _remember(study, kept["study_attrs"])
        if search.sampler.type in optuna_sampling.MODELS:
            study.add_trial(_too_large(kept, _worst(search, view)))
    wanted = search.sampler if len(rejected) < MOST_LEARNT else Sampler(type="random")
    study.sampler = optuna_sampling.sampler(wanted, _seed(view, len(rejected)), _seed(view, -1))
    if given is not None:
        study.enqueue_trial({factor: choice_text(level) for factor, level in given.items()})
    trial = study.ask()
    space = distributions(search)
    levels: Json = {}
    begun = bool(_asked(view)) or not search.warm_start
    for factor in search.order():
        exists = holds(search.when(factor), levels, view.stage.start) if given is None else factor in given
        if exists:
            levels[factor] = search.level(factor, _suggest(trial, factor, space[factor]))
    params = dict(trial.params)
    kept = {
        "params": params,
        "distributions": {name: distribution_to_json(space[name]) for name in params},
        "system_attrs": dict(study.get_trials(deepcopy=False)[trial.number].system_attrs),
        # What the sampler noted in the study: the place in a Sobol sequence, the parents of a generation.
        "study_attrs": {name: value for name, value in _study_attrs(study).items() if before.get(name) != value},
    }
    return levels, kept if begun else {**kept, warm_start.KEY: warm_start.record(search, view)}


def _too_large(kept: Json, worst: list[float]) -> optuna.trial.FrozenTrial:
    """A trial that was not started because it cannot fit, as one that ran out of memory."""
    from optuna.distributions import json_to_distribution
    from optuna.trial import create_trial

    kinds = {name: json_to_distribution(kind) for name, kind in kept["distributions"].items()}
    return create_trial(values=worst, params=kept["params"], distributions=kinds, constraints={"memory": 1.0})


def _study_attrs(study: optuna.Study) -> Json:
    return dict(study._storage.get_study_system_attrs(study._study_id))


def _remember(study: optuna.Study, attrs: Json) -> None:
    for name, value in attrs.items():
        study._storage.set_study_system_attr(study._study_id, name, value)


def _suggest(trial: optuna.Trial, factor: str, kind: optuna.distributions.BaseDistribution) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    match kind:
        case FloatDistribution():
            return trial.suggest_float(factor, kind.low, kind.high, log=kind.log)
        case IntDistribution():
            return trial.suggest_int(factor, kind.low, kind.high)
        case CategoricalDistribution():
            return trial.suggest_categorical(factor, kind.choices)
    raise TypeError(kind)


def _without_memory(view: View) -> list[CellRecord]:
    """Cells of the stage that ran out of memory with some seed."""
    ids = {t.cell_id for t in view.trials if t.outcome is Outcome.OUT_OF_MEMORY}
    return [cell for cell in view.cells if cell.id in ids]


_NETWORK = ("model", "backbone", "head", "codec", "amp")


def _at_least(config: Json, known: Json) -> bool:
    """Whether `config` needs at least the memory of `known`: the same network, batch and sizes no smaller."""
    same = all(config[factor] == known.get(factor) for factor in _NETWORK)
    same = same and config["optimizer"]["type"] == known["optimizer"]["type"]
    mine, theirs = config["heatmap_size"], known.get("heatmap_size")
    # A heatmap size that follows the input is no smaller where the input is not.
    heatmaps = mine == theirs or (mine is not None and theirs is not None and _area(mine) >= _area(theirs))
    larger = config["batch_size"] >= known["batch_size"] and _area(config["input_size"]) >= _area(known["input_size"])
    return bool(same and heatmaps and larger)


def _area(size: list[int]) -> int:
    return size[0] * size[1]


def prunes(study: StudyRecord, stage: StageRecord) -> bool:
    """Whether trials of `stage` are asked about pruning at all; imports nothing, fit for every epoch."""
    stages = study.document.get("stages") or []
    if stage.design != "search" or stage.ordinal >= len(stages):
        return False
    pruner = stages[stage.ordinal].get("pruner") or {}
    return bool(pruner.get("type", "none") != "none")


def judge(snapshot: Snapshot, uid: str, epoch: int) -> tuple[Verdict, Json]:
    """What becomes of the trial `uid` after `epoch`, and its new `optuna` JSON to save with the decision.

    Its values after `epoch` are not looked at. A trial outside a search, such as a stage's baseline, always goes on.
    Raises `KeyError` where the snapshot has no such trial.
    """
    record = next((t for t in snapshot.trials if t.uid == uid), None)
    if record is None:
        raise KeyError(uid)
    view, search = _stage_of(snapshot, record)
    metric = snapshot.study.document["metric"]
    evaluated = any(v.epoch == epoch and metric in v.metrics for v in view.values(uid))
    if search is None or not record.optuna or search.pruner.type == "none" or not evaluated:
        return Verdict.GO, dict(record.optuna)
    if search.pruner.type == "asha":
        return asha.judge(view, search.pruner, uid, epoch, _forecasts(search, view, uid, epoch)), dict(record.optuna)
    study = _rebuilt(search, view, asking=uid, until=epoch)
    asked = _asked(view)
    number = len(_known(search, view, asked)) + [t.uid for t in asked].index(uid)
    prune = study.pruner.prune(study, study.get_trials(deepcopy=True)[number])
    attrs = dict(study.get_trials(deepcopy=False)[number].system_attrs)
    return Verdict.PRUNE if prune else Verdict.GO, {**record.optuna, "system_attrs": attrs}


def _forecasts(search: Search, view: View, uid: str, epoch: int) -> Callable[[], Mapping[str, float]] | None:
    if search.pruner.rank != "forecast":
        return None

    def forecasts() -> Mapping[str, float]:
        from posestudy_studies import curve_search

        return curve_search.forecasts(search, view, uid, epoch)

    return forecasts


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
            case _:
                space[factor] = CategoricalDistribution([choice_text(c) for c in search.choices(factor) or ()])
    return space


def _stage_of(snapshot: Snapshot, trial: TrialRecord) -> tuple[View, Search | None]:
    cell: CellRecord = next(c for c in snapshot.cells if c.id == trial.cell_id)
    stage = next(s for s in snapshot.stages if s.id == cell.stage_id)
    view = View(snapshot, stage)
    if stage.design != "search":
        return view, None
    return view, Search.model_validate(snapshot.study.document["stages"][stage.ordinal])


def _asked(view: View) -> list[TrialRecord]:
    """The sampled trials in the order in which they were asked for.

    That is the order of their cells. A trial that came back from a stage as it was before an edit of the study file
    kept its old number.
    """
    place = {cell.id: cell.ordinal for cell in view.cells}
    asked = [trial for trial in view.trials if trial.optuna.get("distributions")]
    return sorted(asked, key=lambda trial: (place[trial.cell_id], trial.number))


def _seed(view: View, attempt: int = 0) -> int:
    """A number of study, stage and how many cells were asked for; of study and stage alone for the attempt -1."""
    parts: list[object] = [view.snapshot.study.name, view.stage.name]
    parts += ["sequence"] if attempt < 0 else [len(_asked(view)), *([attempt] if attempt else [])]
    return int.from_bytes(hashlib.sha256("\0".join(map(str, parts)).encode()).digest()[:4], "big")


def _rebuilt(search: Search, view: View, asking: str | None = None, until: int = 0) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        # Hyperband deals trials to its brackets by this name.
        study_name=f"{view.snapshot.study.name}/{view.stage.name}",
        directions=[_OPTUNA[direction] for direction in _directions(search, view)],
        pruner=optuna_sampling.pruner(search.pruner, int(view.stage.start["epochs"])),
        sampler=optuna_sampling.sampler(search.sampler, 0, 0),
    )
    asked = _asked(view)
    constrained = search.sampler.type in optuna_sampling.CONSTRAINED and bool(_without_memory(view))
    worst = _worst(search, view) if constrained else None
    for known in _known(search, view, asked):
        study.add_trial(_given(search, known, constrained=constrained))
    for trial in asked:
        study.add_trial(_frozen(search, view, trial, until if trial.uid == asking else None, worst))
    for trial in asked:
        _remember(study, trial.optuna.get("study_attrs") or {})
    return study


def _known(search: Search, view: View, asked: Sequence[TrialRecord]) -> list[Json]:
    """The cells of other studies that the search begins with; see `posestudy_studies.warm_start`."""
    if not search.warm_start:
        return []
    if not asked:
        return list(warm_start.record(search, view)["known"])
    return warm_start.taken([trial.optuna for trial in asked])


def _given(search: Search, known: Json, *, constrained: bool) -> optuna.trial.FrozenTrial:
    from optuna.trial import create_trial

    space, params = distributions(search), known["params"]
    kinds = {name: space[name] for name in params}
    # It was trained, so there is memory for it.
    limits = {"memory": 0.0} if constrained else None
    return create_trial(values=[known["value"]], params=params, distributions=kinds, constraints=limits)


def _directions(search: Search, view: View) -> list[Direction]:
    names = search.objectives or [view.snapshot.study.document["metric"]]
    return [METRICS[name].direction if name in METRICS else Direction.LESS for name in names]


def _values(search: Search, view: View, trial: TrialRecord) -> list[float] | None:
    """The objectives of a completed trial; None where one is missing."""
    found: list[float | None] = [trial.final_value]
    if search.objectives:
        rows = view.values(trial.uid)
        found = [
            getattr(trial, name)
            if name in OUTCOMES
            else next((v.metrics[name] for v in reversed(rows) if name in v.metrics), None)
            for name in search.objectives
        ]
    finite = [value for value in found if value is not None and math.isfinite(value)]
    return finite if len(finite) == len(found) else None


def _worst(search: Search, view: View) -> list[float]:
    """The worst of each objective so far: what a trial without memory counts as, for samplers that need a value."""
    known = [values for t in _asked(view) if t.outcome is Outcome.COMPLETED and (values := _values(search, view, t))]
    directions = _directions(search, view)
    if not known:
        return [0.0] * len(directions)
    return [
        min(column) if direction is Direction.MORE else max(column)
        for direction, column in zip(directions, zip(*known, strict=True), strict=True)
    ]


def _frozen(
    search: Search, view: View, trial: TrialRecord, until: int | None, worst: list[float] | None
) -> optuna.trial.FrozenTrial:
    """A trial as Optuna knows it; `worst` is given where memory is a constraint."""
    from optuna.distributions import json_to_distribution
    from optuna.trial import TrialState as State
    from optuna.trial import create_trial

    metric = view.snapshot.study.document["metric"]
    curve = {v.epoch: v.metrics[metric] for v in view.values(trial.uid) if metric in v.metrics}
    if until is not None:
        curve = {epoch: value for epoch, value in curve.items() if epoch <= until}
    state, values, constraints = State.RUNNING, None, None
    # One that paused may go on: until it ends, its last value stands for it, while it runs again as well.
    rests = search.pruner.type == "asha" and trial.state is not TrialState.DONE and bool(curve)
    if until is None and (rests or trial.state is TrialState.DONE):
        state, values = State.FAIL, None
        finished = _values(search, view, trial)
        constraints = None if worst is None else {"memory": 0.0}
        if trial.outcome is Outcome.COMPLETED and finished:
            state, values = State.COMPLETE, finished
        elif (rests or trial.outcome is Outcome.PRUNED) and not search.objectives:
            # As Optuna's own `tell` does: the last value stands for the whole trial.
            last = curve[max(curve)] if curve else None
            state, values = State.PRUNED, [last] if last is not None and math.isfinite(last) else None
        elif trial.outcome is Outcome.OUT_OF_MEMORY and worst is not None:
            state, values, constraints = State.COMPLETE, worst, {"memory": 1.0}
    return create_trial(
        state=state,
        values=values,
        params=trial.optuna["params"],
        distributions={name: json_to_distribution(d) for name, d in trial.optuna["distributions"].items()},
        system_attrs=dict(trial.optuna.get("system_attrs") or {}),
        # With two objectives Optuna keeps no curves.
        intermediate_values={} if search.objectives else curve,
        constraints=constraints if state.is_finished() else None,
    )
