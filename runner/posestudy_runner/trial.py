"""One attempt at one trial, inside its process: a stock MMEngine run of the cell's config with our hook added."""

from __future__ import annotations

# The plugin first: it holds what MMPose needs to be importable here.
from posestudy_runner import plugin  # isort: skip

import multiprocessing
import sys
import traceback
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import mmengine
import mmengine.device.utils as mmengine_device
import mmpose
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings

import posestudy
from posestudy.durable import commit_file, sha256_file, write_text
from posestudy.home import AttemptPaths
from posestudy.ledger.records import Json
from posestudy.vocabulary import Outcome, Purpose
from posestudy_runner import averaging, evaluating, rank_group, speed
from posestudy_runner.attention_model import save_attention
from posestudy_runner.checkpoints import TrialFiles, usable
from posestudy_runner.components import Component, in_use, left_out
from posestudy_runner.control import Control
from posestudy_runner.distances import save_distances
from posestudy_runner.epoch_loop import ResumableEpochLoop
from posestudy_runner.hooks import EpochReporter, peak_memory_mb
from posestudy_runner.light_runner import LazyPoseVisualizer, LightRunner, WrittenConfig
from posestudy_runner.matches import save_matches
from posestudy_runner.network_cost import cost_class
from posestudy_runner.order import TrialOrder
from posestudy_runner.outcomes import Ending, NotConverged, Paused, Preempted, Pruned, classify
from posestudy_runner.pictures import save_pictures
from posestudy_runner.plugin.data_path.fast_dataset import makes_batches
from posestudy_runner.profiling import profile
from posestudy_runner.ranks import Followers, Following
from posestudy_runner.split_use import split_use
from posestudy_runner.timing import Timing
from posestudy_studies.mmpose_config import build, source_text
from posestudy_studies.spec import FAST, STOCK, Study, Training

__all__ = ["main", "plugin"]

PROFILE_S = 2.0
"""Seconds that the profile at the end of a trial may take; a network of seconds a pass is timed once."""


def main(order: TrialOrder, control: Control) -> Ending:
    """Train what `order` says, from its newest usable checkpoint.

    Raises:
        Preempted, TimeLimit, FloatingPointError, ...: what `outcomes.classify` knows.
    """
    compute_on(order.device, order.threads, order.memory_limit_mb)
    config = control.written(lambda: prepare(order))
    weights = evaluating.given(order)
    control.say({"type": "started", "provenance": provenance(order, config, evaluated=bool(weights))})
    ranks = control.followers
    if ranks is not None and weights:
        # One process evaluates.
        ranks.dismiss()
        ranks = None
    if ranks is not None:
        rank_group.lead(config, order, ranks)
        runner = rank_group.made(_runner_type().from_cfg, config)
    else:
        # It writes a log and a folder of its own.
        runner = control.written(lambda: _runner_type().from_cfg(config))
    files = TrialFiles(order.paths, control)
    reporter = EpochReporter(order, control, files, Study.model_validate(order.study).checkpoint.min_interval_s)
    runner.register_hook(reporter, "LOWEST")
    if ranks is not None:
        runner.register_hook(rank_group.GoOnHook(ranks), "LOWEST")
    try:
        if weights:
            evaluating.evaluate(runner, reporter, weights)
            ending = Ending(Outcome.COMPLETED)
        else:
            runner.train()
            ending = _ended_before(order) or Ending(Outcome.COMPLETED)
    except (Pruned, NotConverged) as ended_early:
        ending = classify(ended_early)
    except Paused as paused:
        peak = peak_memory_mb(order.device)
        _leave(runner, ranks)
        # It may never go on, and is a row of the tables then.
        _keep_matches(runner, order.paths, control, reporter.evaluated or order.last_epoch)
        _profile(runner, order, control)
        return classify(paused, peak_memory_mb=peak)
    except Preempted as preempted:
        saved, since = reporter.preempted, reporter.unreported_s
        return replace(
            classify(preempted, peak_memory_mb=peak_memory_mb(order.device)),
            checkpoint=None if saved is None else asdict(saved),
            duration_s=0.0 if saved is None else since,
        )
    except Exception as error:
        # Classified here already where only the device knows its own peak.
        peak = peak_memory_mb(order.device)
        ended = classify(error, peak_memory_mb=peak, memory_limit_mb=order.memory_limit_mb)
        if ended.outcome is not Outcome.FAILED:
            return ended
        raise
    # Of training; what follows it starts the device's count anew.
    peak = peak_memory_mb(order.device)
    _leave(runner, ranks)
    last = order.last_epoch if reporter.evaluated is None else reporter.evaluated
    _keep_matches(runner, order.paths, control, last)
    _illustrate(runner, order.paths, in_memory=reporter.best is not None and reporter.best.epoch == last)
    message = _submit(runner, order.paths, control, ending.message)
    _show_attention(runner, order.paths)
    _profile(runner, order, control)
    return Ending(ending.outcome, message, peak)


def follow(order: TrialOrder, following: Following) -> None:
    """In another rank than the first: train as it does. Nothing is written here."""
    compute_on(order.device, order.threads, order.memory_limit_mb)
    told = following.told()
    config = adapted(_read_config(order), order, None if told["start"] is None else Path(told["start"]))
    rank_group.fit(config, order)
    rank_group.join(order, following.rank, following.port)
    runner = rank_group.made(_runner_type().from_cfg, config)
    runner.register_hook(rank_group.FollowingHook(order, following), "LOWEST")
    runner.train()


def _runner_type() -> type[Runner]:
    return LightRunner if in_use(Component.LIGHT_START) else Runner


def _leave(runner: Runner, ranks: Followers | None) -> None:
    if ranks is not None:
        rank_group.leave(runner, ranks)


def _ended_before(order: TrialOrder) -> Ending | None:
    """The ending that an earlier attempt had reached and did not live to say; None where there is none."""
    if order.missed is not None:
        return Ending(Outcome.NOT_CONVERGED, order.missed)
    if order.until is not None and order.until < order.epochs:
        return Ending(Outcome.PRUNED, f"pruned after epoch {order.until}")
    return None


def compute_on(device: str, threads: int, memory_limit_mb: float | None = None) -> None:
    """Make this process compute on `device` with `threads` CPU threads, and its data loaders fork.

    Of a GPU's memory it takes `memory_limit_mb` MiB at most.
    """
    # In a forkserver's child the default is forkserver again: 4-10 s a loader instead of 0.03 s.
    multiprocessing.set_start_method("fork", force=True)
    torch.set_num_threads(threads)
    if device.startswith("cuda"):
        torch.cuda.set_device(torch.device(device))
        if memory_limit_mb is not None:
            total_mb = torch.cuda.get_device_properties(torch.device(device)).total_memory / 2**20
            torch.cuda.set_per_process_memory_fraction(min(1.0, memory_limit_mb / total_mb))
    elif device != mmengine_device.DEVICE:
        # MMEngine fixes its device at import and would take the first GPU.
        mmengine_device.DEVICE = device


def prepare(order: TrialOrder) -> Config:
    """Write `config.py`, and change of what stock MMPose would read there what belongs to this attempt only."""
    study, training = Study.model_validate(order.study), Training.model_validate(order.training)
    config = written_config(study, training, order.seed, order.paths.config)
    start = usable(order.resume)
    return adapted(config, order, None if start is None else Path(start.path))


def adapted(config: Config, order: TrialOrder, start: Path | None) -> Config:
    """`config`, as the trial's `config.py` has it, changed for this attempt, which goes on from checkpoint `start`."""
    paths = order.paths
    study, training = Study.model_validate(order.study), Training.model_validate(order.training)
    config.work_dir = str(paths.folder / "mmengine")
    # Ours is written at the same time, whole and with the right epoch.
    config.setdefault("default_hooks", {})["checkpoint"] = None
    if config.get("visualizer"):
        config.visualizer["vis_backends"] = []
        if in_use(Component.LIGHT_START) and config.visualizer.type == "PoseLocalVisualizer":
            config.visualizer.type = LazyPoseVisualizer.__name__
    _keep_predictions(config, paths)
    if training.evaluated(study.evaluation).submission:
        config.test_evaluator["outfile_prefix"] = str(paths.testing).removesuffix(".keypoints.json")
    else:
        # Nothing is predicted but what is asked for.
        config.test_dataloader = config.test_evaluator = config.test_cfg = None
    config.train_cfg = {**config.train_cfg, "type": ResumableEpochLoop.__name__}
    del config.train_cfg["by_epoch"]
    if not training.epochs:
        # Loaded by us, who refuse what is not the whole network.
        config.load_from = None
    speed.fit(config, order)
    if start is not None:
        config.load_from, config.resume = str(start), True
    return config


def written_config(study: Study, training: Training, seed: int, path: Path) -> Config:
    """Write the trial's config to `path`; the config that `Config.fromfile(path)` gives."""
    content = build(study, training, seed)
    write_text(path, source_text(study, content, seed))
    return _config_of(content, path)


def _read_config(order: TrialOrder) -> Config:
    """The config that `written_config` wrote in another rank of the trial."""
    study, training = Study.model_validate(order.study), Training.model_validate(order.training)
    return _config_of(build(study, training, order.seed), order.paths.config)


def _config_of(content: Json, path: Path) -> Config:
    # MMEngine formats the config anew for every checkpoint, which took longer than the epoch of a small trial;
    # `fromfile` does not hand the switch on.
    if not in_use(Component.LIGHT_START):
        return Config(Config.fromfile(path).to_dict(), filename=str(path), format_python_code=False)
    # What `fromfile` does beside reading; it parses the text several times for that.
    import_modules_from_strings(**content["custom_imports"])
    return WrittenConfig(content, filename=str(path), format_python_code=False)


def _keep_predictions(config: Config, paths: AttemptPaths) -> None:
    """Have each validation leave its predictions in the attempt's folder, under a name for what has not ended."""
    given = config.get("val_evaluator") or []
    evaluators = given if isinstance(given, list) else [given]
    coco = [evaluator for evaluator in evaluators if str(evaluator["type"]).endswith("CocoMetric")]
    for evaluator in coco:
        evaluator["outfile_prefix"] = str(paths.validating).removesuffix(".keypoints.json")
    if evaluators and not coco:
        config.val_evaluator = [*evaluators, {"type": "PredictionFile", "file": str(paths.validating)}]


def provenance(order: TrialOrder, config: Config, *, evaluated: bool = False) -> Json:
    """What rows of one table may differ in, as this process sees it."""
    others = {key: order.evaluate[key] for key in ("study", "number", "uid")} if evaluated and order.evaluate else None
    on_gpu = order.device.startswith("cuda")
    wrapper: dict[str, Any] = dict(config.optim_wrapper)
    amp = None
    if "Amp" in str(wrapper.get("type")):
        amp = (wrapper.get("dtype") or "float16") if on_gpu else "bfloat16"
    return {
        "torch": torch.__version__,
        "mmpose": mmpose.__version__,
        "mmengine": mmengine.__version__,
        "posestudy": posestudy.__version__,
        "python": ".".join(str(part) for part in sys.version_info[:3]),
        "device": order.device,
        "threads": order.threads,
        "amp_dtype": amp,
        "data_path": FAST if makes_batches(config.train_dataloader.dataset) else STOCK,
        **({"gpus": len(order.devices)} if order.devices and not evaluated else {}),
        **({"without": ", ".join(sorted(left_out()))} if left_out() else {}),
        **({"evaluated": others} if others else {}),
        **({"device_name": torch.cuda.get_device_name(), "cuda": torch.version.cuda} if on_gpu else {}),
    }


def _keep_matches(runner: Runner, paths: AttemptPaths, control: Control, epoch: int) -> None:
    """What the last validation left of each image; without it the report has no intervals over images, no more."""

    def save() -> None:
        if not save_matches(runner, paths.predictions, paths.matches, epoch):
            save_distances(runner, paths.predictions, paths.matches, epoch)

    try:
        control.written(save)
    except Preempted:
        raise
    except Exception:  # noqa: BLE001 - see above; the log says why there are none
        traceback.print_exc()


def _illustrate(runner: Runner, paths: AttemptPaths, *, in_memory: bool) -> None:
    """Pictures by the best weights; worth much less than the training before them, so nothing here fails it.

    Args:
        runner: its model has the best weights afterwards.
        paths: where they were saved.
        in_memory: the last epoch of this process was the best.
    """
    try:
        if paths.best_weights.exists() and not (in_memory and not averaging.has_average(runner)):
            averaging.put(runner, torch.load(paths.best_weights, map_location="cpu", weights_only=True))
        save_pictures(runner, paths.drawings)
    except Exception:  # noqa: BLE001 - see above; the log says why there are none
        traceback.print_exc()


def _submit(runner: Runner, paths: AttemptPaths, control: Control, message: str | None) -> str | None:
    """Predict the test split by the weights `_illustrate` left in the model, where `prepare` has left one.

    That it was predicted is told to the worker, who writes it down. Returns `message`, or why there is no such file:
    what was trained and validated stays what it is.
    """
    try:
        if runner.test_loop is None:
            return message
        runner.test()
        control.written(partial(commit_file, paths.testing, paths.submission))
        use = split_use(Purpose.SUBMISSION, runner.test_dataloader.dataset, sha256_file(paths.submission))
    except Preempted:
        raise
    except Exception as error:  # noqa: BLE001 - see above
        traceback.print_exc()
        return f"the test split was not predicted: {error}"
    control.record({"type": "tested", "use": asdict(use)})
    return message


def _show_attention(runner: Runner, paths: AttemptPaths) -> None:
    """Where a network with attention looks, by the weights `_illustrate` left in the model; as little a failure."""
    try:
        save_attention(runner, paths.attention)
    except Exception:  # noqa: BLE001 - see above; the log says why there are none
        traceback.print_exc()


def _profile(runner: Runner, order: TrialOrder, control: Control) -> None:
    """What the network costs to run on this device, as a message; a trial without it is no less a trial."""
    try:
        size = Training.model_validate(order.training).input_size
        place: Json = {"input": list(size), "device": order.device, "threads": order.threads}
        network = cost_class(runner.model, runner.cfg.model, place)
        # Measured in this pool before: the same work on the same device.
        measured = order.profiles.get(network) if in_use(Component.LIGHT_START) else None
        if measured is None:
            # A latency is that of the network as anybody loads it, however it was trained.
            runner.model.to(memory_format=torch.contiguous_format)
            timing = Timing(budget_s=PROFILE_S, least=1)
            measured = profile(runner.model, size, torch.device(order.device), timing, fresh=False)
        control.say({"type": "profiled", "network": network, "profile": measured})
    except Exception:  # noqa: BLE001 - see above; the log says why there is none
        traceback.print_exc()
