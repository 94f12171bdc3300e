"""Trials per hour of a whole study, ours against the rivals, at trials of several lengths.

`python -m benchmarks.study` needs Ray (`pip install 'ray[tune]'`); `--rivals xargs` and the like choose some.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.study import rivals
from benchmarks.study.ours import SPAWN, STOCK_DATA, posestudy
from benchmarks.study.rivals import Ran
from benchmarks.study.the_study import BATCH, CELLS, PICTURES, SEEDS, VALIDATIONS, TheStudy, draw_once
from posestudy_runner.components import Component

RIVALS: dict[str, Callable[[Sequence[Path], Path, int], Ran]] = {
    "xargs": rivals.xargs,
    "optuna": rivals.optuna,
    "ray": lambda configs, work, workers: rivals.ray_tune(configs, work, workers, reuse=True),
    "ray-fresh": lambda configs, work, workers: rivals.ray_tune(configs, work, workers, reuse=False),
}
NAMES = {
    "xargs": "`xargs` over tools/train.py",
    "optuna": "Optuna, a process per trial",
    "ray": "Ray Tune, processes reused",
    "ray-fresh": "Ray Tune, a process per trial",
}
PARTS = (SPAWN, STOCK_DATA, *(c.value for c in Component if c is not Component.DEVICE_WARP))


def main() -> None:
    """Measure what the arguments ask for and print a table for each length."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--train-s", default="15,60,300", help="seconds of stock training a trial, comma-separated")
    words.add_argument("--rivals", default="xargs,optuna,ray,ray-fresh")
    words.add_argument("--without", default="", help="parts of ours to leave out one at a time; `all` for each")
    words.add_argument("--workers", type=int, default=2)
    words.add_argument("--seeds", type=int, default=len(SEEDS), help="of each cell")
    words.add_argument("--cells", type=int, choices=range(2, len(CELLS) + 1), default=len(CELLS), metavar="2..6")
    words.add_argument("--rounds", type=int, default=1)
    words.add_argument("--folder", type=Path, default=Path("out/benchmark_study"))
    asked = words.parse_args()
    data = draw_once(asked.folder / "cats")
    seeds = tuple(range(asked.seeds))
    per_epoch = _stock_epoch_s(data, asked.folder, asked.workers)
    print(f"stock training: {per_epoch:.2f} s an epoch with {asked.workers} at a time", flush=True)
    chosen = [word for word in asked.rivals.split(",") if word]
    parts = PARTS if asked.without == "all" else tuple(word for word in asked.without.split(",") if word)
    for length in map(float, asked.train_s.split(",")):
        epochs = VALIDATIONS * math.ceil(length / per_epoch / VALIDATIONS)
        study = TheStudy(data, epochs, seeds, asked.cells)
        found: dict[str, list[Ran]] = {}
        for turn in range(asked.rounds):
            for name, run in _runs(study, chosen, parts, asked.workers):
                work = _emptied(asked.folder / f"{length:g}s" / f"{name}-{turn}")
                found.setdefault(name, []).append(run(work))
                print(f"{name}: {found[name][-1].seconds:.1f} s, AP {found[name][-1].mean:.3f}", flush=True)
        _print(length, study, found)


def _runs(
    study: TheStudy, chosen: Sequence[str], parts: Sequence[str], workers: int
) -> list[tuple[str, Callable[[Path], Ran]]]:
    def rival(name: str) -> Callable[[Path], Ran]:
        return lambda work: RIVALS[name](study.write_stock_configs(work / "configs"), work, workers)

    def ours(without: str) -> Callable[[Path], Ran]:
        return lambda work: posestudy(study, work, workers, without)

    return [
        ("posestudy", ours("")),
        *((name, rival(name)) for name in chosen),
        *((f"without {part}", ours(part)) for part in parts),
    ]


def _stock_epoch_s(data: Path, folder: Path, workers: int) -> float:
    """Seconds that stock training takes an epoch while all workers train."""
    work = _emptied(folder / "calibration")
    configs = TheStudy(data, 3 * VALIDATIONS).write_stock_configs(work / "configs")[:workers]
    rivals.xargs(configs, work, workers)
    # Pictures hold one cat or two.
    instances = len(json.loads((data / "annotations" / "train.json").read_text(encoding="utf-8"))["annotations"])
    return math.ceil(instances / BATCH) * sum(rivals.iteration_s(config, work) for config in configs) / len(configs)


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _print(length: float, study: TheStudy, found: dict[str, list[Ran]]) -> None:
    trials = len(study.trials)
    best = _median(found["posestudy"])
    print(
        f"\n{trials} trials of {study.epochs} epochs on {PICTURES['train']} pictures, "
        f"at least {length:g} s of stock training each\n"
    )
    print("| | study [s] | trials an hour | ratio | mean AP |\n|---|---|---|---|---|")
    for name, runs in found.items():
        seconds = _median(runs)
        mean = sum(run.mean for run in runs) / len(runs)
        print(
            f"| {NAMES.get(name, name)} | {seconds:.0f} | {3600 * trials / seconds:.0f} | "
            f"{seconds / best:.2f} | {mean:.3f} |"
        )


def _median(runs: Sequence[Ran]) -> float:
    ordered = sorted(run.seconds for run in runs)
    return ordered[len(ordered) // 2]


if __name__ == "__main__":
    main()
