"""A synthetic study with an ablation of three seeds each, a grid of learning rate by batch size, and a search."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from synthetic_report import CREATED, Builder

from posestudy.vocabulary import Outcome

RATES, BATCHES = (1e-5, 1e-4, 1e-3), (16, 32, 64)
SPACE: dict[str, Any] = {
    "optimizer.lr": {"log": [1e-5, 1e-2]},
    "sigma": {"uniform": [1.0, 3.0]},
    "optimizer.type": ["Adam", "AdamW", "SGD"],
}


class Searched(Builder):
    """A builder whose cells have any factor and whose trials end one after another, each after `seconds`."""

    def __init__(self, name: str = "searched", **document: Any) -> None:
        super().__init__(name, **document)
        self.clock = 0.0

    def row(
        self,
        name: str,
        levels: dict[str, Any],
        values: Sequence[float] = (),
        *,
        outcome: Outcome = Outcome.COMPLETED,
        label: str = "",
        seconds: float = 900.0,
        device: str = "cuda:0",
    ) -> None:
        """A cell with a replicate per final value; without any, one trial that ended with `outcome`."""
        self.cell(name, levels, label=label)
        config = copy.deepcopy(self.cells[-1].config)
        for factor, level in levels.items():
            here = config
            *path, last = factor.split(".")
            for part in path:
                here = here.setdefault(part, {})
            here[last] = level
        self.cells[-1] = replace(self.cells[-1], config=config)
        for seed, value in enumerate(values):
            self._ended(outcome, (value / 3, value / 1.5, value / 1.1, value), seed, seconds, device)
        if not values:
            self._ended(outcome, (), 0, seconds, device)

    def _ended(self, outcome: Outcome, scores: tuple[float, ...], seed: int, seconds: float, device: str) -> None:
        self.clock += seconds
        took = {"duration_s": seconds} if scores else {}
        self.trial(outcome, scores, seed=seed, ended=CREATED + self.clock, provenance={"device": device}, **took)


def searched(label: str = "") -> Searched:
    """Three stages; `label` is put before the label of every cell of the first."""
    chance = random.Random(7)
    stages = [{"name": "ablation"}, {"name": "lr_batch"}, {"name": "search", "space": SPACE}]
    study = Searched(stages=stages, report={"equivalence_margin": 0.02})
    _ablation(study, label, chance)
    _grid(study)
    _search(study, chance)
    return study


def _ablation(study: Searched, label: str, chance: random.Random) -> None:
    study.stage("ablation", design="one_at_a_time", carried="better", carry_reason="best final AP")
    rows = (("baseline", {}, 0.5), ("alike", {"sigma": 2.0}, 0.5), ("better", {"sigma": 3.0}, 0.6))
    for name, levels, middle in (*rows, ("joint", {"sigma": 3.0, "optimizer.lr": 1e-3}, 0.7)):
        values = [middle + chance.gauss(0, 0.004) for _ in range(3)]
        study.row(name, levels, values, label=f"{label}{name}")


def _grid(study: Searched) -> None:
    """Final AP 0.40, 0.41 ... in order; one ran out of memory, one diverged."""
    study.stage("lr_batch", design="grid", baseline=None)
    for i, (rate, batch) in enumerate((r, b) for r in RATES for b in BATCHES):
        levels = {"optimizer.lr": rate, "batch_size": batch}
        ends = {2: Outcome.OUT_OF_MEMORY, 6: Outcome.DIVERGED}
        study.row(f"cell_{i}", levels, () if i in ends else (0.40 + 0.01 * i,), outcome=ends.get(i, Outcome.COMPLETED))


def _search(study: Searched, chance: random.Random) -> None:
    """Twenty-four cells of which the rate decides nearly all, and the optimizer some."""
    study.stage("search", design="search")
    study.row("baseline", {}, (0.5,))
    for i in range(24):
        rate, kind = 10 ** chance.uniform(-5, -2), chance.choice(SPACE["optimizer.type"])
        levels = {"optimizer.lr": rate, "sigma": chance.uniform(1, 3), "optimizer.type": kind}
        value = 0.65 - 0.1 * abs(math.log10(rate) + 3.2) ** 1.5 - (0.04 if kind == "SGD" else 0)
        outcome = {5: Outcome.OUT_OF_MEMORY, 9: Outcome.PRUNED}.get(i, Outcome.COMPLETED)
        study.row(f"cell_{i}", levels, () if i == 5 else (max(0.0, value),), outcome=outcome)
