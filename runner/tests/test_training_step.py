"""A training step as an attempt computes it: the same losses and weights as stock MMPose's, to rounding, and the same
endings; between two looks at the losses nothing is read from the device."""

from __future__ import annotations

import copy
import math
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Iterator
from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmcv.cnn.bricks.conv_ws import ConvWS2d
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from mmpose.evaluation.functional import pose_pck_accuracy
from same_tensors import assert_equal_tensors
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from posestudy.durable import sha256_file
from posestudy.home import AttemptPaths
from posestudy.journal import JournalWriter
from posestudy_runner.checkpoints import TrialFiles
from posestudy_runner.components import VARIABLE, Component
from posestudy_runner.control import Control
from posestudy_runner.epoch_loop import ResumableEpochLoop
from posestudy_runner.hooks import EpochReporter
from posestudy_runner.order import TARGET, TrialOrder
from posestudy_runner.outcomes import Preempted, classify
from posestudy_runner.plugin.heatmap_accuracy import heatmap_pck
from posestudy_runner.plugin.memory_format import ChannelsLastHook
from posestudy_runner.plugin.readings import Readings
from posestudy_runner.plugin.resumed_update import UpdateAsAskedHook
from posestudy_runner.plugin.seeding import seed_generators
from posestudy_runner.plugin.step import fit_step
from posestudy_studies.drawn_cats import draw
from posestudy_studies.mmpose_config import build
from posestudy_studies.spec import Study

GPU = "cuda:0"
"""What a config may be fitted to; here it trains on a CPU all the same."""
ITERATIONS = 6
"""Of an epoch."""
STEP = (Component.CHANNELS_LAST, Component.FUSED_OPTIMIZER, Component.QUIET_STEP)


@pytest.fixture(scope="module")
def cats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cats")
    draw(root, train=10, val=2, seed=0, size_px=48)
    return root


@pytest.fixture(autouse=True)
def on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(VARIABLE, raising=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def config(cats: Path, work: Path, optimizer: dict[str, Any] | None = None, **training: Any) -> Config:
    """Two epochs of `ITERATIONS` with two cats each; nothing is validated."""
    split = {"annotations": "annotations/train.json", "images": "images"}
    study = Study.model_validate(
        {
            "study": "step",
            "dataset": {"keypoints": "cats", "root": str(cats), "train": split, "val": split},
            "baseline": {
                "model": "resnet_tiny",
                "input_size": [32, 32],
                "sigma": 1.0,
                "epochs": 2,
                "batch_size": 2,
                "optimizer": optimizer or {"type": "Adam", "lr": 1e-3},
                "augmentation": {"flip": {}},
                **training,
            },
            "data_path": "stock",
            "stages": [{"name": "one", "design": "variants", "variants": {"other": {"sigma": 2.0}}}],
        }
    )
    content = build(study, study.baseline, 0)
    for part in ("val", "test"):
        for what in ("cfg", "dataloader", "evaluator"):
            content[f"{part}_{what}"] = None
    content["train_cfg"] = {"type": ResumableEpochLoop.__name__, "max_epochs": 2}
    content["default_hooks"]["checkpoint"] = None
    content["train_dataloader"]["num_workers"] = 0
    content["visualizer"]["vis_backends"] = []
    content.update(work_dir=str(work), log_level="ERROR", experiment_name=str(work).replace("/", "_"))
    return Config(content, format_python_code=False)


def fitted(made: Config, device: str, monkeypatch: pytest.MonkeyPatch, *parts: Component) -> Config:
    """`made` for `device`, with no other parts of a training step than these."""
    monkeypatch.setenv(VARIABLE, ",".join(part.value for part in STEP if part not in parts))
    fit_step(made, device)
    monkeypatch.delenv(VARIABLE)
    return made


class Watched(Runner):
    """A run that keeps the outputs of its iterations."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.seen: list[dict[str, torch.Tensor]] = []
        super().__init__(*arguments, **options)

    def call_hook(self, fn_name: str, **options: Any) -> None:
        if fn_name == "after_train_iter":
            # The hooks may add to it.
            self.seen.append(options["outputs"])
        super().call_hook(fn_name, **options)

    def told(self, name: str) -> list[float]:
        return [float(row[name]) for row in self.seen]


def trained(made: Config) -> Watched:
    runner = Watched.from_cfg(made)
    runner.train()
    return runner


def differences(left: torch.nn.Module, right: torch.nn.Module) -> list[float]:
    pairs = zip(left.state_dict().values(), right.state_dict().values(), strict=True)
    return [float((a.double() - b.double()).abs().max()) for a, b in pairs]


@pytest.mark.parametrize(
    "optimizer",
    [
        {"type": "Adam", "lr": 1e-3},
        {"type": "AdamW", "lr": 1e-3, "weight_decay": 0.05},
        {"type": "SGD", "lr": 1e-2, "momentum": 0.9, "nesterov": True},
    ],
)
def test_a_fused_optimizer_makes_the_same_updates(optimizer: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    made = Config({"optim_wrapper": {"type": "OptimWrapper", "optimizer": dict(optimizer)}})
    fitted(made, "cpu", monkeypatch, Component.FUSED_OPTIMIZER)
    options = made.optim_wrapper.optimizer.to_dict()
    kind = getattr(torch.optim, options.pop("type"))
    assert options == {**{key: value for key, value in optimizer.items() if key != "type"}, "fused": True}
    networks = []
    for chosen in (options, {**options, "fused": None}):
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 2))
        start = copy.deepcopy(network)
        wrapper = OptimWrapper(kind(network.parameters(), **chosen))
        for _ in range(3):
            wrapper.update_params(network(torch.ones(2, 3, 8, 8)).square().mean())
        networks.append(network)
        assert min(differences(start, network)) > 1e-4
    assert max(differences(*networks)) < 1e-6


def test_an_optimizer_that_torch_has_not_fused_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Config({"optim_wrapper": {"type": "OptimWrapper", "optimizer": {"type": "RMSprop", "lr": 0.1}}})
    assert "fused" not in fitted(made, "cpu", monkeypatch, Component.FUSED_OPTIMIZER).optim_wrapper.optimizer


@pytest.mark.parametrize("device", ["cpu", GPU])
def test_what_is_left_out_is_stock(cats: Path, tmp_path: Path, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stock = config(cats, tmp_path)
    # What it resumes from may have been saved by an attempt with all parts.
    hooks = [*stock.custom_hooks, {"type": UpdateAsAskedHook.__name__}]
    without = fitted(copy.deepcopy(stock), device, monkeypatch).to_dict()
    assert without == {**stock.to_dict(), "custom_hooks": hooks}
    for part in STEP[1:]:
        assert fitted(copy.deepcopy(stock), device, monkeypatch, part).to_dict() != without


def test_losses_and_accuracies_are_those_of_stock_training(
    cats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = trained(config(cats, tmp_path / "stock"))
    ours = trained(fitted(config(cats, tmp_path / "ours"), "cpu", monkeypatch, *STEP))
    assert len(stock.seen) == len(ours.seen) == 2 * ITERATIONS
    for name in ("loss", "loss_kpt", "acc_pose"):
        assert ours.told(name) == pytest.approx(stock.told(name), rel=1e-4)
    assert len(set(stock.told("loss"))) == 2 * ITERATIONS
    assert max(stock.told("acc_pose")) > 0
    weights = [weight for weight in ours.model.parameters() if weight.dim() == 4 and weight.shape[2] > 1]
    assert weights
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)
    for name in ("train/loss", "train/acc_pose"):
        mine, theirs = (run.message_hub.get_scalar(name).data[0] for run in (ours, stock))
        assert mine == pytest.approx(theirs, rel=1e-4)


def test_a_checkpoint_goes_on_the_same_with_us_and_without(
    cats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fused optimizer walks by address: a momentum in another order than its weight would go to another weight."""
    whole = trained(fitted(config(cats, tmp_path / "whole"), "cpu", monkeypatch, *STEP))
    first = fitted(config(cats, tmp_path / "first"), "cpu", monkeypatch, *STEP)
    first.train_cfg.max_epochs = 1
    trained(first).save_checkpoint(str(tmp_path), "one.pth", meta={"epoch": 1, "iter": ITERATIONS})
    saved = torch.load(tmp_path / "one.pth", weights_only=False)
    kept = [*saved["state_dict"].values(), *(s["exp_avg"] for s in saved["optimizer"]["state"].values())]
    assert all(tensor.is_contiguous() for tensor in kept)

    def resumed(name: str, *parts: Component) -> Watched:
        made = fitted(config(cats, tmp_path / name), "cpu", monkeypatch, *parts)
        made.load_from, made.resume = str(tmp_path / "one.pth"), True
        return trained(made)

    assert_equal_tensors(resumed("ours", *STEP).model.state_dict(), whole.model.state_dict())
    unfused = resumed("unfused", *(part for part in STEP if part is not Component.FUSED_OPTIMIZER))
    assert [group["fused"] for group in unfused.optim_wrapper.optimizer.param_groups] == [None]
    assert max(differences(unfused.model, whole.model)) < 1e-5
    # Stock training takes `fused` over from the checkpoint.
    assert max(differences(resumed("stock").model, whole.model)) < 1e-5


def heatmaps(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("height", [16, 24])
@pytest.mark.parametrize("labelled", [0.0, 0.3, 1.0])
def test_the_accuracy_is_that_of_mmpose(height: int, labelled: float) -> None:
    target = heatmaps(6, 5, height, 16, seed=0)
    # Some are right, some nearly, some far off; some have nothing above 0; one keypoint is in no image.
    output = target.clone()
    output[1:3] = output[1:3].roll(1, dims=3)
    output[3:5] = output[3:5].roll((5, 3), dims=(2, 3))
    output[0, 2] = -1.0
    weights = (heatmaps(6, 5, seed=1).sigmoid() < labelled).float()
    weights[:, 4] = 0.0
    _, expected, _ = pose_pck_accuracy(output.numpy(), target.numpy(), weights.numpy() > 0)
    found = heatmap_pck(output, target, weights)
    assert found.dtype == torch.float64
    assert float(found) == pytest.approx(float(expected), abs=1e-12)
    laid_out = output.contiguous(memory_format=torch.channels_last)
    assert torch.equal(heatmap_pck(laid_out, target, weights), found)
    assert (labelled == 0) == (float(found) == 0)


class HostReads(TorchDispatchMode):
    """Counts the values that the host asks of a device, which it has to wait for."""

    ASKING = ("aten::_local_scalar_dense", "aten::is_nonzero", "aten::equal", "aten::nonzero")

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.name().split(".")[0] in self.ASKING:
            self.found.append(func.name())
        return func(*args, **(kwargs or {}))


class Stopping(Control):
    """Hears a stop at the `at`-th time it looks; never where that is 0."""

    def __init__(self, journal: Path, at: int = 0) -> None:
        self.ends = Pipe()
        super().__init__(self.ends[0], JournalWriter(journal))
        self._left = at

    def check(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.stop("the test stops it")
        super().check()


def reported(made: Config, folder: Path, stop_at: int = 0) -> tuple[Watched, EpochReporter]:
    """A run with the hook that tells the worker of every epoch."""
    order = TrialOrder(
        target=TARGET, study_name="step", study={}, training={}, stage="one", cell="one", uid="uid", number=1, fence=1,
        seed=0, metric="coco/AP", direction="more", epochs=2, folder=str(folder), device="cpu", threads=1, resume=(),
    )  # fmt: skip
    folder.mkdir()
    control = Stopping(order.paths.journal, stop_at)
    reporter = EpochReporter(order, control, TrialFiles(order.paths, control))
    runner = Watched.from_cfg(made)
    runner.register_hook(reporter, "LOWEST")
    return runner, reporter


def reads_of_an_iteration(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the host reads in the second iteration of an epoch, of a batch that is on the device."""
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    runner.optim_wrapper.initialize_count_status(runner.model, 0, 2 * ITERATIONS)
    for name in ("before_run", "before_train", "before_train_epoch"):
        runner.call_hook(name)
    runner.model.train()
    ready = runner.model.data_preprocessor(next(iter(runner.train_dataloader)), True)
    runner.model.data_preprocessor.forward = lambda data, training: data
    runner.train_loop.run_iter(0, ready)
    counted = HostReads()
    with monkeypatch.context() as patched:
        for name in ("numpy", "tolist"):
            stock = getattr(torch.Tensor, name)

            def read(self: torch.Tensor, *args: Any, name: str = name, stock: Any = stock) -> Any:
                counted.found.append(name)
                return stock(self, *args)

            patched.setattr(torch.Tensor, name, read)
        with counted:
            runner.train_loop.run_iter(1, ready)
    return counted.found


def test_between_two_looks_nothing_is_read_from_the_device(
    cats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(name: str, *parts: Component) -> Config:
        return fitted(config(cats, tmp_path / name), GPU, monkeypatch, *parts)

    quiet, _ = reported(made("quiet", *STEP), tmp_path / "1")
    assert reads_of_an_iteration(quiet, monkeypatch) == []
    # Without it MMEngine reads each output, the reporter the loss, and MMPose's head all heatmaps.
    stock, _ = reported(made("stock", Component.FUSED_OPTIMIZER), tmp_path / "2")
    found = reads_of_an_iteration(stock, monkeypatch)
    assert found.count("numpy") >= 3
    assert len(found) >= 8


def test_what_is_recorded_does_not_depend_on_when_it_is_read(
    cats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = []
    for device in ("cpu", GPU):
        made = fitted(config(cats, tmp_path / device), device, monkeypatch, Component.QUIET_STEP)
        made.custom_hooks = [hook for hook in made.custom_hooks if hook["type"] != "ChannelsLastHook"]
        # One look is after the first epoch; this one after the third iteration of the second, where no loss is read.
        runner, reporter = reported(made, tmp_path / f"{device}_attempt", stop_at=ITERATIONS + 1 + 3)
        with pytest.raises(Preempted):
            runner.train()
        assert reporter.preempted is not None
        saved = torch.load(reporter.preempted.path, weights_only=False)
        told = saved["meta"]["posestudy_position"]["told"]["sums"]
        assert told["steps"] == 3
        assert told["sums"]["loss"] == sum(runner.told("loss")[-3:])
        history = saved["message_hub"]["log_scalars"]["train/loss"].data[0].tolist()
        assert history == runner.told("loss")
        recorded.append((told["sums"], history))
    assert recorded[0] == recorded[1]


@pytest.mark.parametrize("device", ["cpu", GPU])
@pytest.mark.parametrize("stop_at", [0, 4])
def test_a_trial_that_diverges_says_where_and_leaves_nothing_of_it(
    cats: Path, tmp_path: Path, device: str, stop_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    optimizer = {"type": "SGD", "lr": 1e30}
    losses = trained(config(cats, tmp_path / "stock", optimizer)).told("loss")
    first = next(i for i, loss in enumerate(losses) if not math.isfinite(loss))
    assert 0 < first < 3
    made = fitted(config(cats, tmp_path / "ours", optimizer), device, monkeypatch, *STEP)
    # Also where the worker asks it to give way before the loss was read.
    runner, reporter = reported(made, tmp_path / "attempt", stop_at=stop_at)
    with pytest.raises(FloatingPointError) as raised:
        runner.train()
    ending = classify(raised.value)
    assert ending.outcome == "diverged"
    assert str(ending.message).endswith(f"in epoch 1, iteration {first + 1}")
    assert (len(runner.seen) == first + 1) == (device == "cpu")
    assert reporter.preempted is None
    assert not list((tmp_path / "attempt").glob("*.pth"))


def test_readings_are_exact_whatever_they_come_as() -> None:
    readings = Readings()
    numbers = [0.1, 1e-40, float("inf"), 3.0]
    readings.add({"loss": torch.tensor(numbers[0]), "acc_pose": torch.tensor(0.3, dtype=torch.float64)})
    readings.add({"loss": torch.tensor([numbers[2]]), "epoch": 3, "image": torch.zeros(2), "name": "x"})
    assert readings.waiting
    found = readings.take()
    assert found == [{"loss": float(np.float32(0.1)), "acc_pose": 0.3}, {"loss": math.inf, "epoch": 3.0}]
    assert not readings.waiting
    assert readings.take() == []


def test_seeding_is_that_of_torch() -> None:
    words = np.random.SeedSequence((3, 1, 0, 7)).generate_state(4, np.uint32)
    torch.manual_seed(int(words[2]) << 32 | int(words[3]))
    expected = torch.rand(5)
    seed_generators(3, 1, 0, 7)
    assert torch.equal(torch.rand(5), expected)


def test_the_best_weights_lie_as_pytorch_lays_them(tmp_path: Path) -> None:
    ends = Pipe()
    paths = AttemptPaths(tmp_path)
    files = TrialFiles(paths, Control(ends[0], JournalWriter(paths.journal)))
    weight = heatmaps(4, 3, 5, 5, seed=0).contiguous(memory_format=torch.channels_last)
    paths.predictions.write_text("[1]")
    sha = files.save_best(OrderedDict(weight=weight), 1)
    assert sha == sha256_file(paths.best_weights)
    saved = torch.load(paths.best_weights)["weight"]
    assert saved.is_contiguous()
    assert torch.equal(saved, weight)
    # What the next validation predicts is no prediction of the best weights.
    paths.validating.write_text("[2]")
    files.keep_predictions()
    assert (paths.best_predictions.read_text(), paths.predictions.read_text()) == ("[1]", "[2]")


def test_layers_that_look_at_their_weights_themselves_stay_as_they_are() -> None:
    network = nn.Sequential(ConvWS2d(3, 4, 3), nn.Conv2d(4, 5, 3), nn.ConvTranspose2d(5, 6, 3))
    network.register_parameter("table", nn.Parameter(torch.zeros(2, 2, 2, 2, 2)))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, fused=True)
    wrapper = SimpleNamespace(optimizer=optimizer)
    ChannelsLastHook().before_train(SimpleNamespace(model=network, hooks=[], optim_wrapper=wrapper))
    turned = [layer.weight.is_contiguous(memory_format=torch.channels_last) for layer in network]
    assert turned == [False, True, True]
    network(torch.randn(2, 3, 9, 9)).sum().backward()
    optimizer.step()


def test_a_network_with_code_of_the_users_keeps_its_layout(cats: Path, tmp_path: Path) -> None:
    made = config(cats, tmp_path)
    made.custom_imports["imports"] = [*made.custom_imports["imports"], "my.heads"]
    made.val_cfg = {"type": "BatchedValLoop"}
    fit_step(made, "cpu")
    assert ChannelsLastHook.__name__ not in [hook["type"] for hook in made.custom_hooks]
    assert made.val_cfg["channels_last"] is False


@pytest.mark.parametrize(("device", "turned"), [("cpu", False), ("cuda:0", True)])
def test_where_a_process_may_be_refused_memory_kernels_that_do_not_ask_are_not_used(
    cats: Path, tmp_path: Path, device: str, turned: bool
) -> None:
    """A backward pass in channels_last dies of signal 11 there, with torch 2.13 on a CPU."""
    made = config(cats, tmp_path)
    made.optim_wrapper.type = "DeviceAmpOptimWrapper"
    fit_step(made, device, memory_is_limited=True)
    assert (ChannelsLastHook.__name__ in [hook["type"] for hook in made.custom_hooks]) is turned


_UNEVEN = """
import torch
from types import SimpleNamespace
from posestudy_runner.plugin.memory_format import ChannelsLastHook

torch.set_num_threads(2)
network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Conv2d(8, 16, 1, stride=2))
optimizer = torch.optim.Adam(network.parameters())
wrapper = SimpleNamespace(optimizer=optimizer)
ChannelsLastHook().before_train(SimpleNamespace(model=network, hooks=[], optim_wrapper=wrapper))
for _ in range(60):
    network(torch.rand(5, 3, 18, 18)).square().mean().backward()
    optimizer.step()
print("alive")
"""


def test_a_last_batch_that_threads_cannot_share_evenly_leaves_the_process_alive() -> None:
    done = subprocess.run([sys.executable, "-c", _UNEVEN], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["alive"]), done.stderr
