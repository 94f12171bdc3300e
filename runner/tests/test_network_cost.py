"""Which trials of a pool may share one measurement of what their network costs to run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from posestudy_runner.plugin import fast  # noqa: F401  # isort: skip - what the configs name, and MMPose with it

from mmengine.registry import DefaultScope
from mmpose.registry import MODELS
from standin_pool import Standin, importable_standins
from test_light_start import STUDY

from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy_runner.network_cost import cost_class
from posestudy_runner.order import TrialOrder
from posestudy_studies.mmpose_config import build
from posestudy_studies.spec import Study

__all__ = ["importable_standins"]

PLACE = {"input": [64, 64], "device": "cpu", "threads": 1}


def classed(place: dict[str, Any] | None = None, seed: int = 0, **levels: Any) -> str:
    study = Study.model_validate({**STUDY, "baseline": {**STUDY["baseline"], **levels}})
    config = build(study, study.baseline, seed)["model"]
    with DefaultScope.overwrite_default_scope("mmpose"):
        return cost_class(MODELS.build({**config}), config, place or PLACE)


def test_what_a_forward_pass_does_not_run_makes_no_difference() -> None:
    assert classed() == classed(seed=4, sigma=2.5, batch_size=4, optimizer={"type": "Adam", "lr": 0.1})


@pytest.mark.parametrize("other", [{"input": [96, 64]}, {"device": "cuda:1"}, {"threads": 2}])
def test_another_size_or_device_is_another_cost(other: dict[str, Any]) -> None:
    assert classed() != classed({**PLACE, **other})


def test_another_network_is_another_cost() -> None:
    assert classed() != classed(model="resnet18")


def test_a_decoder_that_is_part_of_the_network_is_another_cost() -> None:
    network = torch.nn.Conv2d(1, 1, 1)
    heads = [{"decoder": {"type": "MSRAHeatmap", "sigma": sigma}} for sigma in (1.0, 2.0)]
    assert len({cost_class(network, {"head": head}, PLACE) for head in heads}) == 1
    weights = [{"backbone": {"init_cfg": {"checkpoint": name}}} for name in ("a.pth", "b.pth")]
    assert len({cost_class(network, one, PLACE) for one in weights}) == 1
    bodies = [{"backbone": {"decoder": {"groups": groups}}} for groups in (1, 2)]
    assert len({cost_class(network, body, PLACE) for body in bodies}) == 2


def test_a_trial_is_told_what_those_before_it_measured(home: Home, sqlite_ledger: Ledger) -> None:
    profile = {"parameters": 5}
    cells = {name: {"profile": profile, "network": name} for name in ("first", "second", "third")}
    run = Standin(home, sqlite_ledger, cells)
    run.pool().run(1)
    told = [TrialOrder.read(Path(run.folder(number, 1)) / "order.json").profiles for number in (1, 2, 3)]
    assert [list(known) for known in told] == [[], ["first"], ["first", "second"]]
    assert told[2]["second"] == profile
    assert [trial.profile for trial in run.trials()] == [profile] * 3
