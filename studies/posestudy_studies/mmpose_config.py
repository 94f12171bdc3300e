"""From (study, training configuration, seed) to a plain MMPose 1.x config; pure: equal cells give equal configs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any

from posestudy.vocabulary import METRICS, Direction
from posestudy_studies import network_config, scoring
from posestudy_studies.augmentation import Augmentation
from posestudy_studies.evaluation import GROUND_TRUTH
from posestudy_studies.layouts import Layout, layout
from posestudy_studies.python_source import assignments
from posestudy_studies.spec import FAST, Dataset, Split, Study
from posestudy_studies.training import Training

Config = dict[str, Any]

PLUGIN = "posestudy_runner.plugin"
FAST_PLUGIN = "posestudy_runner.plugin.fast"
LOADER_WORKERS = 2
"""Data-loading processes of a trial; results do not depend on it."""
VALIDATION_BATCH = 32
_COLLATE, _VALIDATION = {"type": "collate_batch"}, {"type": "BatchedValLoop"}
_STOCK = {"FastKeypointDataset": "KeypointDataset", "BatchedPosePreprocessor": "PoseDataPreprocessor"}


def build(study: Study, training: Training, seed: int) -> Config:
    """The config that trains one replicate of one cell under stock MMPose once `posestudy_runner.plugin` is imported.

    Made of dicts, lists, tuples, strings, numbers, booleans and None; paths are absolute but for `work_dir`, which
    whoever runs it sets. Reads no file but a model config the study names.

    Args:
        study: gives data set, metric and evaluation.
        training: the cell's configuration, which need not be the study's baseline.
        seed: the replicate's seed, not negative.

    Raises:
        PoseStudyError: the input size does not fit the network, or the model config file does not.
    """
    keypoints = layout(study.dataset.keypoints)
    metainfo = _metainfo(keypoints.metainfo)
    network = network_config.network(training.evaluated(study.evaluation), training, len(metainfo["keypoint_info"]))
    fast = study.data_path == FAST and _is_stock(network.model)
    if fast:
        network.model["data_preprocessor"]["type"] = "BatchedPosePreprocessor"
    config: Config = _plain(
        {
            "default_scope": "mmpose",
            "custom_imports": {
                "imports": [PLUGIN, *([FAST_PLUGIN] if fast else []), *network.imports],
                "allow_failed_imports": False,
            },
            "work_dir": f"work_dirs/{study.study}",
            "randomness": {"seed": seed},
            "model": network.model,
            **_data(study, training, seed, network.codec, keypoints, metainfo, fast=fast),
            **_schedule(training, network.optim),
            "val_cfg": _VALIDATION if fast else {},
            **_runtime(study, training),
            "load_from": None if training.epochs else training.init,
            "custom_hooks": [
                *({"type": "SeedEpochHook", "seed": seed}, *_accumulation(training), *network.hooks),
                *([{"type": "FirstRankBuffersHook"}] if training.gpus > 1 else []),
            ],
            **_ranks(training),
        }
    )
    return config


def config_text(study: Study, training: Training, seed: int) -> str:
    """`build(...)` as a config.py: `mmengine.Config.fromfile` gives the same values back."""
    return source_text(study, build(study, training, seed), seed)


def source_text(study: Study, config: Config, seed: int) -> str:
    """`config`, as `build` gave it, as a config.py."""
    intro = (
        f"# An MMPose 1.x config of study {study.study!r}, seed {seed}. It needs posestudy installed, nothing more.\n"
    )
    return intro + assignments(config)


def on_stock_data_path(config: Config) -> Config:
    """`config` as `data_path: stock` has it: the same training by MMPose's own pipeline."""
    made: Config = _without_fast(config)
    imports = made.get("custom_imports")
    if imports:
        made["custom_imports"] = {**imports, "imports": [name for name in imports["imports"] if name != FAST_PLUGIN]}
    if config.get("val_cfg") == _VALIDATION:
        made["val_cfg"] = {}
    return made


def _without_fast(value: Any) -> Any:
    if isinstance(value, Mapping):
        kept = {key: _without_fast(item) for key, item in value.items() if (key, item) != ("collate_fn", _COLLATE)}
        return {**kept, **({"type": _STOCK[kept["type"]]} if str(kept.get("type")) in _STOCK else {})}
    if isinstance(value, (list, tuple)):
        return type(value)(_without_fast(item) for item in value)
    return value


def _is_stock(model: Config) -> bool:
    """Whether `model` prepares its batches as MMPose's own networks do."""
    named = str((model.get("data_preprocessor") or {}).get("type"))
    return named in ("PoseDataPreprocessor", "mmpose.PoseDataPreprocessor")


def _data(
    study: Study, training: Training, seed: int, codec: Config, keypoints: Layout, metainfo: Config, *, fast: bool
) -> Config:
    data, evaluation = study.dataset, training.evaluated(study.evaluation)
    load: list[Config] = [{"type": "LoadImage"}, {"type": "GetBBoxCenterScale", "padding": 1.25}]
    crop: Config = {"type": "TopdownAffine", "input_size": codec["input_size"]}
    if codec["type"] == "UDPHeatmap":
        crop["use_udp"] = True
    train_pipeline = [
        {"type": "SeedSample", "seed": seed},
        *load,
        *_augmentation(training.augmentation),
        crop,
        {"type": "GenerateTarget", "encoder": codec},
        {"type": "PackPoseInputs"},
    ]
    val_pipeline = [*load, crop, {"type": "PackPoseInputs"}]
    dataset, loader = partial(_dataset, fast=fast), partial(_loader, fast=fast)
    val = dataset(data, data.val, metainfo, val_pipeline, test_mode=True)
    if evaluation.boxes != GROUND_TRUTH:
        val["bbox_file"] = _join(data.root, evaluation.boxes)
    val_loader = loader(val)
    val_scoring = scoring.evaluators(study.metric, evaluation, keypoints, val["ann_file"])
    test_loader, test_scoring = val_loader, val_scoring
    if data.test is not None:
        test = dataset(data, data.test, metainfo, val_pipeline, test_mode=True, keep_unlabelled=True)
        if evaluation.test_boxes != GROUND_TRUTH:
            test["bbox_file"] = _join(data.root, evaluation.test_boxes)
        test_loader = loader(test)
        test_scoring = scoring.handed_in(evaluation, keypoints, f"work_dirs/{study.study}/test")
    return {
        "train_dataloader": loader(
            dataset(data, data.train, metainfo, train_pipeline), batch_size=training.batch_size, shuffle=True
        ),
        "val_dataloader": val_loader,
        "test_dataloader": test_loader,
        "val_evaluator": val_scoring,
        "test_evaluator": test_scoring,
    }


def _augmentation(augmentation: Augmentation) -> list[Config]:
    """MMPose 1.x's transforms for the study's augmentation, which is given in the terms of MMPose 0.x.

    `rotation` R is 0.x's rotation factor in degrees: a normal deviate times R, cut at 2R. 1.x draws a normal
    deviate truncated at 1, times `rotate_factor`; 2R gives it the same limit. `scale` S scales the box by 1 - S to
    1 + S every time, `prob` is that of rotating. RandomBBoxTransform's own shift stays off: `translation` is 0.x's,
    uniform, of the box as scaled, and a second RandomBBoxTransform would undo the rotation of the first. Half-body
    takes more keypoints than `min_keypoints` in 0.x, at least so many in 1.x, and comes before the scaling there.
    """
    steps: list[Config] = []
    if augmentation.flip is not None:
        steps.append({"type": "RandomFlip", "direction": "horizontal", "prob": augmentation.flip.prob})
    if (colour := augmentation.photometric) is not None:
        steps.append(
            {
                "type": "PhotometricDistortionV0",
                "brightness_delta": colour.brightness,
                "contrast_range": colour.contrast,
                "saturation_range": colour.saturation,
                "hue_delta": colour.hue,
            }
        )
    if augmentation.albumentations is not None:
        steps.append({"type": "SeededAlbumentation", "transforms": augmentation.albumentations.plain()})
    if (half := augmentation.half_body) is not None:
        steps.append(
            {
                "type": "RandomHalfBody",
                "min_total_keypoints": half.min_keypoints + 1,
                "padding": half.padding,
                "prob": half.prob,
                "upper_prioritized_prob": half.upper_prob,
            }
        )
    if (change := augmentation.scale_rotation) is not None:
        steps.append(
            {
                "type": "RandomBBoxTransform",
                **({"shift_factor": change.shift} if change.shift_prob else {}),
                "shift_prob": change.shift_prob,
                "scale_factor": (1 - change.scale, 1 + change.scale),
                "scale_prob": 1.0,
                "rotate_factor": 2 * change.rotation,
                "rotate_prob": change.prob,
            }
        )
    if (shift := augmentation.translation) is not None:
        steps.append({"type": "RandomBBoxTranslation", "factor": shift.factor, "prob": shift.prob})
    return steps


def _dataset(
    data: Dataset, split: Split, metainfo: Config, pipeline: list[Config], *, fast: bool, **options: Any
) -> Config:
    return {
        "type": "FastKeypointDataset" if fast else "KeypointDataset",
        "ann_file": _join(data.root, split.annotations),
        "data_prefix": {"img": _join(data.root, split.images)},
        "metainfo": metainfo,
        "pipeline": pipeline,
        **({"box_from": data.boxes_from} if data.boxes_from != "bbox" else {}),
        **options,
    }


def _loader(dataset: Config, *, fast: bool, batch_size: int = VALIDATION_BATCH, shuffle: bool = False) -> Config:
    sampler: Config = {"type": "DefaultSampler", "shuffle": shuffle}
    return {
        "batch_size": batch_size,
        "num_workers": LOADER_WORKERS,
        "persistent_workers": False,
        "drop_last": False,
        "sampler": sampler if shuffle else {**sampler, "round_up": False},
        "dataset": dataset,
        **({"collate_fn": _COLLATE} if fast else {}),
    }


def _schedule(training: Training, optim_options: Config) -> Config:
    wrapper: Config = {"type": "DeviceAmpOptimWrapper"} if training.amp else {"type": "OptimWrapper"}
    if isinstance(training.amp, str):
        wrapper["dtype"] = training.amp
    if training.accumulate > 1:
        wrapper["accumulative_counts"] = training.accumulate
    optimizer = {**training.optimizer.model_dump(mode="json"), "lr": training.learning_rate}
    return {
        "optim_wrapper": {**wrapper, "optimizer": optimizer, **optim_options},
        "param_scheduler": _learning_rate(training),
        "train_cfg": {"by_epoch": True, "max_epochs": training.epochs, "val_interval": training.validate_every},
        "test_cfg": {},
    }


def _learning_rate(training: Training) -> list[Config]:
    schedule, schedulers = training.schedule, list[Config]()
    over_epochs = {"begin": 0, "end": training.epochs, "by_epoch": True}
    if schedule.warmup_iters:
        schedulers.append(
            {
                "type": "LinearLR",
                "start_factor": schedule.warmup_ratio,
                "begin": 0,
                # Warm-up is told in weight updates; MMEngine counts every iteration.
                "end": schedule.warmup_iters * training.accumulate,
                "by_epoch": False,
            }
        )
    if schedule.type == "cosine":
        schedulers.append(
            {
                "type": "CosineAnnealingLR",
                "T_max": training.epochs,
                "eta_min_ratio": schedule.min_lr_ratio,
                **over_epochs,
            }
        )
    elif schedule.milestones:
        milestones = schedule.steps(training.epochs)
        schedulers.append({"type": "MultiStepLR", "milestones": milestones, "gamma": schedule.gamma, **over_epochs})
    return schedulers


def _accumulation(training: Training) -> list[Config]:
    return [{"type": "EpochwiseAccumulationHook"}] if training.accumulate > 1 else []


def _ranks(training: Training) -> Config:
    """What MMEngine's runner is told where it is launched as one process a GPU; without a launcher it has no effect."""
    if training.gpus == 1:
        return {}
    return {
        "model_wrapper_cfg": {
            "type": "MMDistributedDataParallel",
            # The network says where it is, also on a CPU, for which MMEngine's own choice is none.
            "device_ids": None,
            "broadcast_buffers": False,
            # A backbone may have layers that no loss reaches; and torch then never regroups the gradients, so that
            # a resumed training adds them up in the same order.
            "find_unused_parameters": True,
        },
        **({"sync_bn": "torch"} if training.synchronises_bn else {}),
    }


def _runtime(study: Study, training: Training) -> Config:
    metric = METRICS[study.metric]
    rule = "greater" if metric.direction is Direction.MORE else "less"
    return {
        "default_hooks": {
            "timer": {"type": "IterTimerHook"},
            "logger": {"type": "LoggerHook", "interval": 50},
            "param_scheduler": {"type": "ParamSchedulerHook"},
            "checkpoint": {
                "type": "CheckpointHook",
                "interval": training.validate_every,
                "max_keep_ckpts": 1,
                # Outside training MMEngine cannot look for the best.
                **({"save_best": metric.mmpose, "rule": rule} if training.epochs else {}),
            },
            "sampler_seed": {"type": "DistSamplerSeedHook"},
        },
        # Data loaders start their workers as this says, also where the process was made by a forkserver.
        "env_cfg": {
            "cudnn_benchmark": False,
            "mp_cfg": {"mp_start_method": "fork", "opencv_num_threads": 0},
            "dist_cfg": {"backend": "nccl"},
        },
        "visualizer": {
            "type": "PoseLocalVisualizer",
            "name": "visualizer",
            "vis_backends": [{"type": "LocalVisBackend"}],
        },
        "log_processor": {"type": "LogProcessor", "window_size": 50, "by_epoch": True, "num_digits": 6},
        "log_level": "INFO",
        "resume": False,
    }


def _metainfo(described: Mapping[str, Any]) -> Config:
    """A copy whose numbered tables have integer keys, as MMPose wants them."""
    copy = dict(described)
    for table in ("keypoint_info", "skeleton_info"):
        copy[table] = {int(number): dict(row) for number, row in described[table].items()}
    return copy


def _plain(value: Any) -> Any:
    """A copy in which no part appears twice, so that changing one place of a config changes no other."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item) for item in value)
    return value


def _join(root: str, path: str) -> str:
    return os.path.normpath(os.path.join(os.path.abspath(root), path))
