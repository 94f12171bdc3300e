"""Searches compared on networks that are really trained: `python -m benchmarks.search.drawn_cats`.

Draws the cats of the demo, or fewer, and searches four factors of a very small network by `posestudy`'s own launch,
each strategy in the same number of epochs, about. What each carries is trained anew with seeds that no search saw, and
the mean over them judges it. `--smallest` only shows whether it runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from posestudy.ledger import Ledger
from posestudy.ledger.records import Snapshot
from posestudy.settings import Settings
from posestudy_reports import demo
from posestudy_runner.launching import run_study
from posestudy_studies.drawn_cats import draw
from posestudy_studies.file import load

Json = dict[str, Any]

SPACE: Json = {
    "optimizer.lr": {"log": [1.0e-4, 3.0e-2]},
    "batch_size": [8, 16, 32],
    "sigma": {"uniform": [1.0, 2.5]},
    "augmentation.scale_rotation": [None, {"rotation": 10, "scale": 0.1}, {"rotation": 40, "scale": 0.5}],
}
PAUSED_CELLS = 3
"""Cells of a search that pauses trials for each one of a search that trains all of them to their end."""
_ASHA = {"type": "asha", "min_epochs": 1, "reduction": 3}
SEARCHES: Mapping[str, Json] = {
    "random": {"sampler": "random"},
    "tpe": {"sampler": {"type": "tpe", "startup_trials": 4}},
    "tpe_asha": {"sampler": {"type": "tpe", "startup_trials": 4}, "pruner": _ASHA},
    "curves_asha": {"sampler": {"type": "curves", "startup_trials": 6}, "pruner": {**_ASHA, "rank": "forecast"}},
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Search, judge, and print the table; the exit code of the last launch that did not end well, else 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--epochs", type=int, default=12, help="of a training that is not paused")
    parser.add_argument("--cells", type=int, default=6, help="of a search without pauses")
    parser.add_argument("--seeds", type=int, nargs="+", default=[101, 102, 103], help="that judge what is carried")
    parser.add_argument("--searches", nargs="+", default=list(SEARCHES), choices=list(SEARCHES))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--smallest", action="store_true", help="104 pictures, 3 epochs, 2 cells, one judging seed")
    told = parser.parse_args(arguments)
    if told.smallest:
        told.epochs, told.cells, told.seeds = 3, 2, told.seeds[:1]
    settings = Settings.resolve(told.home)
    root = settings.home.root / ("searched_cats_small" if told.smallest else "searched_cats")
    if not (root / "annotations" / "val.json").exists():
        train, val = (64, 40) if told.smallest else (demo.TRAIN, demo.VAL)
        draw(root, train=train, val=val, seed=demo.SEED)
    code = 0
    print(
        "| search | epochs | cells | value in the search | mean of fresh seeds | carried |\n|---|---|---|---|---|---|"
    )
    for name in told.searches:
        per_cell = PAUSED_CELLS if "pruner" in SEARCHES[name] else 1
        stage = {
            "name": "search",
            "design": "search",
            "include_baseline": False,
            "space": SPACE,
            "cells": per_cell * told.cells,
            **SEARCHES[name],
        }
        snapshot, ended = _trained(root, f"searched_{name}", told, stage, settings)
        code = ended or code
        carried = next(c for c in snapshot.cells if c.name == snapshot.stages[0].carried)
        judged = {
            "name": "judge",
            "design": "variants",
            "include_baseline": False,
            "variants": {"carried": carried.levels},
            "replicates": {"seeds": told.seeds},
        }
        fresh, ended = _trained(root, f"judged_{name}", told, judged, settings)
        code = ended or code
        found = max(t.final_value or 0.0 for t in snapshot.trials if t.cell_id == carried.id)
        mean = statistics.mean(t.final_value or 0.0 for t in fresh.trials)
        last: dict[str, int] = {}
        for row in snapshot.values:
            last[row.trial_uid] = max(row.epoch, last.get(row.trial_uid, 0))
        spent, levels = sum(last.values()), json.dumps(carried.levels)
        print(f"| {name} | {spent} | {len(snapshot.cells)} | {found:.3f} | {mean:.3f} | `{levels}` |", flush=True)
    return code


def _trained(root: Path, name: str, told: argparse.Namespace, stage: Json, settings: Settings) -> tuple[Snapshot, int]:
    """The study `name` of one stage as the ledger holds it once it is trained, and the exit code of its launch."""
    document = {
        "study": name,
        "dataset": {
            "keypoints": "cats",
            "root": str(root.resolve()),
            "train": {"annotations": "annotations/train.json", "images": "images"},
            "val": {"annotations": "annotations/val.json", "images": "images"},
        },
        "metric": "coco/AP",
        "reuse": "none",
        "baseline": {
            "model": "resnet_tiny", "input_size": [64, 64], "epochs": told.epochs, "batch_size": 16,
            "optimizer": {"type": "Adam", "lr": 5.0e-4},
            "schedule": {"warmup_iters": 10, "milestones": [max(1, round(0.8 * told.epochs))], "gamma": 0.1},
        },
        "stages": [stage],
    }  # fmt: skip
    path = root / f"{name}.yaml"
    # A YAML file may be written in JSON.
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    code = run_study(load(path), path.read_text(encoding="utf-8"), settings, workers=told.workers)
    ledger = Ledger.open(settings.database_url)
    snapshot = ledger.snapshot(name)
    ledger.close()
    return snapshot, code


if __name__ == "__main__":
    raise SystemExit(main())
