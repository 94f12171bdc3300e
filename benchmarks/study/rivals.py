"""What a user would do instead: a shell loop, an Optuna script with a process per trial, Ray Tune."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TRAIN = (sys.executable, "-m", "benchmarks.study.train_stock")
THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Of each trial, as many as ours has where two share two cores."""

FINALS = "finals.json"
"""Where a rival that knows them leaves the last coco/AP of its trainings, by config."""


@dataclass(frozen=True)
class Ran:
    """What one way of running the study came to.

    Attributes:
        seconds: from the command to its end.
        final: coco/AP at the last epoch, by cell and seed.
    """

    seconds: float
    final: dict[str, float]

    @property
    def mean(self) -> float:
        return sum(self.final.values()) / max(1, len(self.final))


def environment(**more: str) -> dict[str, str]:
    """This process's environment with the threads of a trial."""
    return {**os.environ, **THREADS, "PYTHONPATH": os.getcwd(), **more}


def timed(command: Sequence[str], log: Path, **more: str) -> float:
    """Seconds that `command` takes.

    Raises:
        SystemExit: it fails; with the end of what it printed.
    """
    began = time.monotonic()
    with log.open("w") as out:
        done = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, env=environment(**more), check=False)
    seconds = time.monotonic() - began
    if done.returncode:
        raise SystemExit(f"{shlex.join(command)} ended with {done.returncode}:\n{log.read_text()[-3000:]}")
    return seconds


def xargs(configs: Sequence[Path], work: Path, workers: int) -> Ran:
    """`xargs -P` over MMPose's tools/train.py."""
    listed = work / "configs.txt"
    listed.write_text("\n".join(str(config) for config in configs))
    train = f'{shlex.join(TRAIN)} {{}} --work-dir "{work}/$(basename {{}} .py)"'
    seconds = timed(["xargs", "-a", str(listed), "-P", str(workers), "-I{}", "sh", "-c", train], work / "xargs.log")
    return Ran(seconds, finals(configs, work))


def optuna(configs: Sequence[Path], work: Path, workers: int) -> Ran:
    """An Optuna study in SQLite whose objective trains in a process of its own."""
    script = [sys.executable, "-m", "benchmarks.study.optuna_script", str(work), str(workers), *map(str, configs)]
    return Ran(timed(script, work / "optuna.log"), finals(configs, work))


def ray_tune(configs: Sequence[Path], work: Path, workers: int, *, reuse: bool) -> Ran:
    """Ray Tune with a core a trial; with `reuse` processes live on between trials."""
    words = [str(work), str(workers), str(int(reuse)), *map(str, configs)]
    script = [sys.executable, "-m", "benchmarks.study.ray_script", *words]
    seconds = timed(script, work / "ray.log", RAY_DEDUP_LOGS="0")
    return Ran(seconds, json.loads((work / FINALS).read_text(encoding="utf-8")))


def finals(configs: Sequence[Path], work: Path) -> dict[str, float]:
    """The last coco/AP of each run as MMEngine's scalars.json has it."""
    found = {}
    for config in configs:
        (scalars,) = (work / config.stem).glob("*/vis_data/scalars.json")
        rows = [json.loads(line) for line in scalars.read_text().splitlines()]
        found[config.stem] = [row["coco/AP"] for row in rows if "coco/AP" in row][-1]
    return found


def iteration_s(config: Path, work: Path) -> float:
    """Mean seconds of an iteration in a run, data and all, by MMEngine's own clock."""
    (scalars,) = (work / config.stem).glob("*/vis_data/scalars.json")
    rows = [json.loads(line) for line in scalars.read_text().splitlines()]
    times = [float(row["time"]) for row in rows if "loss" in row]
    return sum(times) / len(times)
