"""`gpus` in a study: what it does to the configuration of a cell, to its key, and to what the study costs."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from posestudy_studies import asked_gpus, factors
from posestudy_studies.cells import key
from posestudy_studies.costs import Rate, Rates, Work, cost_class, estimate
from posestudy_studies.designs.contract import study_with
from posestudy_studies.mmpose_config import build
from posestudy_studies.training import Training

STAGE = {"name": "s", "design": "variants", "variants": {"a": {"sigma": 1.0}}}


def training(**knobs: Any) -> Training:
    return factors.apply(study_with(STAGE, {}).baseline, knobs)


def test_each_gpu_has_the_batch_and_the_update_all_of_them() -> None:
    cell = training(batch_size=16, gpus=4, accumulate=2, lr_scaling={"base_batch_size": 64})
    assert (cell.iteration_size, cell.effective_batch_size) == (64, 128)
    assert cell.learning_rate == pytest.approx(2 * cell.optimizer.lr)
    # Never unasked.
    assert training(batch_size=16, gpus=4).learning_rate == cell.optimizer.lr


def test_gpus_are_part_of_what_a_cell_is_and_one_is_as_before() -> None:
    study = study_with(STAGE, {})
    assert key(study, training(gpus=2)) != key(study, training())
    assert key(study, training(gpus=1)) == key(study, training())


def test_a_config_tells_mmengine_of_ranks_only_where_there_are_some() -> None:
    study = study_with(STAGE, {})
    one, two = (build(study, training(gpus=gpus), 0) for gpus in (1, 2))
    assert not {"sync_bn", "model_wrapper_cfg"} & one.keys()
    assert two["sync_bn"] == "torch"
    assert two["model_wrapper_cfg"]["type"] == "MMDistributedDataParallel"
    assert "sync_bn" not in build(study, training(gpus=2, sync_bn=False), 0)
    assert two["train_dataloader"]["batch_size"] == one["train_dataloader"]["batch_size"]


@pytest.mark.parametrize(
    ("knobs", "said"),
    [({"gpus": 0}, "1"), ({"gpus": 65}, "64"), ({"gpus": 2.0}, "integer"), ({"sync_bn": True}, "gpus of 2 or more")],
)
def test_what_makes_no_sense_is_refused(knobs: dict[str, Any], said: str) -> None:
    config = {**study_with(STAGE, {}).baseline.model_dump(mode="json"), **knobs}
    with pytest.raises(ValidationError, match=said):
        Training.model_validate(config)


@pytest.mark.parametrize(
    ("stage", "most"),
    [
        (STAGE, 2),
        ({"name": "s", "design": "variants", "variants": {"a": {"gpus": 4, "batch_size": 64}}}, 4),
        ({"name": "s", "design": "grid", "factors": {"gpus": [1, 8], "batch_size": [16, 32]}}, 8),
        ({"name": "s", "design": "search", "space": {"gpus": {"int": [1, 4], "when": {"batch_size": [64]}}}}, 4),
        ({"name": "s", "design": "bisect", "factor": "gpus", "between": [1, 9], "tolerance": 1}, 9),
        ({"name": "s", "design": "bisect", "factor": "epochs", "between": [10, 90], "tolerance": 10}, 2),
    ],
)
def test_the_largest_trials_of_a_study_are_known_before_anything_is_decided(stage: dict[str, Any], most: int) -> None:
    assert asked_gpus.most({"baseline": {"gpus": 2, "epochs": 100}, "stages": [stage]}) == most
    assert asked_gpus.most({"baseline": {}, "stages": []}) == 1


def priced(rates: Rates, gpus: int) -> dict[str, Any]:
    work = [Work("s", "a", training(gpus=gpus, batch_size=8, epochs=10, validate_every=10), 3)]
    return estimate(work, rates, workers=1, train_instances=1600, val_instances=0)


def test_hours_of_a_trial_on_two_gpus_count_twice() -> None:
    rate = Rate(cost_class(training(batch_size=8)), "cpu", 3.6, 0.0, 0.0, None, None, "measured")
    one, two = (priced(Rates([rate], "cpu"), gpus) for gpus in (1, 2))
    # Half the iterations, on two GPUs.
    assert one["gpu_hours"] == pytest.approx(3 * 2.0)
    assert two["wall_hours"] == pytest.approx(one["wall_hours"] / 2)
    assert two["gpu_hours"] == pytest.approx(one["gpu_hours"])
    # Seen on one GPU, guessed for two.
    assert (one["scaled"], two["scaled"]) == ([], ["s/a"])
