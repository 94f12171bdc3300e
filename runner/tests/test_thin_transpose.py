"""The thin TransPose learns drawn cats on a CPU, under stock MMPose."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from posestudy_runner import plugin  # noqa: F401  (before MMPose)
from posestudy_studies import file, mmpose_config
from posestudy_studies.drawn_cats import draw

STUDY = Path(__file__).parents[2] / "studies" / "transpose_small.yaml"


@pytest.mark.slow
def test_the_thin_transpose_finds_joints_of_drawn_cats(tmp_path: Path) -> None:
    from mmengine.config import Config
    from mmengine.runner import Runner

    draw(tmp_path / "cats", train=320, val=32, seed=3)
    shorter = ["epochs=9", "validate_every=9", "sigma=1.5"]
    study = file.load(STUDY, [f"dataset.root={tmp_path / 'cats'}", *(f"baseline.{change}" for change in shorter)])
    (tmp_path / "config.py").write_text(mmpose_config.config_text(study, study.baseline, seed=0))
    config = Config.fromfile(tmp_path / "config.py")
    config.work_dir = str(tmp_path / "work")
    torch.set_num_threads(2)
    runner = Runner.from_cfg(config)
    runner.train()
    assert runner.message_hub.get_scalar("val/coco/AP").current() > 0.15
