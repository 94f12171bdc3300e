"""What a study will do, worked out from its file alone."""

from __future__ import annotations

from typing import Any

from posestudy_studies import cells, factors
from posestudy_studies.designs.base import BASELINE, Design, Proposal
from posestudy_studies.spec import Study
from posestudy_studies.training import Training

Json = dict[str, Any]


def plan(study: Study) -> Json:
    """The plan in the shape of `posestudy plan --json`.

    A cell is `decided` where its configuration follows from the file; the others are shown relative to the
    baseline of the study, since the results of an earlier stage or a sampler decide them. Estimates are null
    where nothing is known yet.
    """
    stages: list[Json] = []
    joint: list[Json] = []
    trials, decided = 0, True
    for i, stage in enumerate(study.stages):
        # Only the first stage's start is known before anything has run, and those that go back to it.
        decided = decided and (i == 0 or stage.carry == BASELINE)
        rows = [_row(study, stage, proposal, decided and known) for proposal, known in _planned(stage, study.baseline)]
        trials += len(rows) * len(study.seeds(stage))
        joint += [
            {"stage": stage.name, "cell": row["name"], "factors": changed}
            for row in rows
            if len(changed := _changed(study, stage, row)) > 1
        ]
        stages.append(
            {
                "name": stage.name,
                "design": stage.design,
                "baseline": BASELINE if stage.include_baseline else None,
                "carry": stage.carry,
                "seeds": list(study.seeds(stage)),
                "cells": rows,
            }
        )
    estimate = {"trials": trials, "gpu_hours": None, "wall_hours": None, "disk_gb": None}
    return {"study": study.study, "stages": stages, "estimate": estimate, "leaks": [], "joint": joint}


def _changed(study: Study, stage: Design, row: Json) -> list[str]:
    """The factors of a row whose level is not the baseline's; every sampled one may be."""
    if _sampled(stage, row["name"]):
        return sorted(row["levels"])
    baseline = study.baseline.model_dump(mode="json")
    config = factors.apply(study.baseline, row["levels"]).model_dump(mode="json")
    return sorted(f for f in row["levels"] if factors.get(config, f) != factors.get(baseline, f))


def _sampled(stage: Design, cell: str) -> bool:
    return stage.design == "search" and cell != BASELINE


def _planned(stage: Design, start: Training) -> list[tuple[Proposal, bool]]:
    first = [(cells.baseline_proposal(stage), True)] if stage.include_baseline else []
    return first + list(stage.planned(start))


def _row(study: Study, stage: Design, proposal: Proposal, decided: bool) -> Json:
    training = study.baseline if _sampled(stage, proposal.name) else factors.apply(study.baseline, proposal.levels)
    return {
        "name": proposal.name,
        "label": proposal.label or cells.label(proposal.levels),
        "note": proposal.note,
        "levels": dict(proposal.levels),
        "config": factors.flatten(training.model_dump(mode="json")),
        "decided": decided,
    }
