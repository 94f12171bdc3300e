"""A written config trains under stock MMPose in a process that imports the plugin and nothing else of ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from posestudy_studies.drawn_cats import draw
from posestudy_studies.mmpose_config import config_text
from posestudy_studies.spec import Study

TRAIN = """
import json, sys
import posestudy_runner.plugin
from mmengine.config import Config
from mmengine.runner import Runner
runner = Runner.from_cfg(Config.fromfile(sys.argv[1]))
runner.train()
import torch
torch.save(runner.model.state_dict(), "weights.pth")
print(json.dumps({
    "metric": runner.message_hub.get_scalar("val/coco/AP").current(),
    "losses": runner.message_hub.get_scalar("train/loss").data[0].tolist(),
    "accuracy": runner.message_hub.get_scalar("train/acc_pose").current(),
    "ours": sorted(name for name in sys.modules if name.startswith(("posestudy", "mlflow", "optuna", "sqlalchemy"))),
}))
"""


def study(root: Path, amp: bool | str) -> Study:
    return Study.model_validate(
        {
            "study": "stock",
            "dataset": {
                "keypoints": "cats",
                "root": str(root),
                "train": {"annotations": "annotations/train.json", "images": "images"},
                "val": {"annotations": "annotations/val.json", "images": "images"},
            },
            "baseline": {
                "model": "resnet_tiny",
                "input_size": [32, 32],
                "sigma": 1.0,
                "epochs": 2,
                "batch_size": 4,
                "optimizer": {"type": "Adam", "lr": 0.001},
                "schedule": {"warmup_iters": 2, "milestones": [1]} if amp else {},
                "augmentation": {"flip": {}, "scale_rotation": {}},
                "amp": amp,
            },
            "stages": [{"name": "one", "design": "variants", "variants": {"wide": {"sigma": 2.0}}}],
        }
    )


def train(folder: Path, root: Path, amp: bool | str, **changes: str) -> dict[str, Any]:
    folder.mkdir()
    chosen = study(root, amp)
    text = config_text(chosen, chosen.baseline, 0)
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "config.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, "config.py"],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},  # two threads on a busy machine wait for each other
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.mark.slow
@pytest.mark.parametrize("amp", [False, "bfloat16"])
def test_a_written_config_trains(tmp_path: Path, amp: bool | str) -> None:
    draw(tmp_path / "cats", train=8, val=4, seed=0, size_px=48)
    result = train(tmp_path / "run", tmp_path / "cats", amp)
    assert 0 <= result["metric"] <= 1
    assert 0 <= result["accuracy"] <= 1
    assert len(result["losses"]) >= 4
    assert all(0 < loss < 1 for loss in result["losses"])
    assert result["losses"][-1] != result["losses"][0]
    parts = {name.split(".")[0] for name in result["ours"]}
    assert parts == {"posestudy", "posestudy_runner"}
    assert "posestudy.ledger" not in result["ours"]
    best = list((tmp_path / "run/work_dirs/stock").glob("best_coco_AP_epoch_*.pth"))
    assert len(best) == 1


@pytest.mark.slow
def test_resumed_weights_equal_undisturbed_ones_for_any_number_of_workers(tmp_path: Path) -> None:
    import torch

    import posestudy_runner.plugin  # noqa: F401  (lets torch.load take training checkpoints)

    draw(tmp_path / "cats", train=8, val=4, seed=0, size_px=48)
    train(tmp_path / "whole", tmp_path / "cats", False, **{"max_keep_ckpts=1": "max_keep_ckpts=2"})
    one_epoch = tmp_path / "whole/work_dirs/stock/epoch_1.pth"
    resume = {"resume = False": "resume = True", "load_from = None": f"load_from = {str(one_epoch)!r}"}
    train(tmp_path / "resumed", tmp_path / "cats", False, **resume, **{"num_workers=2": "num_workers=0"})
    whole, resumed = (torch.load(tmp_path / run / "weights.pth") for run in ("whole", "resumed"))
    first = torch.load(one_epoch)["state_dict"]
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert any(not torch.equal(whole[name], first[name]) for name in whole)
