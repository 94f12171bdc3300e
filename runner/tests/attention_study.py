"""A study file of thin networks on a few drawn cats, as the tests of attention need it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from posestudy_studies.mmpose_config import config_text
from posestudy_studies.spec import Study
from posestudy_studies.training import Training

SIZE = (64, 96)
"""Width and height of the input: 8 x 12 tokens of 8 px."""


def document(data: Path, model: str = "transpose-r-thin", **baseline: Any) -> dict[str, Any]:
    trained = {
        "model": model,
        "input_size": list(SIZE),
        "epochs": 1,
        "validate_every": 1,
        "batch_size": 4,
        "optimizer": {"type": "Adam", "lr": 1.0e-3},
        **baseline,
    }
    return {
        "study": "looks",
        "dataset": {
            "keypoints": "cats",
            "root": str(data),
            "train": {"annotations": "annotations/train.json", "images": "images"},
            "val": {"annotations": "annotations/val.json", "images": "images"},
        },
        "metric": "coco/AP",
        "baseline": trained,
        "stages": [{"name": "only", "design": "variants", "variants": {"slow": {"optimizer.lr": 5.0e-4}}}],
    }


def write_config(path: Path, data: Path, model: str = "transpose-r-thin", **baseline: Any) -> Path:
    """The config of the study's baseline."""
    given = document(data, model, **baseline)
    study, training = Study.model_validate(given), Training.model_validate(given["baseline"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(config_text(study, training, 0))
    return path
