"""A rehearsal in memory takes the path that the ledger takes with the same results."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from posestudy.ledger import Ledger
from posestudy.ledger.records import AddCells, AddSeeds, KnownResult, NewCell, OpenStage, Snapshot
from posestudy.vocabulary import Outcome, TrialState
from posestudy_studies import cells
from posestudy_studies.advance import advance
from posestudy_studies.designs.contract import study_with
from posestudy_studies.rehearsal import Rehearsal
from posestudy_studies.spec import Study

STAGES: list[dict[str, Any]] = [
    {
        "name": "augmentation",
        "design": "one_at_a_time",
        "variants": {"half_body": {"augmentation.half_body": {}}, "flip": {"augmentation.flip": {"prob": 0.4}}},
        "combine": [["half_body", "flip"]],
    },
    {"name": "longer", "design": "bisect", "factor": "epochs", "between": [10, 50], "tolerance": 3},
    {
        "name": "rate",
        "design": "grid",
        "factors": {"optimizer.lr": [1e-4, 1e-3], "batch_size": [16, 64]},
        "out_of_memory": {"largest_batch": True},
    },
    # Goes back to what the stage before started from, and meets its batches again.
    {
        "name": "batch",
        "design": "variants",
        "carry": "baseline",
        "variants": {"a": {"batch_size": 64}, "b": {"batch_size": 16}},
    },
    {"name": "off", "design": "leave_one_out", "leave_out": ["augmentation.half_body", "augmentation.flip"]},
]


def study(reuse: str, when: str) -> Study:
    document = study_with(STAGES[0]).model_dump(mode="json")
    document |= {"stages": STAGES, "reuse": reuse, "replicates": {"seeds": [0, 1, 2], "when": when}}
    document["baseline"] |= {"epochs": 10, "augmentation": {"flip": {"prob": 0.5}}}
    return Study.model_validate(document)


def result(salt: int, stage: str, cell: str, seed: int) -> KnownResult:
    """A result drawn for one replicate, the same whoever asks."""
    drawn = random.Random(f"{salt} {stage} {cell} {seed}")
    outcome = drawn.choices(list(Outcome), [20 if o is Outcome.COMPLETED else o.is_result for o in Outcome])[0]
    value = round(drawn.random(), 2) if outcome is Outcome.COMPLETED else None
    return KnownResult(outcome, {"kind": "imported"}, final_value=value, final_epoch=1, best_value=value, best_epoch=1)


def played_on(ledger: Ledger, study: Study, salt: int) -> Snapshot:
    """The study in a real ledger, every replicate that it does not take over with its result."""
    ledger.put_study(study.study, study.model_dump(mode="json"), "")
    for _ in range(500):
        snapshot = ledger.snapshot(study.study)
        changes = advance(snapshot)
        if not changes:
            return snapshot
        names = {stage.id: stage.name for stage in snapshot.stages}
        held = {(c.stage_id, c.name): c for c in snapshot.cells}
        trained = {
            (c.key, t.seed) for t in snapshot.trials for c in snapshot.cells if c.id == t.cell_id and _taken_over(t)
        }

        def known(stage: str, new: NewCell, study: Study = study, trained: Any = trained) -> NewCell:
            taken = trained if study.reuse != "none" else set()
            found = {s: result(salt, stage, new.name, s) for s in new.seeds if (new.key, s) not in taken}
            return replace(new, known=found)

        given: list[Any] = []
        for change in changes:
            if isinstance(change, OpenStage):
                given.append(replace(change, cells=tuple(known(change.name, c) for c in change.cells)))
            elif isinstance(change, AddCells):
                stage = names[change.stage_id]
                given.append(replace(change, cells=tuple(known(stage, c) for c in change.cells)))
            elif isinstance(change, AddSeeds):
                given.append(change)
            else:
                given.append(change)
        assert ledger.apply(snapshot.study.id, given)
        _give(ledger, study, salt, held)
    raise AssertionError("never ends")
