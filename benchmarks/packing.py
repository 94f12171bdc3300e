"""Trials per hour of one GPU: several trials at a time on it, against one at a time.

    python -m benchmarks.packing [--rounds 3] [--trials 12] [--arms auto,2,4]

Needs an NVIDIA GPU, a torch that uses it and `pip install 'posestudy[gpu]'`. Each arm is a `posestudy launch` in a home
of its own with `--per-gpu` as named, `1` being the rival: the same trials, ResNet-50 at 128 x 128 on drawn cats. It
knows nothing of them at the start, so that the trial measured alone is paid for. Use and memory are the driver's.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from benchmarks.interleaved import interleaved
from posestudy_runner.devices import cpu_count
from posestudy_runner.gpu_readings import Nvml, Reading, UnreadableError
from posestudy_studies.drawn_cats import draw

STUDY = "packing"
VAL = 128
SAMPLE_S = 0.5


@dataclass(frozen=True)
class Ran:
    """One launch: its seconds, the final AP of its trials, how busy the GPU was (0 to 1) and its most memory [MiB]."""

    wall_s: float
    aps: tuple[float, ...]
    busy: float
    peak_mb: float
    preempted: int


class _Watched:
    """What the driver says of one GPU while a launch runs."""

    def __init__(self, uuid: str) -> None:
        self._uuid = uuid
        self.readings: list[Reading] = []

    @contextmanager
    def meanwhile(self) -> Iterator[None]:
        over, reader = threading.Event(), Nvml()

        def look() -> None:
            while not over.wait(SAMPLE_S):
                self.readings.append(reader.read(self._uuid))

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def first_gpu() -> str:
    """The identifier of the GPU that is measured.

    Raises:
        UnreadableError: there is none, or no library to ask.
    """
    try:
        import pynvml

        pynvml.nvmlInit()
        uuid = pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByIndex(0))
    except ImportError as error:
        raise UnreadableError("nvidia-ml-py is not installed: pip install 'posestudy[gpu]'") from error
    except pynvml.NVMLError as error:
        raise UnreadableError(f"NVML: {error}") from error
    return uuid.decode() if isinstance(uuid, bytes) else str(uuid)


def study(data: Path, *, trials: int, epochs: int, batch: int) -> dict[str, Any]:
    """Two cells that cost the same, each with half as many seeds as there are trials."""
    return {
        "study": STUDY,
        "dataset": {
            "keypoints": "cats",
            "root": str(data),
            "train": {"annotations": "annotations/train.json", "images": "images"},
            "val": {"annotations": "annotations/val.json", "images": "images"},
        },
        "metric": "coco/AP",
        "baseline": {
            "model": "resnet50",
            "sigma": 1.0,
            "init": "none",
            "input_size": [128, 128],
            "epochs": epochs,
            "validate_every": max(1, epochs // 2),
            "batch_size": batch,
            "optimizer": {"type": "Adam", "lr": 5.0e-4},
            "amp": True,
        },
        "stages": [{"name": "only", "design": "variants", "variants": {"wide": {"sigma": 1.5}}}],
        "replicates": {"seeds": list(range(trials // 2))},
    }


def launch(arm: str, file: Path, uuid: str, work: Path) -> Ran:
    """Run the whole study with `--per-gpu arm`, on the one GPU."""
    home = work / "home"
    shutil.rmtree(home, ignore_errors=True)
    program = Path(sys.executable).with_name("posestudy")
    command = [str(program), "--home", str(home)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": uuid}
    watched = _Watched(uuid)
    began = time.monotonic()
    with watched.meanwhile():
        subprocess.run([*command, "launch", str(file), "--per-gpu", arm], env=environment, check=True)
    wall_s = time.monotonic() - began
    told = subprocess.run([*command, "status", STUDY, "--json"], check=True, capture_output=True, text=True).stdout
    trials = json.loads(told)["trials"]
    return Ran(
        wall_s,
        tuple(trial["final"]["value"] for trial in trials),
        statistics.fmean(reading.busy or 0.0 for reading in watched.readings),
        max(reading.used_mb for reading in watched.readings),
        sum(trial["attempts"] - 1 for trial in trials),
    )


def table(arms: Sequence[str], runs: dict[str, list[Ran]]) -> Iterator[str]:
    """Markdown: medians over the rounds; the AP is the mean of all trials, with the lowest and the highest round's."""
    yield "| `--per-gpu` | trials/h | ratio | GPU busy | memory [MiB] | attempts put back | final AP |"
    yield "|---|---|---|---|---|---|---|"
    rate = {arm: statistics.median(3600 * len(ran.aps) / ran.wall_s for ran in runs[arm]) for arm in arms}
    for arm in arms:
        ran = runs[arm]
        each = [statistics.fmean(one.aps) for one in ran]
        yield (
            f"| {arm} | {rate[arm]:.1f} | {rate[arm] / rate['1']:.2f} "
            f"| {statistics.median(one.busy for one in ran):.0%} | {max(one.peak_mb for one in ran):.0f} "
            f"| {sum(one.preempted for one in ran)} "
            f"| {statistics.fmean(each):.3f} ({min(each):.3f} to {max(each):.3f}) |"
        )


def main() -> int:
    """Measure and print the table; 2 where there is no GPU to measure."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--trials", type=int, default=12, help="an even number")
    words.add_argument("--train", type=int, default=1024, help="training pictures")
    words.add_argument("--epochs", type=int, default=20)
    words.add_argument("--batch", type=int, default=16)
    words.add_argument("--arms", default="auto", help="values of --per-gpu beside 1, comma-separated")
    asked = words.parse_args()
    try:
        uuid = first_gpu()
        before = Nvml().read(uuid)
    except UnreadableError as error:
        print(f"benchmarks.packing needs an NVIDIA GPU: {error}", file=sys.stderr)
        return 2
    arms = ["1", *asked.arms.split(",")]
    runs: dict[str, list[Ran]] = {arm: [] for arm in arms}
    with tempfile.TemporaryDirectory(prefix="packing-") as folder:
        work = Path(folder)
        draw(work / "cats", train=asked.train, val=VAL, seed=7, size_px=192)
        file = work / f"{STUDY}.yaml"
        with file.open("w", encoding="utf-8") as stream:
            document = study(work / "cats", trials=asked.trials, epochs=asked.epochs, batch=asked.batch)
            YAML(typ="safe").dump(document, stream)

        def once(arm: str) -> float:
            runs[arm].append(launch(arm, file, uuid, work))
            return runs[arm][-1].wall_s

        interleaved({arm: lambda arm=arm: once(arm) for arm in arms}, asked.rounds)
    print(f"{asked.trials} trials of {asked.epochs} epochs, {asked.train} pictures, batch {asked.batch};", end=" ")
    print(f"{before.total_mb:.0f} MiB GPU, {cpu_count()} cores; others held {before.used_mb:.0f} MiB\n")
    print("\n".join(table(arms, runs)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
