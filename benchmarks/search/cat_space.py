"""The cat search space, and the experiments that a student reported from it."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

Network = Literal["resnet50", "hrnet_w32"]
Optimizer = Literal["Adam", "Adamax"]

RESULTS = Path(__file__).parents[2] / "examples" / "cat_results.csv"
NETWORKS: tuple[Network, ...] = ("resnet50", "hrnet_w32")
OPTIMIZERS: tuple[Optimizer, ...] = ("Adam", "Adamax")
SIZES = (128, 192, 256)
BATCHES = (16, 24, 32, 48, 64)
RATES = (1.0e-6, 1.0e-2)
MOST_EPOCHS = 210
AUGMENTATIONS = ("half_body", "translation", "albumentations", "photometric", "wide")
"""Each on or off; `wide` is rotation 40 and scale 0.5 instead of 10 and 0.2."""


@dataclass(frozen=True)
class CatConfig:
    """A configuration of the space.

    Attributes:
        network: ResNet-50 or HRNet-W32.
        size: of the square input, px.
        batch: images of an iteration.
        lr: learning rate at its highest.
        optimizer: of torch.
        epochs: of the whole training; the rate falls to a tenth at 81 % and 95 % of them.
        augmentations: what is on of `AUGMENTATIONS`, beside the flip.
    """

    network: Network = "resnet50"
    size: int = 128
    batch: int = 16
    lr: float = 1.0e-5
    optimizer: Optimizer = "Adam"
    epochs: int = 20
    augmentations: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Reported:
    """An experiment of the student.

    Attributes:
        stage, label: where it stands in the report; a label stands twice.
        config: what was trained; where the report is silent, as `studies/cat_pose.yaml` has it.
        value: coco/AP at the last epoch; None where it ran out of memory or did not converge.
        outcome: `completed`, `out_of_memory` or `not_converged`.
    """

    stage: str
    label: str
    config: CatConfig
    value: float | None
    outcome: str


_FINAL = frozenset({"half_body", "translation", "photometric", "wide"})
_CHANGES: dict[tuple[str, str], dict[str, Any]] = {
    ("augmentation", "0"): {},
    ("augmentation", "1"): {"augmentations": frozenset({"half_body"})},
    ("augmentation", "2"): {"augmentations": frozenset({"translation"})},
    ("augmentation", "3"): {"augmentations": frozenset({"half_body", "translation"})},
    ("augmentation", "4"): {"augmentations": frozenset({"albumentations"})},
    ("augmentation", "5"): {"augmentations": frozenset({"photometric"})},
    ("epochs", "6"): {"epochs": 100},
    ("epochs", "7"): {"epochs": 200},
    ("epochs", "8"): {"epochs": 150},
    ("lr_batch", "9"): {"lr": 1.0e-4},
    ("lr_batch", "10"): {"lr": 1.0e-4, "batch": 32},
    ("lr_batch", "11"): {"lr": 1.0e-4, "batch": 24},
    ("lr_batch", "12"): {"lr": 1.0e-4, "batch": 64},
    ("lr_batch", "13"): {"lr": 1.0e-4, "batch": 48},
    ("lr_batch", "14"): {"lr": 1.0e-3, "batch": 32},
    ("lr_batch", "15"): {"lr": 5.0e-4, "batch": 32},
    ("lr_batch", "16"): {"lr": 5.0e-4, "batch": 64},
    ("lr_batch", "17"): {"lr": 5.0e-4, "batch": 48},
    ("lr_batch", "18"): {"lr": 5.0e-4, "batch": 24},
    ("epochs_again", "19"): {"epochs": 200},
    ("epochs_again", "20"): {"epochs": 175},
    ("image_size", "21"): {"size": 256},
    ("image_size", "22"): {"size": 192},
    ("image_size", "23"): {"batch": 64},
    ("image_size", "24"): {"batch": 48},
    ("image_size", "25"): {"epochs": 210},
    ("augmentation_again", "26"): {"augmentations": _FINAL},
    ("network", "26"): {"network": "hrnet_w32", "batch": 64},
    ("network", "27"): {"network": "hrnet_w32", "batch": 32},
    ("network", "28"): {"network": "hrnet_w32", "batch": 48},
    ("network", "29"): {"network": "hrnet_w32", "batch": 40},
    ("network", "30"): {"network": "hrnet_w32", "batch": 36},
    ("optimizer", "31"): {"optimizer": "Adamax"},
}
"""What each changed of the one that it started from, which the table of results names."""
_OUTCOMES = {"CUDA out of memory": "out_of_memory", "not converge": "not_converged"}


def reported() -> list[Reported]:
    """The student's experiments in their order, from `examples/cat_results.csv`."""
    with RESULTS.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found: list[Reported] = []
    for row in rows:
        start = _started_from(found, row)
        config = replace(start, **_CHANGES[row["stage"], row["label"]])
        outcome = _OUTCOMES.get(row["final"], "completed")
        value = float(row["final"].split(": ")[1]) if outcome == "completed" else None
        found.append(Reported(row["stage"], row["label"], config, value, outcome))
    return found


def _started_from(before: list[Reported], row: Mapping[str, str]) -> CatConfig:
    """The configuration of the row that `from` names; a row out of memory hands nothing on."""
    if not row["from"]:
        return CatConfig()
    (start,) = (one for one in before if one.label == row["from"] and one.outcome == "completed")
    return start.config


def epochs_spent(rows: list[Reported]) -> int:
    """Epochs that were trained for `rows`, those that did not converge to their end."""
    return sum(row.config.epochs for row in rows if row.outcome != "out_of_memory")
