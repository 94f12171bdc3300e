"""The strategies that are compared: each plays a surrogate with a seed and a number of epochs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from benchmarks.search.cat_space import CatConfig, reported
from benchmarks.search.simulation import SPACE, WIDE, Search, play, study
from benchmarks.search.surrogates import Surrogate

Strategy = Callable[[Surrogate, int, int], Search]
"""The surrogate, a seed, and the epochs that may be spent."""

RECIPE: Mapping[str, Any] = {
    "model": "hrnet_w32",
    "input_size": [256, 256],
    "batch_size": 32,
    "optimizer.lr": 5.0e-4,
    "optimizer.type": "Adam",
    "augmentation.half_body": {},
    "augmentation.translation": {},
    "augmentation.albumentations": None,
    "augmentation.photometric": None,
    "augmentation.scale_rotation": WIDE,
}
"""MMPose 1.3's config `td-hm_hrnet-w32_8xb64-210e_coco-256x192` as far as the space has it, at a batch that fits 8 GB.
It turns boxes by up to 80 degrees, and translates them."""
CELLS, OF_EPOCHS = 56, 1023
"""Cells of a search that pauses trials, for so many epochs, which is a little more than they take."""
_ASHA = {"type": "asha", "min_epochs": 5, "reduction": 3}
_SEARCHES: Mapping[str, Mapping[str, Any]] = {
    "random": {"sampler": "random", "cells": 1000},
    "tpe": {"sampler": "tpe", "cells": 1000},
    "random+asha": {"sampler": "random", "pruner": _ASHA},
    "tpe+asha": {"sampler": "tpe", "pruner": _ASHA},
    "curves+asha": {"sampler": "curves", "pruner": {**_ASHA, "rank": "forecast"}},
    "recipe first": {"sampler": "curves", "pruner": {**_ASHA, "rank": "forecast"}, "first_cells": [RECIPE]},
}
_GRID: Mapping[str, Any] = {
    "design": "grid",
    "factors": {
        "optimizer.lr": [1.0e-4, 1.0e-3, 1.0e-5],
        "model": ["resnet50", "hrnet_w32"],
        "input_size": [[128, 128], [256, 256]],
    },
}


def _search(name: str) -> Strategy:
    def run(surrogate: Surrogate, seed: int, epochs: int) -> Search:
        cells = max(1, round(CELLS * epochs / OF_EPOCHS))
        stage = {"design": "search", "space": SPACE, "cells": cells, **_SEARCHES[name]}
        # The seeds of sampler and noise are both functions of the seed.
        wanted = study(f"{surrogate.kind}_{seed}", {**stage, "replicates": {"seeds": [seed]}})
        return play(wanted, surrogate, epochs)

    return run


def _grid(surrogate: Surrogate, seed: int, epochs: int) -> Search:
    wanted = study(f"{surrogate.kind}_{seed}", {**_GRID, "replicates": {"seeds": [seed]}})
    return play(wanted, surrogate, epochs)


def student(surrogate: Surrogate, seed: int, epochs: int) -> Search:
    """The student's own experiments in their order, as far as the epochs go; the best value so far is chosen."""
    spent, reached = 0, []
    best: tuple[float, CatConfig] | None = None
    configs = [row.config for row in reported()]
    completed = 0
    for number, config in enumerate(configs):
        training = surrogate.train(replace(config), seed + 1000 * number)
        if not training.curve:
            continue
        if spent + config.epochs > epochs:
            spent = epochs
            break
        spent, completed = spent + config.epochs, completed + 1
        value = training.curve[-1][1]
        if best is None or value > best[0]:
            best = (value, config)
            reached.append((spent, surrogate.value(config)))
    return Search(tuple(reached), spent, completed, completed)


STRATEGIES: dict[str, Strategy] = {
    "student": student,
    "grid": _grid,
    **{name: _search(name) for name in _SEARCHES},
}
