"""`replicates: {when: unresolved}`: seeds only where they decide."""

from __future__ import annotations

from typing import Any

import pytest

from posestudy.ledger.records import CellRecord, KnownResult, StageRecord
from posestudy.vocabulary import Outcome
from posestudy_studies.designs.contract import study_with
from posestudy_studies.rehearsal import Rehearsal
from posestudy_studies.spec import Study

STAGE = {
    "name": "lr",
    "design": "variants",
    "variants": {"good": {"optimizer.lr": 0.01}, "also": {"optimizer.lr": 0.02}, "poor": {"optimizer.lr": 1e-5}},
}
NOISE = (0.0, 0.010, -0.010, 0.005, -0.005)


def study(seeds: int = 4, **more: Any) -> Study:
    document = study_with(STAGE).model_dump(mode="json")
    document["replicates"] = {"seeds": list(range(seeds)), "when": "unresolved"}
    return Study.model_validate(document | more)


def results(means: dict[str, float], duration_s: float = 60.0) -> Any:
    def result(stage: StageRecord, cell: CellRecord, seed: int) -> KnownResult:
        value = means[cell.name] + NOISE[seed]
        return KnownResult(Outcome.COMPLETED, {}, final_value=value, final_epoch=4, duration_s=duration_s)

    return result


def seeds_by_cell(played: Any) -> dict[str, list[int]]:
    names = {cell.id: cell.name for cell in played.cells}
    found: dict[str, list[int]] = {}
    for trial in played.trials:
        found.setdefault(names[trial.cell_id], []).append(trial.seed)
    return found


def test_the_first_baseline_has_every_seed_and_what_is_clear_has_one() -> None:
    played = Rehearsal(study()).play(results({"baseline": 0.3, "good": 0.7, "also": 0.5, "poor": 0.1}))
    assert seeds_by_cell(played) == {"baseline": [0, 1, 2, 3], "good": [0], "also": [0], "poor": [0]}
    assert played.study.state == "closed"


def test_the_two_best_get_further_seeds_until_it_is_clear_which_is_better() -> None:
    played = Rehearsal(study(seeds=5)).play(results({"baseline": 0.3, "good": 0.715, "also": 0.7, "poor": 0.1}))
    found = seeds_by_cell(played)
    assert len(found["good"]) == len(found["also"]) > 1
    assert found["poor"] == [0]
    assert played.stages[0].carried == "good"


def test_equal_cells_spend_all_seeds_and_no_more() -> None:
    played = Rehearsal(study()).play(results({"baseline": 0.3, "good": 0.7, "also": 0.7, "poor": 0.1}))
    found = seeds_by_cell(played)
    assert found["good"] == found["also"] == [0, 1, 2, 3]
    assert played.study.state == "closed"


def test_what_cannot_be_told_from_the_baseline_gets_its_seeds_after_the_last_stage() -> None:
    played = Rehearsal(study()).play(results({"baseline": 0.3, "good": 0.7, "also": 0.5, "poor": 0.301}))
    assert seeds_by_cell(played)["poor"] == [0, 1, 2, 3]
    last = {cell.name: cell.id for cell in played.cells}["poor"]
    assert [t.cell_id for t in played.trials[-3:]] == [last] * 3


@pytest.mark.parametrize(("hours", "spent"), [(0.1, 7), (10.0, 13)])
def test_no_seed_is_added_once_the_budget_is_spent(hours: float, spent: int) -> None:
    limited = study(budget={"gpu_hours": hours})
    played = Rehearsal(limited).play(results({"baseline": 0.3, "good": 0.7, "also": 0.7, "poor": 0.301}))
    assert len(played.trials) == spent + (3 if hours > 1 else 0)
    assert played.study.state == "closed"


def test_always_means_always() -> None:
    every = study(seeds=2, replicates={"seeds": [0, 1]})
    played = Rehearsal(every).play(results({"baseline": 0.3, "good": 0.7, "also": 0.5, "poor": 0.1}))
    assert all(seeds == [0, 1] for seeds in seeds_by_cell(played).values())


def test_a_configuration_of_two_stages_is_trained_once_a_seed() -> None:
    document = study(seeds=3).model_dump(mode="json")
    second = {"wide": {"sigma": 3.0}, "narrow": {"sigma": 1.0}}
    stages = [STAGE, {"name": "sigma", "design": "variants", "carry": "poor", "variants": second}]
    two_stages = Study.model_validate({**document, "stages": stages})
    means = {"lr": {"baseline": 0.3, "good": 0.7, "also": 0.5, "poor": 0.301}, "sigma": {"wide": 0.6, "narrow": 0.302}}
    trained: list[tuple[str, int]] = []

    def noted(stage: StageRecord, cell: CellRecord, seed: int) -> KnownResult:
        trained.append((cell.key, seed))
        value = means[stage.name].get(cell.name, 0.301) + NOISE[seed]
        return KnownResult(Outcome.COMPLETED, {}, final_value=value, final_epoch=4, duration_s=1.0)

    played = Rehearsal(two_stages).play(noted)
    ids = {stage.name: stage.id for stage in played.stages}
    seeds = {(c.stage_id, c.name): [t.seed for t in played.trials if t.cell_id == c.id] for c in played.cells}
    assert seeds[ids["lr"], "poor"] == seeds[ids["sigma"], "baseline"] == seeds[ids["sigma"], "narrow"] == [0, 1, 2]
    assert len(trained) == len(set(trained))
