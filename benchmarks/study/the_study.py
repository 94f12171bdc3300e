"""The twelve trials that everybody trains, six cells with two seeds on drawn cats: as our study, as plain configs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posestudy_studies.drawn_cats import draw
from posestudy_studies.factors import apply
from posestudy_studies.mmpose_config import build
from posestudy_studies.python_source import assignments
from posestudy_studies.spec import Study
from posestudy_studies.training import Training

PICTURES = {"train": 384, "val": 96}
BATCH = 8
CELLS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "sigma_1.5": {"sigma": 1.5},
    "lr_2.5e-3": {"optimizer.lr": 2.5e-3},
    "lr_1e-2": {"optimizer.lr": 1.0e-2},
    "no_flip": {"augmentation.flip": None},
    "rotation_40": {"augmentation.scale_rotation.rotation": 40.0},
}
SEEDS = (0, 1)
VALIDATIONS = 3
"""In each trial, the last at its end."""


@dataclass(frozen=True)
class TheStudy:
    """Where the data lie, how long a trial is and which cells there are.

    Attributes:
        data: folder of the drawn cats.
        epochs: of each trial; a multiple of `VALIDATIONS`.
        seeds: replicates of each cell.
        most_cells: the first so many of `CELLS`.
    """

    data: Path
    epochs: int
    seeds: tuple[int, ...] = SEEDS
    most_cells: int = len(CELLS)

    @property
    def cells(self) -> dict[str, dict[str, Any]]:
        """Levels of each cell by name."""
        return dict(list(CELLS.items())[: self.most_cells])

    @property
    def trials(self) -> list[tuple[str, int]]:
        """Cell and seed of each, in the order they are started."""
        return [(cell, seed) for cell in self.cells for seed in self.seeds]

    def document(self) -> dict[str, Any]:
        """The study file."""
        return {
            "study": "speed",
            "dataset": {
                "keypoints": "cats",
                "root": str(self.data),
                "train": {"annotations": "annotations/train.json", "images": "images"},
                "val": {"annotations": "annotations/val.json", "images": "images"},
            },
            "metric": "coco/AP",
            "baseline": {
                "model": "resnet_tiny",
                "input_size": [64, 64],
                "sigma": 1.0,
                "epochs": self.epochs,
                "validate_every": max(1, self.epochs // VALIDATIONS),
                "batch_size": BATCH,
                "optimizer": {"type": "Adam", "lr": 5.0e-3},
                "augmentation": {"flip": {"prob": 0.5}, "scale_rotation": {"rotation": 10.0, "scale": 0.2}},
            },
            "replicates": {"seeds": list(self.seeds)},
            "stages": [
                {
                    "name": "cells",
                    "design": "variants",
                    "variants": {name: levels for name, levels in self.cells.items() if levels},
                }
            ],
        }

    def write(self, file: Path) -> Path:
        """The study file; JSON is YAML."""
        file.write_text(json.dumps(self.document(), indent=1), encoding="utf-8")
        return file

    def write_stock_configs(self, folder: Path) -> list[Path]:
        """A config a trial, of MMPose's own classes alone."""
        study = Study.model_validate({**self.document(), "data_path": "stock"})
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for cell, seed in self.trials:
            training: Training = apply(study.baseline, CELLS[cell])
            file = folder / f"{cell}-{seed}.py"
            file.write_text(assignments(stock(build(study, training, seed))), encoding="utf-8")
            written.append(file)
        return written


def stock(config: dict[str, Any]) -> dict[str, Any]:
    """`config` without anything of ours, and with what MMPose's own configs have for its data loaders."""
    config = {key: value for key, value in config.items() if key not in ("custom_imports", "custom_hooks")}
    for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
        loader = config[name] = {**config[name], "num_workers": 2, "persistent_workers": True}
        data = loader["dataset"] = {**loader["dataset"], "type": "CocoDataset"}
        data["pipeline"] = [step for step in data["pipeline"] if step["type"] != "SeedSample"]
    return config


def draw_once(folder: Path) -> Path:
    """The pictures in `folder`, drawn where they are not there yet."""
    if not (folder / "annotations" / "val.json").exists():
        draw(folder, train=PICTURES["train"], val=PICTURES["val"], seed=0)
    return folder
