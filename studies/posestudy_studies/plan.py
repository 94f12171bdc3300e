"""What a study will do, worked out from its file and from what is known of its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from posestudy.ledger.records import CellRecord, Snapshot, StageRecord, TrialRecord
from posestudy.vocabulary import TrialState
from posestudy_studies import asha, cells, factors, joint, layouts, leaks, noise_floor, remedies, stop_rules
from posestudy_studies.advance import carried_config
from posestudy_studies.cells import training_key
from posestudy_studies.costs import Work
from posestudy_studies.designs.base import BASELINE, Design, Proposal, View
from posestudy_studies.model_file import ModelFileError, read_model
from posestudy_studies.rehearsal import Rehearsal, Results, nothing
from posestudy_studies.spec import Study
from posestudy_studies.training import ConfigFile, Training

Json = dict[str, Any]
MOST_COMPARED = 500
"""Cells of a stage whose configs are compared for leaks."""


@dataclass(frozen=True)
class _Row:
    """A cell of the plan. `decided`: its configuration is known; else it is shown on the best guess there is."""

    name: str
    label: str
    note: str
    levels: Json
    training: Training
    decided: bool
    sampled: bool
    """Its levels themselves are not known yet: they are ranges."""


@dataclass(frozen=True)
class _Stage:
    design: Design
    start: Training
    decided: bool
    record: StageRecord | None
    rows: list[_Row]


def plan(
    study: Study,
    *,
    snapshot: Snapshot | None = None,
    results: Results = nothing,
    elsewhere: Sequence[Snapshot] = (),
) -> Json:
    """The plan in the shape of `posestudy plan --json`.

    A cell is `decided` where its configuration follows from the file and from results that are known; the others are
    shown on the best guess, the configuration without what later stages may carry. Estimates of time and disk are
    null here; `posestudy_studies.costs` makes them.

    Args:
        study: the study.
        snapshot: the study as the ledger holds it, whose results count; None where it was never launched.
        results: results to suppose for cells that have none.
        elsewhere: the studies of the home, whose seeds tell the noise floor until those of this study do, and whose
            results a search may begin with.
    """
    rehearsal = Rehearsal(study, snapshot)
    rehearsal.snapshot = replace(rehearsal.snapshot, elsewhere=tuple(elsewhere))
    rehearsed = rehearsal.play(results)
    stages = _stages(study, rehearsed)
    shown, joint_rows, combinations, leaked, trials = [], [], [], [], 0
    for stage in stages:
        design = stage.design
        trials += _trials(study, stage, rehearsed)
        declared = design.combinations()
        for row in stage.rows:
            changed = _changed(stage, row)
            where = {"stage": design.name, "cell": row.name, "label": row.label}
            if row.name in declared:
                combinations.append({**where, "of": declared[row.name]})
            elif at_once := joint.factors_at_once(changed, design.as_one):
                joint_rows.append({**where, "factors": at_once})
        leaked += _leaks(study, stage)
        shown.append(_shown(study, stage))
    return {
        "study": study.study,
        "stages": shown,
        "estimate": {"trials": trials, "gpu_hours": None, "wall_hours": None, "disk_gb": None},
        "leaks": leaked,
        "joint": joint_rows,
        "combinations": combinations,
        "noise_floor": _noise_floor(study, stages, rehearsed, elsewhere),
        "stop": [*stop_rules.rules(study, snapshot), *_never_paused(stages)],
    }


def _never_paused(stages: Sequence[_Stage]) -> list[str]:
    """Searches whose trials would pause, had they a rung before their end."""
    found = []
    for stage in stages:
        pruner, epochs = asha.pausing(stage.design), stage.start.epochs
        if pruner is None or "epochs" in getattr(stage.design, "space", {}):
            continue
        if not asha.standing(pruner, epochs, stage.start.validate_every):
            found.append(
                f"no trial of stage '{stage.design.name}' pauses: pruner.min_epochs is {pruner.min_epochs}, and no "
                f"validation from there on comes before its last epoch, {epochs}"
            )
    return found


def _noise_floor(study: Study, stages: Sequence[_Stage], rehearsed: Snapshot, elsewhere: Sequence[Snapshot]) -> Json:
    """What the study can resolve, by stage; `sd` is null where no seeds tell it yet."""
    document = study.model_dump(mode="json")
    others = [other for other in elsewhere if other.study.name != study.study]
    key = cells.key(study, study.baseline)
    floor = noise_floor.of_study(rehearsed) or noise_floor.of_others(document, key, others)
    rows = []
    for stage in stages:
        seeds = len(study.seeds(stage.design))
        compared = len(stage.rows) - any(row.name == BASELINE for row in stage.rows)
        least = None if floor is None else floor.smallest(seeds, compared)
        rows.append({"stage": stage.design.name, "seeds": seeds, "comparisons": compared, "smallest": least})
    if floor is None:
        return {"sd": None, "df": None, "whose": None, "stages": rows}
    return {"sd": floor.sd, "df": floor.df, "whose": floor.whose, "stages": rows}


def resolvable(plan: Json, metric: str) -> list[str]:
    """The noise floor of a plan in sentences."""
    floor = plan["noise_floor"]
    if floor["sd"] is None:
        return [
            "smallest difference that can be resolved: not known yet; `replicates: {seeds: [0, 1, 2]}` lets the "
            "baseline tell it, as a baseline with two seeds in an earlier study of the same data would"
        ]
    spread, whose = noise_floor.number(floor["sd"]), floor["whose"]
    found = [f"noise floor: {metric} has a standard deviation of {spread} over {whose}"]
    for row in floor["stages"]:
        least, seeds = noise_floor.number(row["smallest"]), noise_floor.counted(row["seeds"])
        count = row["comparisons"]
        at_once = f"{count} comparisons at once" if count > 1 else "a comparison"
        where = f"stage '{row['stage']}'"
        found.append(f"smallest difference that {where} can resolve: {least} ({at_once}, {seeds} a cell)")
    return found


def work(study: Study, *, snapshot: Snapshot | None = None, results: Results = nothing) -> list[Work]:
    """The trials still to be trained; what later results decide stands with the best guess.

    A later stage's baseline was trained as a cell before, unless the study reuses nothing.
    """
    rehearsed = Rehearsal(study, snapshot).play(results)
    found: list[Work] = []
    trained: set[str] = set()
    for i, stage in enumerate(_stages(study, rehearsed)):
        have = {c.name: c.id for c in rehearsed.cells if stage.record and c.stage_id == stage.record.id}
        sampled_part = _expected_part(study, stage, rehearsed, have)
        for row in stage.rows:
            # A sampled row stands with the stage's start, and is trained otherwise.
            key = training_key(study, row.training) if study.reuse != "none" and not row.sampled else None
            if row.name in have:
                mine = [t for t in rehearsed.trials if t.cell_id == have[row.name]]
                count = sum(t.state is not TrialState.DONE for t in mine)
            elif row.name == BASELINE and i > 0 and study.reuse != "none" and (key is None or key in trained):
                count = 0
            else:
                count = len(study.seeds(stage.design))
            if count:
                alike = row.training.epochs == 0 or key in trained
                sampled = any(_sampled(t) for t in mine) if row.name in have else _is_to_sample(stage, row)
                part = sampled_part if sampled else 1.0
                found.append(Work(stage.design.name, row.name, row.training, count, only_evaluated=alike, part=part))
            if key is not None:
                trained.add(key)
    return found


def _expected_part(study: Study, stage: _Stage, rehearsed: Snapshot, have: Mapping[str, int]) -> float:
    """The part of its epochs that a sampled trial of the stage which is not done is still expected to be trained for.

    Args:
        have: the ids of the stage's cells by name.
    """
    pruner = asha.pausing(stage.design)
    if pruner is None:
        return 1.0
    there = [trial for trial in rehearsed.trials if trial.cell_id in have.values() and _sampled(trial)]
    still = sum(trial.state is not TrialState.DONE for trial in there)
    to_come = sum(_is_to_sample(stage, row) for row in stage.rows if row.name not in have)
    further = to_come * len(study.seeds(stage.design))
    if not still + further:
        return 1.0
    epochs, count = stage.start.epochs, len(there) + further
    whole = asha.expected_part(pruner, count, epochs, stage.start.validate_every) * count * epochs
    spent = sum(trial.ckpt_epoch for trial in there)
    return max(0.0, min(1.0, (whole - spent) / ((still + further) * max(1, epochs))))


def _is_to_sample(stage: _Stage, row: _Row) -> bool:
    """Whether a row that is still to come is one of a search's, those that are tried first among them."""
    return row.sampled or (stage.design.design == "search" and row.name != BASELINE)


def _sampled(trial: TrialRecord) -> bool:
    """Whether a trial of a search is trained there, its result not taken over."""
    return bool(trial.optuna.get("distributions")) and trial.source is None


def joint_changes(plan: Json) -> list[str]:
    """The joint changes of a plan, a sentence for each stage and set of factors."""
    groups: dict[tuple[str, str], list[str]] = {}
    for row in plan["joint"]:
        groups.setdefault((row["stage"], ", ".join(row["factors"])), []).append(row["label"] or row["cell"])
    found = []
    for (stage, names), labels in groups.items():
        counted = {label: labels.count(label) for label in labels}
        rows = ", ".join(f"{label} ({count} rows)" if count > 1 else label for label, count in counted.items())
        found.append(
            f"joint change in stage '{stage}': {rows} {'change' if len(labels) > 1 else 'changes'} {names} "
            "at once; none of these differences is the effect of one factor"
        )
    return found


def misfits_of(study: Study) -> list[tuple[str, str, ModelFileError]]:
    """Stage, cell and reason for every cell that is certain and whose config file gives no network for it."""
    keypoints = len(layouts.layout(study.dataset.keypoints).keypoint_names)
    found = []
    for stage in _stages(study, Rehearsal(study).play()):
        for row in stage.rows[:MOST_COMPARED]:
            model = row.training.model
            if row.decided and isinstance(model, ConfigFile):
                try:
                    read_model(model.config, row.training, keypoints)
                except ModelFileError as error:
                    found.append((stage.design.name, row.name, error))
    return found


def leaks_of(study: Study) -> list[Json]:
    """The leaks a study's file has, as `plan` lists them."""
    return [leak for stage in _stages(study, Rehearsal(study).play()) for leak in _leaks(study, stage)]


def _stages(study: Study, rehearsed: Snapshot) -> list[_Stage]:
    records = {record.ordinal: record for record in rehearsed.stages}
    found: list[_Stage] = []
    for i, design in enumerate(study.stages):
        record = records.get(i)
        if record is not None:
            start, decided = Training.model_validate(record.start), True
            rows = _opened_rows(design, start, View(rehearsed, record))
        else:
            start, decided = _guess(design, found, rehearsed) if found else (study.baseline, True)
            rows = _planned_rows(design, start, decided)
        found.append(_Stage(design, start, decided, record, rows))
    return found


def _guess(design: Design, before: Sequence[_Stage], rehearsed: Snapshot) -> tuple[Training, bool]:
    """What the stage after `before` starts from, and whether that is certain."""
    last = before[-1]
    if last.record is not None and last.record.state == "closed":
        return carried_config(View(rehearsed, last.record)), True
    if design.carry == BASELINE:
        return last.start, last.decided
    named = next((row for row in last.rows if row.name == design.carry), None)
    if named is not None:
        return named.training, last.decided and named.decided
    return last.start, False


def _opened_rows(design: Design, start: Training, view: View) -> list[_Row]:
    rows = [_of_cell(cell) for cell in view.cells]
    if view.stage.state == "closed":
        return rows
    have, planned = {row.name for row in rows}, _planned_rows(design, start, decided=True)
    to_come = [row for row in planned if row.name not in have]
    further = [row for row in to_come if not row.decided]
    # These wait for the seeds of the baseline.
    rows += [row for row in to_come if row.decided]
    # Of the cells that results decide, those that are there already under names of their own are not to come any more.
    names = {row.name for row in planned}
    came = sum(cell.name not in names and not remedies.is_remedy(cell, view.cells) for cell in view.cells)
    return rows + further[came:]


def _of_cell(cell: CellRecord) -> _Row:
    training = Training.model_validate(cell.config)
    return _Row(cell.name, cell.label, cell.note, cell.levels, training, decided=True, sampled=False)


def _planned_rows(design: Design, start: Training, decided: bool) -> list[_Row]:
    proposals: list[tuple[Proposal, bool]] = [*design.planned(start)]
    if design.include_baseline:
        proposals.insert(0, (cells.baseline_proposal(design), True))
    return [
        _Row(
            proposal.name,
            proposal.label or cells.label(proposal.levels),
            proposal.note,
            dict(proposal.levels),
            factors.apply(start, proposal.levels) if known else start,
            decided and known,
            not known,
        )
        for proposal, known in proposals
    ]


def _changed(stage: _Stage, row: _Row) -> list[str]:
    """The factors in which a row differs from what its stage carries; every sampled one may."""
    if row.sampled:
        return sorted(row.levels)
    return joint.changed(row.levels, row.training.model_dump(mode="json"), stage.start.model_dump(mode="json"))


def _leaks(study: Study, stage: _Stage) -> list[Json]:
    return [
        {"stage": stage.design.name, "cell": row.name, "label": row.label, "paths": paths}
        for row in stage.rows[:MOST_COMPARED]
        if not row.sampled and row.levels
        if (paths := leaks.checked(study, row.training, stage.start, row.levels))
    ]


def _trials(study: Study, stage: _Stage, rehearsed: Snapshot) -> int:
    """Trials of a stage: those there are, and one for each further cell and seed."""
    have = {cell.name: cell.id for cell in rehearsed.cells if stage.record and cell.stage_id == stage.record.id}
    there = sum(trial.cell_id in have.values() for trial in rehearsed.trials)
    return there + sum(row.name not in have for row in stage.rows) * len(study.seeds(stage.design))


def _shown(study: Study, stage: _Stage) -> Json:
    design, record = stage.design, stage.record
    return {
        "name": design.name,
        "design": design.design,
        "baseline": BASELINE if design.include_baseline else None,
        "carry": design.carry,
        "carried": record.carried if record else None,
        "carry_reason": record.carried_because or None if record else None,
        "decisions": list(record.decisions) if record else [],
        "start_decided": stage.decided,
        "seeds": list(study.seeds(design)),
        "cells": [
            {
                "name": row.name,
                "label": row.label,
                "note": row.note,
                "levels": dict(row.levels),
                "config": factors.flatten(row.training.model_dump(mode="json")),
                "decided": row.decided,
            }
            for row in stage.rows
        ],
    }
