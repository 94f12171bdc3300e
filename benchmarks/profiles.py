"""Where the time of a trial goes, by MMPose's tools/train.py and by `posestudy launch`: `python -m benchmarks.profiles`

Both train the baseline of the whole-study benchmark under py-spy, all their processes with them. Prints the seconds of
each part and leaves the stacks, folded as flame graphs take them, in `--out`. `python -m benchmarks.training_step` says
what the operators of a step take, by torch's own profiler.
"""

from __future__ import annotations

import argparse
import collections
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.study.ours import POSESTUDY
from benchmarks.study.rivals import TRAIN, environment
from benchmarks.study.the_study import TheStudy, draw_once

PARTS: dict[str, tuple[str, ...]] = {
    "imports": ("importlib._bootstrap", "<frozen importlib"),
    "waiting for the other process": ("multiprocessing/connection", "selectors.py", "multiprocessing/queues", "poll ("),
    "validation: forward, decode, AP": ("val_loop", "validation/loop", "coco_metric", "cocoeval", "loops.py:37"),
    "update of the weights": ("optimizer_wrapper.py:1", "torch/optim", "update_params"),
    "back-propagation": ("autograd", "_engine_run_backward", "_tensor.py"),
    "targets": ("generate_target", "codecs/", "heatmap_targets", "label_targets"),
    "decoding images": ("image/io.py", "LoadImage", "loading.py", "decoded_images", "image_store"),
    "augmentation and warp": ("transforms/", "warping.py", "draws.py", "colours.py", "compiled.py", "batch_maker.py"),
    "packing and collating": ("formatting.py", "collate", "batches.py", "structures/", "data_preprocessor", "preproc"),
    "data set": ("datasets/", "base_dataset", "fast_dataset", "annotations.py", "dataset.py"),
    "accuracy of the batch": ("pose_pck_accuracy", "heatmap_accuracy", "keypoint_eval"),
    "forward pass and loss": ("torch/nn", "models/", "topdown.py"),
    "checkpoints, journal": ("checkpoint", "journal", "durable", "serialization.py"),
    "hooks and logging": ("hooks/", "logging/", "hooks.py", "visualization/"),
}
"""What a stack belongs to: the first part one of whose words is found in its frames, from the innermost outward."""


def main() -> None:
    """Profile both and print the shares."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--epochs", type=int, default=30)
    words.add_argument("--rate", type=int, default=100, help="samples a second")
    words.add_argument("--out", type=Path, default=Path("out/profiles"))
    asked = words.parse_args()
    shutil.rmtree(asked.out, ignore_errors=True)
    asked.out.mkdir(parents=True)
    study = TheStudy(draw_once(asked.out / "cats"), asked.epochs, seeds=(0,))
    config = study.write_stock_configs(asked.out / "configs")[0]
    one = study.write(asked.out / "speed.yaml")
    commands = {
        "stock": [*TRAIN, str(config), "--work-dir", str(asked.out / "stock")],
        "posestudy": [
            *(sys.executable, *POSESTUDY), "--home", str(asked.out / "home"), "launch", str(one), "--workers", "1",
            "--set", "stages=[{name: one, design: grid, factors: {sigma: [1.0]}}]",
        ],
    }  # fmt: skip
    shares = {name: _profiled(name, command, asked.out, asked.rate) for name, command in commands.items()}
    print(
        f"\nSamples at {asked.rate} a second of one trial of {asked.epochs} epochs, of all its processes, running only"
    )
    print("\n| part | stock MMPose [s] | posestudy [s] |\n|---|---|---|")
    for part in (*PARTS, "the rest"):
        stock, ours = (shares[name][part] / asked.rate for name in ("stock", "posestudy"))
        print(f"| {part} | {stock:.1f} | {ours:.1f} |")
    print(f"| **all** | {shares['stock'].total() / asked.rate:.1f} | {shares['posestudy'].total() / asked.rate:.1f} |")


def _profiled(name: str, command: Sequence[str], out: Path, rate: int) -> collections.Counter[str]:
    """Samples by part; leaves `NAME.folded`."""
    folded = out / f"{name}.folded"
    record = ["py-spy", "record", "--subprocesses", "--rate", str(rate), "--format", "raw", "--output", str(folded)]
    spy = [str(Path(sys.executable).with_name(record[0])), *record[1:], "--"]
    subprocess.run([*spy, *command], check=True, env=environment(), stdout=subprocess.DEVNULL)
    counted: collections.Counter[str] = collections.Counter()
    for line in folded.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        counted[_part(stack.split(";"))] += int(count)
    return counted


def _part(frames: Sequence[str]) -> str:
    for frame in reversed(frames):
        for part, signs in PARTS.items():
            if any(sign in frame for sign in signs):
                return part
    return "the rest"


if __name__ == "__main__":
    main()
