"""A rehearsal in memory takes the path that the ledger takes with the same results."""

from __future__ import annotations

import random
from typing import Any

import pytest

from posestudy.ledger import Ledger
from posestudy.ledger.records import KnownResult, Snapshot
from posestudy.vocabulary import METRICS, Outcome, TrialState
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
    outcome = drawn.choices(list(Outcome), [20 if o is Outcome.COMPLETED else int(o.is_result) for o in Outcome])[0]
    value = round(drawn.random(), 2) if outcome is Outcome.COMPLETED else None
    return KnownResult(outcome, {}, final_value=value, final_epoch=1, best_value=value, best_epoch=1)


def trained_by_a_worker(ledger: Ledger, study: Study, salt: int) -> Snapshot:
    """The study played on a real ledger, one trial after the other."""
    ledger.put_study(study.study, study.model_dump(mode="json"), "")
    while True:
        snapshot = ledger.snapshot(study.study)
        if changes := advance(snapshot):
            assert ledger.apply(snapshot.study.id, changes)
            continue
        claim = ledger.claim(study.study, "worker", 60)
        if claim is None:
            return snapshot
        trial = claim.trial
        cell = next(c for c in snapshot.cells if c.id == trial.cell_id)
        stage = next(s for s in snapshot.stages if s.id == cell.stage_id)
        given = result(salt, stage.name, cell.name, trial.seed)
        if given.final_value is not None:
            values = {1: {study.metric: given.final_value}}
            assert ledger.record_epoch(trial.uid, trial.fence, values, None, 1.0)
        assert ledger.finish(
            trial.uid, trial.fence, given.outcome, None,
            metric=study.metric, direction=METRICS[study.metric].direction, peak_memory_mb=None,
        )  # fmt: skip


def path(snapshot: Snapshot) -> dict[str, Any]:
    """What a study came to: by stage what it started from and carried, by cell the results of its seeds."""
    found: dict[str, Any] = {"state": snapshot.study.state}
    for stage in snapshot.stages:
        found[stage.name] = (stage.state, stage.start, stage.carried, stage.carry_reason)
        for cell in (c for c in snapshot.cells if c.stage_id == stage.id):
            trials = sorted((t for t in snapshot.trials if t.cell_id == cell.id), key=lambda t: t.seed)
            assert all(t.state is TrialState.DONE for t in trials)
            found[f"{stage.name}/{cell.name}"] = (cell.key, [(t.seed, t.outcome, t.final_value) for t in trials])
    return found


@pytest.mark.parametrize("reuse", ["home", "none"])
@pytest.mark.parametrize("when", ["always", "unresolved"])
@pytest.mark.parametrize("salt", range(4))
def test_the_same_results_lead_the_same_way(sqlite_ledger: Ledger, reuse: str, when: str, salt: int) -> None:
    made = study(reuse, when)
    real = path(trained_by_a_worker(sqlite_ledger, made, salt))
    assert real["state"] == "closed"
    rehearsed = Rehearsal(made).play(lambda stage, cell, seed: result(salt, stage.name, cell.name, seed))
    assert path(rehearsed) == real


def test_a_rehearsal_goes_on_where_the_ledger_stands(sqlite_ledger: Ledger) -> None:
    made = study("home", "always")
    sqlite_ledger.put_study(made.study, made.model_dump(mode="json"), "")
    first = sqlite_ledger.snapshot(made.study)
    assert sqlite_ledger.apply(first.study.id, advance(first))
    begun = sqlite_ledger.snapshot(made.study)
    rehearsed = Rehearsal(made, begun).play(lambda stage, cell, seed: result(0, stage.name, cell.name, seed))
    assert path(rehearsed) == path(Rehearsal(made).play(lambda s, c, seed: result(0, s.name, c.name, seed)))
    assert sqlite_ledger.snapshot(made.study) == begun


def test_without_results_the_first_stage_waits() -> None:
    rehearsed = Rehearsal(study("home", "always")).play()
    assert [(s.name, s.state) for s in rehearsed.stages] == [("augmentation", "open")]
    assert {t.state for t in rehearsed.trials} == {TrialState.WAITING}
