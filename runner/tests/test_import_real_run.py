"""A work dir that stock MMPose 1.x has written, from a real training that was resumed, becomes a trial."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from posestudy.commands.app import main
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.vocabulary import Outcome
from posestudy_studies.drawn_cats import draw
from posestudy_studies.mmpose_config import config_text
from posestudy_studies.spec import Study

TRAIN = """
import json, sys
import posestudy_runner.plugin
from mmengine.config import Config
from mmengine.runner import Runner
config = Config.fromfile("config.py")
config.train_cfg.max_epochs, config.resume = int(sys.argv[1]), sys.argv[2] == "resume"
runner = Runner.from_cfg(config)
runner.train()
print(json.dumps(runner.message_hub.get_scalar("val/coco/AP").current()))
"""


def study(root: Path) -> Study:
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
            },
            "stages": [{"name": "one", "design": "variants", "variants": {"wide": {"sigma": 2.0}}}],
        }
    )


def train(folder: Path, epochs: int, start: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, str(epochs), start],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},  # two threads on a busy machine wait for each other
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_work_dir_of_mmpose_is_imported(tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "cats", train=8, val=4, seed=0, size_px=48)
    chosen = study(tmp_path / "cats")
    (tmp_path / "config.py").write_text(config_text(chosen, chosen.baseline, 5))
    train(tmp_path, 2, "anew")
    final = train(tmp_path, 3, "resume")

    monkeypatch.setenv("POSESTUDY_HOME", str(home.root))
    assert main(["import", str(tmp_path / "work_dirs" / "stock"), "--name", "stock_run"]) == 0
    ledger = Ledger.open(f"sqlite:///{home.database}", create=False)
    snapshot = ledger.snapshot("stock_run")
    ledger.close()

    (trial,) = snapshot.trials
    assert (trial.outcome, trial.seed) == (Outcome.COMPLETED, 5)
    assert (trial.final_value, trial.final_epoch) == (final, 3)
    assert snapshot.cells[0].name == "stock"
    assert [value.epoch for value in snapshot.values] == [1, 2, 3]
    for value in snapshot.values:
        assert 0 < value.metrics["loss"] < 1
        assert {"coco/AP", "coco/AP50", "lr", "epoch_time_s"} <= value.metrics.keys()
    assert trial.duration_s == pytest.approx(sum(value.metrics["epoch_time_s"] for value in snapshot.values))
    assert "torch" in trial.provenance
    assert trial.source is not None
    assert trial.source["remarks"] == []


def test_a_worker_is_told_that_an_imported_study_has_nothing_to_train(
    tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POSESTUDY_HOME", str(home.root))
    (tmp_path / "results.csv").write_text("stage,label,final\nlr,9,150: 0.456\n")
    assert main(["import", str(tmp_path / "results.csv"), "--name", "earlier"]) == 0
    assert main(["worker", "earlier"]) == 2
    assert "imported without a study file" in capsys.readouterr().err
