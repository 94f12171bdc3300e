"""Whole training configurations by name: each family as its authors, or MMPose's own configs, train it on COCO."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from posestudy.errors import NotFoundError, nearest
from posestudy_studies import presets
from posestudy_studies.presets import Preset
from posestudy_studies.spec import Study
from posestudy_studies.training import Training

Json = dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """A network and how it is trained.

    Attributes:
        name: of the preset, where the recipe is the preset's usual one, else with what it adds: `resnet50-rle`.
        family: the preset's, with the kind of head where it is no heatmap's.
        source: where the settings are stated.
        score_mode: how CocoMetric scores an instance of it.
    """

    name: str
    family: str
    training: Training
    source: str
    score_mode: str = "bbox_keypoint"


def names() -> tuple[str, ...]:
    """The names of all recipes, family by family."""
    return tuple(_recipes())


def recipe(name: str) -> Recipe:
    """The recipe called `name`.

    Raises:
        NotFoundError: there is none of that name; the nearest is named.
    """
    known = _recipes()
    if name not in known:
        hint = nearest(name, known)
        raise NotFoundError(
            f"no model is called {name!r}; expected one of {', '.join(known)}" + (f"; {hint}" if hint else "")
        )
    return known[name]


@cache
def _recipes() -> dict[str, Recipe]:
    return {made.name: made for made in _all()}


def study(training: Training, *, keypoints: str = "coco", root: str = "data/coco", score_mode: str) -> Study:
    """A study of one cell that trains on COCO's files under `root`."""
    parts = {
        split: {"annotations": f"annotations/person_keypoints_{split}2017.json", "images": f"{split}2017"}
        for split in ("train", "val")
    }
    return Study.model_validate(
        {
            "study": "model",
            "dataset": {"keypoints": keypoints, "root": root, **parts},
            "evaluation": {"score_mode": score_mode},
            "baseline": training.model_dump(mode="json"),
            "stages": [{"name": "model", "design": "variants", "variants": {"model": {"epochs": training.epochs}}}],
        }
    )


_STEPS: Json = {
    "epochs": 210,
    "validate_every": 10,
    "batch_size": 64,
    "optimizer": {"type": "Adam", "lr": 5.0e-4},
    "schedule": {"warmup_iters": 500, "warmup_ratio": 0.001, "milestones": [170, 200], "gamma": 0.1},
}
# RandomBBoxTransform as MMPose has it where nothing is said: in terms of 0.x half the angle.
_AUGMENTATION: Json = {
    "flip": {"prob": 0.5},
    "half_body": {},
    "scale_rotation": {"rotation": 40.0, "scale": 0.5, "prob": 0.6, "shift": 0.16, "shift_prob": 0.3},
}
_MMPOSE = "MMPose 1.x, configs/body_2d_keypoint"
_REGRESSION = {
    "regression": ("smooth_l1", "regression"),
    "wing": ("wing", "regression, Wing loss"),
    "soft-wing": ("soft_wing", "regression, SoftWing loss"),
    "rle": ("rle", "RLE"),
}
_REGRESSED = ("alexnet", "resnet50", "resnet101", "resnet152", "scnet50", "scnet101")
_TRANSPOSE = {
    "transpose-r-a3": (230, 28),
    "transpose-r-a4": (230, 20),
    "transpose-h-s": (240, 16),
    "transpose-h-a4": (240, 14),
    "transpose-h-a6": (240, 14),
}
"""Epochs, and batch size per GPU in the official files."""


def _all() -> Iterator[Recipe]:
    for chosen in presets.presets():
        yield _heatmaps(chosen)
        if chosen.name in _REGRESSED:
            for ending, (loss, what) in _REGRESSION.items():
                yield _regression(chosen, ending, loss, what)


def _heatmaps(chosen: Preset) -> Recipe:
    if chosen.encoder is not None:
        return _transpose(chosen)
    common: Json = {"model": chosen.name, "init": chosen.weights, "input_size": [192, 256], "sigma": 2.0}
    training = Training.model_validate({**common, **_STEPS, "augmentation": _AUGMENTATION})
    return Recipe(chosen.name, chosen.family, training, f"{_MMPOSE}/topdown_heatmap")


def _transpose(chosen: Preset) -> Recipe:
    """The official recipe: Adam without decay, a cosine to a tenth, half the usual loss, DARK's decoding.

    The upper half of a body is preferred where a normal deviate is below 0.5, which has probability 0.69. MMPose
    draws the scale from a truncated instead of a clipped normal distribution.
    """
    epochs, batch_size = _TRANSPOSE.get(chosen.name, (230, 32))
    training = Training.model_validate(
        {
            "model": chosen.name,
            "init": chosen.weights,
            "input_size": [192, 256],
            "codec": "udp",
            "loss": {"type": "mse", "weight": 0.5},
            "sigma": 2.0,
            "epochs": epochs,
            "batch_size": batch_size,
            "optimizer": {"type": "Adam", "lr": 1.0e-4},
            "schedule": {"type": "cosine", "min_lr_ratio": 0.1},
            "augmentation": {
                "flip": {"prob": 0.5},
                "half_body": {"min_keypoints": 8, "prob": 0.3, "upper_prob": 0.69, "padding": 1.5},
                "scale_rotation": {"rotation": 45.0, "scale": 0.35, "prob": 0.6},
            },
        }
    )
    return Recipe(chosen.name, chosen.family, training, "Yang et al., ICCV 2021, and its official settings files")


def _regression(chosen: Preset, ending: str, loss: str, what: str) -> Recipe:
    common: Json = {"model": chosen.name, "init": chosen.weights, "input_size": [192, 256], "codec": "regression"}
    steps = {**_STEPS, "optimizer": {"type": "Adam", "lr": 1.0e-3 if loss == "rle" else 5.0e-4}}
    training = Training.model_validate({**common, "loss": loss, **steps, "augmentation": _AUGMENTATION})
    score_mode = "bbox_rle" if loss == "rle" else "bbox_keypoint"
    family = f"{chosen.family}, {what}"
    return Recipe(f"{chosen.name}-{ending}", family, training, f"{_MMPOSE}/topdown_regression", score_mode)
