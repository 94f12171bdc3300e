"""A study of the cat search space, played on a surrogate by the platform's own decisions."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.search.cat_space import (
    AUGMENTATIONS,
    BATCHES,
    MOST_EPOCHS,
    NETWORKS,
    OPTIMIZERS,
    RATES,
    SIZES,
    CatConfig,
)
from benchmarks.search.surrogates import MILESTONES, VALIDATE_EVERY, Surrogate
from posestudy.ledger.records import CellRecord, StageRecord
from posestudy.vocabulary import Outcome, TrialState
from posestudy_studies import factors
from posestudy_studies.rehearsal import Rehearsal
from posestudy_studies.spec import Study

Json = dict[str, Any]

_NARROW, WIDE = {"rotation": 10, "scale": 0.2}, {"rotation": 40, "scale": 0.5}
_TRANSFORMS = {"transforms": [{"type": "Blur", "p": 0.1}, {"type": "MedianBlur", "p": 0.1}]}
_SWITCHES = {name: f"augmentation.{name}" for name in AUGMENTATIONS if name != "wide"}

SPACE: Json = {
    "model": list(NETWORKS),
    "input_size": [[size, size] for size in SIZES],
    "batch_size": list(BATCHES),
    "optimizer.lr": {"log": list(RATES)},
    "optimizer.type": list(OPTIMIZERS),
    "augmentation.half_body": [None, {}],
    "augmentation.translation": [None, {}],
    "augmentation.albumentations": [None, _TRANSFORMS],
    "augmentation.photometric": [None, {}],
    "augmentation.scale_rotation": [_NARROW, WIDE],
}


def study(name: str, stage: Mapping[str, Any]) -> Study:
    """A study of the cats with one stage; `name` decides the random numbers of its search."""
    split = {"annotations": "train.json", "images": "images"}
    return Study.model_validate(
        {
            "study": name,
            "dataset": {"keypoints": "cats", "root": "data/cats", "train": split, "val": split},
            "metric": "coco/AP",
            "baseline": {
                "model": "resnet50", "input_size": [128, 128], "epochs": MOST_EPOCHS, "validate_every": VALIDATE_EVERY,
                "batch_size": 16, "optimizer": {"type": "Adam", "lr": 1.0e-5},
                "schedule": {
                    "milestones": [round(part * MOST_EPOCHS) for part in MILESTONES],
                    "gamma": 0.1,
                    "stretch_from": MOST_EPOCHS,
                },
                "augmentation": {"flip": {"prob": 0.5}, "scale_rotation": _NARROW},
            },
            "stages": [{"name": "search", "include_baseline": False, **stage}],
        }
    )  # fmt: skip


def cat_config(config: Mapping[str, Any]) -> CatConfig:
    """The configuration of a cell in the words of the surrogates."""
    on = {name for name, factor in _SWITCHES.items() if factors.get(config, factor) is not None}
    if factors.get(config, "augmentation.scale_rotation")["rotation"] > _NARROW["rotation"]:
        on.add("wide")
    return CatConfig(
        network=config["model"],
        size=config["input_size"][0],
        batch=config["batch_size"],
        lr=config["optimizer"]["lr"],
        optimizer=config["optimizer"]["type"],
        epochs=config["epochs"],
        augmentations=frozenset(on),
    )


@dataclass(frozen=True)
class Search:
    """What a strategy came to.

    Attributes:
        reached: (epochs spent, noise-free coco/AP of the cell that would be chosen then), as it changed.
        spent: epochs in all.
        cells, completed: how many were begun, and how many trained to their end.
    """

    reached: tuple[tuple[int, float], ...]
    spent: int
    cells: int
    completed: int

    def at(self, epochs: int) -> float:
        """The noise-free coco/AP of what is chosen after `epochs`; 0 where nothing is known yet."""
        return next((value for spent, value in reversed(self.reached) if spent <= epochs), 0.0)


class _SpentError(Exception):
    """The epochs are used up."""


@dataclass
class _Account:
    epochs: int
    spent: int = 0
    reached: list[tuple[int, float]] = field(default_factory=list)


class _Played(Rehearsal):
    """A rehearsal that counts epochs, ends with them, and lets cells run out of memory."""

    def __init__(self, wanted: Study, surrogate: Surrogate, epochs: int) -> None:
        super().__init__(wanted)
        self.surrogate, self.account = surrogate, _Account(epochs)

    def curve(self, stage: StageRecord, cell: CellRecord, seed: int) -> Mapping[int, float]:
        """What the surrogate measures of a cell."""
        del stage
        return dict(self.surrogate.train(cat_config(cell.config), seed).curve)

    def _begin(self, slot: Any, curves: Any) -> bool:
        while True:
            waiting = self._first_waiting()
            if waiting is None:
                self.settle()
                waiting = self._first_waiting()
            if waiting is None:
                return False
            cell = next(c for c in self.snapshot.cells if c.id == waiting.cell_id)
            if self.surrogate.outcome(cat_config(cell.config)) != "out_of_memory":
                return super()._begin(slot, curves)
            ended = replace(waiting, state=TrialState.DONE, outcome=Outcome.OUT_OF_MEMORY)
            self._replace_trials({waiting.uid: ended})

    def _validate(self, slot: Any) -> bool:
        account = self.account
        if account.spent + slot.next_in > account.epochs:
            account.spent = account.epochs
            raise _SpentError
        account.spent += slot.next_in
        goes_on = super()._validate(slot)
        chosen = self.chosen()
        if not account.reached or account.reached[-1][1] != chosen:
            account.reached.append((account.spent, chosen))
        return goes_on

    def chosen(self) -> float:
        """The noise-free value of what would be carried now: the best that completed, else the best so far."""
        last = {row.trial_uid: row.metrics["coco/AP"] for row in self.snapshot.values}
        done = {t.uid for t in self.snapshot.trials if t.outcome is Outcome.COMPLETED}
        among = [t for t in self.snapshot.trials if t.uid in last and (t.uid in done or not done)]
        if not among:
            return 0.0
        best = max(among, key=lambda t: last[t.uid])
        cell = next(c for c in self.snapshot.cells if c.id == best.cell_id)
        return self.surrogate.value(cat_config(cell.config))


def play(wanted: Study, surrogate: Surrogate, epochs: int) -> Search:
    """`wanted` played on `surrogate` by one worker until it ends or has spent `epochs`."""
    played = _Played(wanted, surrogate, epochs)
    with contextlib.suppress(_SpentError):
        played.train(played.curve)
    trials, account = played.snapshot.trials, played.account
    completed = sum(t.outcome is Outcome.COMPLETED for t in trials)
    return Search(tuple(account.reached), account.spent, len(trials), completed)
