"""How long a validation during training takes with MMEngine's loop, with ours, and with one of our parts left out.

    python -m benchmarks.validation [--rounds 7] [--threads 1] [--lspet DIR] [--only cats_64]

Stock is `ValLoop` over MMPose's data set and pipeline, with as many loading processes as a trial has, which stay alive
between validations, and `pin_memory` where there is a GPU. Ours is `BatchedValLoop` as a trial has it. All rivals share
the weights, which are trained for some epochs first so that there is an AP, and take turns in one process. The first
validation, which starts processes and reads every image, is told apart from the later ones. CPU time is that of this
process and of its loading processes; on a machine that is busy otherwise it is the steadier figure. AP and its greatest
difference to stock among all metrics stand beside the times.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from posestudy_runner import trial  # isort: skip - the plugin first

import psutil
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from benchmarks.interleaved import Measured, interleaved
from posestudy_runner.plugin import fast
from posestudy_studies.drawn_cats import draw
from posestudy_studies.mmpose_config import LOADER_WORKERS, build
from posestudy_studies.spec import Study


@dataclass(frozen=True)
class Case:
    """A network, its data and how long it is trained before anything is measured."""

    keypoints: str
    model: str
    input_size: tuple[int, int]
    epochs: int
    lr: float


CASES = {
    "cats_64": Case("cats", "resnet_tiny", (64, 64), 24, 4e-3),
    "lspet_128": Case("lspet", "resnet18_thin", (128, 128), 1, 1e-3),
    "lspet_192x256": Case("lspet", "resnet18_thin", (192, 256), 1, 1e-3),
}
OURS = fast.BatchedValLoop.__name__
PARTS: dict[str, dict[str, Any]] = {
    "kept inputs": {"kept_mib": 0},
    "batched decoding": {"batch_decoding": False},
    "fast results": {"fast_results": False},
    "channels innermost": {"channels_last": False},
}


def study(root: Path, case: Case, data_path: str) -> Study:
    return Study.model_validate(
        {
            "study": "validation",
            "dataset": {
                "keypoints": case.keypoints,
                "root": str(root),
                "train": {"annotations": "annotations/train.json", "images": "images"},
                "val": {"annotations": "annotations/val.json", "images": "images"},
            },
            "baseline": {
                "model": case.model,
                "input_size": list(case.input_size),
                "sigma": 1.0,
                "epochs": max(1, case.epochs),
                "validate_every": max(1, case.epochs),
                "batch_size": 16,
                "optimizer": {"type": "Adam", "lr": case.lr},
                "augmentation": {"flip": {}},
            },
            "data_path": data_path,
            "stages": [{"name": "one", "design": "variants", "variants": {"other": {"sigma": 2.0}}}],
        }
    )


def config(root: Path, case: Case, data_path: str, work: Path, name: str) -> Config:
    made = study(root, case, data_path)
    content = build(made, made.baseline, 0)
    content["work_dir"], content["experiment_name"], content["log_level"] = str(work / name), name, "ERROR"
    content["visualizer"]["vis_backends"] = []
    content["default_hooks"]["checkpoint"] = None
    return Config(content, format_python_code=False)


@dataclass
class Rival:
    """Something that validates."""

    runner: Runner
    metrics: dict[str, float] = field(default_factory=dict)
    first: float = 0.0

    def validate(self) -> tuple[float, float]:
        """Wall and CPU seconds of one validation."""
        cpu, wall = cpu_seconds(), time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            self.metrics = self.runner.val_loop.run()
        return time.perf_counter() - wall, cpu_seconds() - cpu


def cpu_seconds() -> float:
    """Of this process, of its children that live and of those that it has seen end."""
    spent = os.times()
    total = spent.user + spent.system + spent.children_user + spent.children_system
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = child.cpu_times()
            total += times.user + times.system
    return total


def rivals(root: Path, case: Case, work: Path) -> dict[str, Rival]:
    stock = config(root, case, "stock", work, "stock")
    if not case.epochs:
        stock.train_cfg.max_epochs = 1
    stock.val_dataloader.update(
        num_workers=LOADER_WORKERS, persistent_workers=True, pin_memory=torch.cuda.is_available()
    )
    made = {"stock": Rival(Runner.from_cfg(stock))}
    if case.epochs:
        made["stock"].runner.train()
    weights = made["stock"].runner.model.state_dict()
    for name, options in {"ours": {}, **{f"without {part}": PARTS[part] for part in PARTS}}.items():
        ours = config(root, case, "fast", work, name.replace(" ", "_"))
        ours.val_cfg = {"type": OURS, **options}
        # As a trial's loader is on a CPU: starting processes costs more than cutting out a split's images.
        ours.val_dataloader.num_workers = 0
        made[name] = Rival(Runner.from_cfg(ours))
        made[name].runner.model.load_state_dict(weights)
    for rival in made.values():
        # A validation by itself builds the loop and says `before_run`.
        rival.runner._val_loop = rival.runner.build_val_loop(rival.runner._val_loop)
    return made


def measure(case: Case, root: Path, rounds: int, work: Path) -> list[str]:
    with contextlib.redirect_stdout(io.StringIO()):
        made = rivals(root, case, work)
    cpu: dict[str, list[float]] = {name: [] for name in made}

    def validated(name: str) -> Callable[[], float]:
        def once() -> float:
            wall, spent = made[name].validate()
            cpu[name].append(spent)
            return wall

        return once

    for rival in made.values():
        # The stock runner has validated after its training: its processes are alive already.
        rival.first, _ = rival.validate()
    measured = interleaved({name: validated(name) for name in made}, rounds)
    return rows(made, measured, cpu)


def rows(made: Mapping[str, Rival], measured: Mapping[str, Measured], cpu: Mapping[str, list[float]]) -> list[str]:
    stock_wall, stock_cpu = measured["stock"].median, statistics.median(cpu["stock"])
    truth = made["stock"].metrics
    lines = []
    for name, rival in made.items():
        spent = statistics.median(cpu[name])
        difference = max(abs(rival.metrics[metric] - value) for metric, value in truth.items())
        lines.append(
            f"| {name} | {rival.first:.2f} | {measured[name].shown()} | {stock_wall / measured[name].median:.2f} | "
            f"{spent:.3g} | {stock_cpu / spent:.2f} | {rival.metrics['coco/AP']:.6f} | {difference:.1e} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1, help="of torch, for all rivals")
    parser.add_argument("--only", choices=CASES, help="one case")
    parser.add_argument("--epochs", type=int, help="of training before; 0: random weights, and no AP to speak of")
    parser.add_argument(
        "--lspet",
        type=Path,
        default=Path(os.environ.get("POSESTUDY_LSPET") or Path(__file__).parents[2] / "shared" / "data" / "lspet"),
        help="folder of Leeds Sports Pose Extended as studies/lspet.yaml has it",
    )
    options = parser.parse_args()
    trial.compute_on("cuda:0" if torch.cuda.is_available() else "cpu", options.threads)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        draw(work / "cats", train=256, val=128, seed=1)
        for name, declared in CASES.items():
            if options.only not in (None, name):
                continue
            case = declared if options.epochs is None else replace(declared, epochs=options.epochs)
            root = work / "cats" if case.keypoints == "cats" else options.lspet
            if not root.exists():
                print(f"{name}: {root} is not there, left out", flush=True)
                continue
            print(f"\n{name}: {case.model}, {case.input_size[0]} x {case.input_size[1]} px, flip test, 128 images\n")
            print("| | first [s] | later [s] | ratio | CPU [s] | ratio | coco/AP | greatest difference |")
            print("|---|---|---|---|---|---|---|---|", flush=True)
            print("\n".join(measure(case, root, options.rounds, work)), flush=True)


if __name__ == "__main__":
    main()
