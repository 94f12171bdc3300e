"""What tracking costs: the same trial with pool, lease, ledger, journal, checkpoints and MLflow, and with none of them.

    python -m benchmarks.tracking [--rounds 5] [--epochs 8] [--images 1600] [--cores 1]

`posestudy launch` trains a trial of drawn cats with a lease of 60 s, a checkpoint and the best weights saved durably
after every epoch, and projections to MLflow and Optuna's tables. The bare rivals give the same config (the same data
path, the same training step) to MMEngine's runner: once with nothing else, once with MMPose's `CheckpointHook` after
every epoch and `save_best`. An epoch is its training and its validation, from the end of the first epoch to that of the
last: where processes start and images are decoded for the first time is left to other benchmarks. All of a rival shares
`--cores` cores, also the ledger's side and the projections. Seconds by the clock, and CPU seconds of the trial process
and of all other processes of the launch; the final AP stands beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.interleaved import interleaved
from posestudy import journal
from posestudy.home import Home

NAME = "tracking"
_YAML = """
study: tracking
dataset:
  keypoints: cats
  root: {cats}
  train: {{annotations: annotations/train.json, images: images}}
  val: {{annotations: annotations/val.json, images: images}}
baseline:
  model: resnet_tiny
  input_size: [64, 64]
  sigma: 1.0
  epochs: {epochs}
  validate_every: 1
  batch_size: 16
  optimizer: {{type: Adam, lr: 2.0e-3}}
  schedule: {{warmup_iters: 10}}
  augmentation: {{flip: {{}}, scale_rotation: {{}}}}
data_path: fast
stages:
  - {{name: only, design: variants, variants: {{other: {{sigma: 2.0}}}}}}
"""
_BARE = """
import json, sys
from pathlib import Path
from posestudy_runner import trial
from mmengine.hooks import Hook
from posestudy_runner.light_runner import LightRunner
from posestudy_runner.order import TARGET, TrialOrder
from posestudy_studies.dataset import sealed
from posestudy_studies.file import load

file, folder, stock_checkpoints, threads = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "yes", int(sys.argv[4])
study = sealed(load(file))
folder.mkdir(parents=True)
order = TrialOrder(
    target=TARGET, study_name=study.study, study=study.model_dump(mode="json"),
    training=study.baseline.model_dump(mode="json"), stage="only", cell="only", uid="uid", number=1, fence=1, seed=0,
    metric="coco/AP", direction="more", epochs=study.baseline.epochs, folder=str(folder), device="cpu", threads=threads,
    images=str(folder.parent / "decoded"),
)
trial.compute_on("cpu", threads)
config = trial.prepare(order)
if stock_checkpoints:
    config.default_hooks.checkpoint = dict(
        type="CheckpointHook", interval=1, max_keep_ckpts=1, save_best="coco/AP", rule="greater"
    )
runner = LightRunner.from_cfg(config)

class Told(Hook):
    priority = "LOWEST"
    def after_val_epoch(self, runner, metrics=None):
        with (folder / "epochs").open("a") as file:
            file.write(json.dumps([runner.epoch, float(metrics["coco/AP"])]) + "\\n")

runner.register_hook(Told(), "LOWEST")
runner.train()
"""


@dataclass(frozen=True)
class Told:
    """Epochs that are over, and the last AP."""

    epoch: int
    ap: float


@dataclass(frozen=True)
class Ran:
    """Of an epoch between the first and the last: seconds, CPU seconds of the trial and of the rest; the final AP."""

    wall_s: float
    trial_cpu_s: float
    rest_cpu_s: float
    ap: float


def _cpu(tree: psutil.Process, trial: Callable[[], int | None]) -> tuple[float, float]:
    """CPU seconds so far of the trial process, and of all others under `tree`."""
    own, rest, number = 0.0, 0.0, trial()
    for process in (tree, *tree.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        spent = times.user + times.system
        if process.pid == number:
            own += spent
        else:
            rest += spent
    return own, rest


def watched(
    process: subprocess.Popen[bytes], told: Callable[[], Told | None], epochs: int, trial: Callable[[], int | None]
) -> Ran:
    """Wait for the first and the last epoch of what `process` trains."""
    tree, marks = psutil.Process(process.pid), list[tuple[float, float, float, int, float]]()
    while len(marks) < 2:
        now = told()
        if process.poll() is not None and (now is None or now.epoch < epochs):
            raise RuntimeError(f"it ended with {process.returncode} before its last epoch")
        if now is not None and ((not marks and now.epoch >= 1) or now.epoch >= epochs):
            marks.append((time.monotonic(), *_cpu(tree, trial), now.epoch, now.ap))
        time.sleep(0.05)
    (began, own, rest, start, _), (ended, own_after, rest_after, end, ap) = marks
    count = end - start
    return Ran((ended - began) / count, (own_after - own) / count, (rest_after - rest) / count, ap)


def tracked(study: Path, work: Path, epochs: int) -> Ran:
    home = Home(work / "home")
    command = [str(Path(sys.executable).with_name("posestudy")), "--home", str(home.root), "launch", str(study)]
    log = (work / "launch.log").open("wb")
    process = subprocess.Popen([*command, "--workers", "1"], stdout=log, stderr=log, start_new_session=True)
    paths = home.attempt(NAME, 1, 1)

    def told() -> Told | None:
        frames = [frame for frame in journal.read(paths.journal) if frame["type"] == "epoch"]
        return Told(frames[-1]["epoch"], frames[-1]["metrics"]["coco/AP"]) if frames else None

    def trial() -> int | None:
        """The process that writes the attempt's journal."""
        for child in psutil.Process(process.pid).children(recursive=True):
            try:
                if any(
                    Path(f"/proc/{child.pid}/fd/{n}").resolve() == paths.journal
                    for n in os.listdir(f"/proc/{child.pid}/fd")
                ):
                    return child.pid
            except OSError:
                continue
        return None

    try:
        return watched(process, told, epochs, trial)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(120)
        log.close()


def bare(study: Path, work: Path, epochs: int, *, stock_checkpoints: bool) -> Ran:
    folder = work / "trial"
    mode, threads = "yes" if stock_checkpoints else "no", str(len(os.sched_getaffinity(0)))
    command = [sys.executable, "-W", "ignore", "-c", _BARE, str(study), str(folder), mode, threads]
    log = (work / "bare.log").open("wb")
    process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def told() -> Told | None:
        try:
            lines = (folder / "epochs").read_text().splitlines()
        except FileNotFoundError:
            return None
        return Told(*json.loads(lines[-1])) if lines else None

    try:
        return watched(process, told, epochs, lambda: process.pid)
    finally:
        process.wait(120)
        log.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--images", type=int, default=1600, help="cats of the training split")
    parser.add_argument("--validation-images", type=int, default=64)
    parser.add_argument("--cores", type=int, default=1, help="of the trial and of all that is done for it")
    chosen = parser.parse_args()
    found: dict[str, list[Ran]] = {}
    # All of it on as many cores as the trial has threads: what goes on beside the training takes its time too.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: chosen.cores])
    with tempfile.TemporaryDirectory() as folder:
        from posestudy_studies.drawn_cats import draw

        root = Path(folder)
        draw(root / "cats", train=chosen.images, val=chosen.validation_images, seed=0, size_px=96)
        study = root / "tracking.yaml"
        study.write_text(_YAML.format(cats=root / "cats", epochs=chosen.epochs))

        def rival(name: str, run: Callable[[Path], Ran]) -> Callable[[], float]:
            def once() -> float:
                work = root / "work"
                shutil.rmtree(work, ignore_errors=True)
                work.mkdir()
                ran = run(work)
                found.setdefault(name, []).append(ran)
                return ran.wall_s

            return once

        rivals = {
            "bare": lambda work: bare(study, work, chosen.epochs, stock_checkpoints=False),
            "bare, MMPose's checkpoints": lambda work: bare(study, work, chosen.epochs, stock_checkpoints=True),
            "posestudy": lambda work: tracked(study, work, chosen.epochs),
        }
        figures = interleaved({name: rival(name, run) for name, run in rivals.items()}, chosen.rounds)
    least = figures["bare"].median
    spent = {name: statistics.median(ran.trial_cpu_s for ran in runs) for name, runs in found.items()}
    print(
        "| | s an epoch | / bare | CPU s of the trial | / bare | CPU s of the rest | final AP |\n"
        "|---|---|---|---|---|---|---|"
    )
    for name, measured in figures.items():
        rest = statistics.median(ran.rest_cpu_s for ran in found[name])
        print(
            f"| {name} | {measured.shown()} | {measured.median / least:.3f} | {spent[name]:.3f} | "
            f"{spent[name] / spent['bare']:.3f} | {rest:.3f} | {found[name][-1].ap:.4f} |"
        )


if __name__ == "__main__":
    main()
