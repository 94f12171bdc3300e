"""How long a training iteration takes with MMPose's settings, with ours, and with one of ours left out at a time.

    python -m benchmarks.training_step [--rounds 9] [--iterations 20] [--threads 1] [--device cpu] [--compile]

The batch is ready and already normalised: what is measured is MMEngine's loop, its hooks, the network, its loss and the
optimizer. All rivals train the same network from the same weights on the same batch in one process, in turns. On a CPU
the figure is its CPU time, which says the same on a machine that is busy otherwise; on a GPU it is the time between two
CUDA events around the iterations. `--compile` adds a row in which `torch.compile` has made the backbone's code, and how
long that took. The losses of the last iteration stand beside the times: all rivals train the same.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from posestudy_runner import trial  # isort: skip - the plugin first

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from benchmarks.interleaved import interleaved
from posestudy_runner.components import VARIABLE, Component
from posestudy_runner.plugin.step import fit_step
from posestudy_studies.drawn_cats import draw
from posestudy_studies.mmpose_config import build
from posestudy_studies.spec import Study

COMPONENTS = (Component.CHANNELS_LAST, Component.FUSED_OPTIMIZER, Component.QUIET_STEP)
NETWORKS = {
    "resnet_tiny, 64 px": ("resnet_tiny", 64, None),
    "resnet18, 128 px, head of 32 channels": ("resnet18", 128, (32, 32, 32)),
}
BATCH = 16


def study(root: Path, model: str, size_px: int, epochs: int) -> Study:
    split = {"train": {"annotations": "annotations/train.json", "images": "images"}}
    return Study.model_validate(
        {
            "study": "step",
            "dataset": {"keypoints": "cats", "root": str(root), **split, "val": split["train"]},
            "baseline": {
                "model": model,
                "init": "none",
                "input_size": [size_px, size_px],
                "sigma": 1.0,
                "epochs": epochs,
                "batch_size": BATCH,
                "optimizer": {"type": "Adam", "lr": 1e-3},
                "augmentation": {"flip": {}, "scale_rotation": {}},
            },
            "data_path": "stock",
            "stages": [{"name": "one", "design": "variants", "variants": {"other": {"sigma": 2.0}}}],
        }
    )


class Training:
    """A run of MMEngine's, in the middle of an epoch of one batch."""

    def __init__(self, config: Config, device: str, name: str, *, compiled: bool = False) -> None:
        self._on_gpu = device.startswith("cuda")
        self.runner = runner = Runner.from_cfg(config)
        runner._train_loop = runner.build_train_loop(runner._train_loop)
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
        batch = next(iter(runner.train_dataloader))
        self._batch = runner.model.data_preprocessor(batch, True)
        runner.model.data_preprocessor.forward = lambda data, training: data
        # Before any hook looks at the weights: all rivals start from the same.
        torch.manual_seed(0)
        runner.model.init_weights()
        runner.optim_wrapper.initialize_count_status(runner.model, 0, runner.train_loop.max_iters)
        if compiled:
            runner.model.backbone = torch.compile(runner.model.backbone)
        runner.call_hook("before_run")
        runner.call_hook("before_train")
        runner.call_hook("before_train_epoch")
        runner.model.train()
        began = time.perf_counter()
        self.iterate(2)
        if compiled:
            print(f"{name}: compiled, the first two iterations took {time.perf_counter() - began:.1f} s", flush=True)

    def iterate(self, count: int) -> None:
        # Never the last of an epoch, which would end it.
        places = len(self.runner.train_dataloader) - 1
        for index in range(count):
            self.runner.train_loop.run_iter(index % places, self._batch)

    def milliseconds(self, iterations: int) -> float:
        """Of an iteration: CPU time, on a GPU the time between two events on its stream."""
        if not self._on_gpu:
            began = time.process_time()
            self.iterate(iterations)
            return (time.process_time() - began) / iterations * 1e3
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        self.iterate(iterations)
        end.record()
        torch.cuda.synchronize()
        return float(start.elapsed_time(end)) / iterations

    def loss(self) -> float:
        return float(self.runner.message_hub.get_scalar("train/loss").current())


def config(root: Path, network: tuple[str, int, Any], name: str, device: str) -> Config:
    model, size_px, head = network
    made = study(root, model, size_px, epochs=100_000)
    content = build(made, made.baseline, 0)
    content["work_dir"] = str(root / "work" / name)
    content["experiment_name"] = name
    content["log_level"] = logging.getLevelName(logging.ERROR)
    content["visualizer"]["vis_backends"] = []
    content["train_dataloader"]["num_workers"] = 0
    content["val_cfg"] = content["val_dataloader"] = content["val_evaluator"] = None
    content["test_cfg"] = content["test_dataloader"] = content["test_evaluator"] = None
    content["default_hooks"]["checkpoint"] = None
    content["train_cfg"]["val_interval"] = 10**9
    if head is not None:
        content["model"]["head"]["deconv_out_channels"] = head
    return Config(content, format_python_code=False)


def fitted(made: Config, device: str, without: str = "") -> Config:
    before = os.environ.pop(VARIABLE, None)
    if without:
        os.environ[VARIABLE] = without
    try:
        fit_step(made, device)
    finally:
        os.environ.pop(VARIABLE, None)
        if before is not None:
            os.environ[VARIABLE] = before
    return made


def rivals(root: Path, network: tuple[str, int, Any], device: str, *, compiled: bool) -> dict[str, Training]:
    found: dict[str, Training] = {}

    def add(name: str, change: Callable[[Config], Config], **options: Any) -> None:
        made = change(config(root, network, f"{network[0]}_{len(found)}", device))
        found[name] = Training(made, device, name, **options)

    add("MMPose's settings", lambda made: made)
    add("ours", lambda made: fitted(made, device))
    for part in COMPONENTS:
        add(f"ours without {part.value}", lambda made, part=part: fitted(made, device, part.value))  # type: ignore[misc]
    if compiled:
        add("ours, backbone compiled", lambda made: fitted(made, device), compiled=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--iterations", type=int, default=20, help="of a rival in a round")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="cpu or cuda:0")
    parser.add_argument("--compile", action="store_true")
    chosen = parser.parse_args()
    trial.compute_on(chosen.device, chosen.threads)
    shown = torch.cuda.get_device_name() if chosen.device.startswith("cuda") else f"CPU, {chosen.threads} thread(s)"
    print(f"on {shown}, torch {torch.__version__}, batches of {BATCH}")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        draw(root, train=4 * BATCH, val=1, seed=0, size_px=96)
        for title, network in NETWORKS.items():
            training = rivals(root, network, chosen.device, compiled=chosen.compile)
            timed = {name: lambda run=run: run.milliseconds(chosen.iterations) for name, run in training.items()}  # type: ignore[misc]
            figures = interleaved(timed, chosen.rounds)
            stock = figures["MMPose's settings"].median
            print(f"\n| {title} | ms an iteration | MMPose / this | last loss |\n|---|---|---|---|")
            for name, measured in figures.items():
                ratio, loss = stock / measured.median, training[name].loss()
                print(f"| {name} | {measured.shown()} | {ratio:.2f} | {loss:.7f} |", flush=True)


if __name__ == "__main__":
    main()
