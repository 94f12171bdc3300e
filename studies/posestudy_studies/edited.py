"""What an edited study file leaves of the stages that were opened under the old one."""

from __future__ import annotations

from typing import Any

from posestudy.ledger.records import CellRecord, Snapshot, StageRecord
from posestudy_studies import cells
from posestudy_studies.advance import carried_config, carried_name
from posestudy_studies.designs.base import Design, View
from posestudy_studies.spec import Study
from posestudy_studies.training import Training

Json = dict[str, Any]


def first_changed(study: Study, snapshot: Snapshot) -> int | None:
    """The ordinal of the first stage that must be planned anew under `study`; None where all may stay.

    A stage stays where its part of the file, what it starts from, its seeds, the data and the evaluation are what they
    were. An open one may also have gained variants or cells to sample. Text and limits of the study change no stage.

    Args:
        study: the new file, with the fingerprint of its data.
        snapshot: the study as it was launched under the old one.
    """
    old = Study.model_validate(snapshot.study.document)
    stages = sorted(snapshot.stages, key=lambda s: s.ordinal)
    start: Training = study.baseline
    for stage in stages:
        if stage.ordinal >= len(study.stages) or stage.ordinal >= len(old.stages) or old.metric != study.metric:
            return stage.ordinal
        if not _stays(study, old, View(snapshot, stage), start):
            return stage.ordinal
        if stage.state == "closed":
            view = View(snapshot, stage)
            # What later seeds make of a carry under the old file as well is no edit, and is never redone.
            if carried_name(study, view) not in (stage.carried, carried_name(old, view)):
                return stage.ordinal
            start = carried_config(view)
    return None


def _stays(study: Study, old: Study, view: View, start: Training) -> bool:
    stage, design = view.stage, study.stages[view.stage.ordinal]
    if stage.name != design.name or Training.model_validate(stage.start) != start:
        return False
    if study.seeds(design) != old.seeds(old.stages[stage.ordinal]):
        return False
    if study.replicates_of(design).when != old.replicates_of(old.stages[stage.ordinal]).when:
        return False
    if (study.dataset.fingerprint, study.evaluation) != (old.dataset.fingerprint, old.evaluation):
        return False
    before, now = _asked(old.stages[stage.ordinal]), _asked(design)
    return before == now or (stage.state == "open" and _has_grown(stage, design, view.cells, start, before, now))


def _asked(design: Design) -> Json:
    """The stage's part of the file without what decides only about the stages after or before it, or the report."""
    document = design.model_dump(mode="json")
    document.pop("carry")
    document.pop("columns")
    return document


def _has_grown(
    stage: StageRecord, design: Design, have: list[CellRecord], start: Training, before: Json, now: Json
) -> bool:
    if stage.design != design.design or (stage.baseline is None) == design.include_baseline:
        return False
    if stage.design == "search":
        return before | {"cells": 0} == now | {"cells": 0} and now["cells"] >= before["cells"]
    wanted = {p.name: p for p in design.opening(start)}
    for cell in have:
        if cell.name == stage.baseline:
            continue
        proposal = wanted.get(cell.name)
        label = proposal and (proposal.label or cells.label(proposal.levels))
        if proposal is None or (proposal.levels, label, proposal.note) != (cell.levels, cell.label, cell.note):
            return False
    return True
