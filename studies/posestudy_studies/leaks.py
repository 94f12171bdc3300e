"""Leaks: differences between two generated configs that do not follow from the factors a cell declares."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from posestudy.errors import PoseStudyError
from posestudy_studies import mmpose_config
from posestudy_studies.spec import Study
from posestudy_studies.training import ConfigFile, Training

_INPUT: Final = (r"model\.head\..*", r".*_dataloader\.dataset\.pipeline\..*", r"model\.test_cfg\..*")
_NETWORK: Final = (r"model\..*", r"custom_imports\..*", r".*_dataloader\.dataset\.pipeline\..*")
_RATE: Final = (r"optim_wrapper\.optimizer\..*", r"param_scheduler\..*")

CONSEQUENCES: Final[Mapping[str, tuple[str, ...]]] = {
    "model": _NETWORK,
    "init": (r"model\.backbone\.init_cfg.*", r"model\.init_cfg.*", r"load_from"),
    "backbone": (r"model\.backbone\..*",),
    "head": (r"model\.head\..*", r".*_dataloader\.dataset\.pipeline\..*"),
    "input_size": _INPUT,
    "heatmap_size": _INPUT,
    # Coordinates are regressed from pooled features.
    "codec": (*_INPUT, r"model\.neck.*"),
    "loss": (r"model\.head\..*",),
    "sigma": _INPUT,
    # With epochs 0 the weights are evaluated, not started from.
    "epochs": (
        *(r"train_cfg\.max_epochs", r"param_scheduler\..*"),
        *(r"load_from", r"model\.(backbone\.)?init_cfg.*", r"default_hooks\.checkpoint\..*"),
    ),
    "validate_every": (r"train_cfg\.val_interval", r"default_hooks\.checkpoint\.interval"),
    "batch_size": (r"train_dataloader\.batch_size",),
    "accumulate": (r"optim_wrapper\.accumulative_counts", r"param_scheduler\..*", r"custom_hooks\..*"),
    "gpus": (r"model_wrapper_cfg\..*", r"sync_bn", r"custom_hooks\..*"),
    "sync_bn": (r"sync_bn",),
    "optimizer": _RATE,
    "lr_scaling": _RATE,
    "schedule": (r"param_scheduler\..*",),
    "augmentation": (r"train_dataloader\.dataset\.pipeline\..*",),
    "evaluation": (r"(val|test)_(dataloader|evaluator)\..*", r"model\.test_cfg\..*"),
    "amp": (r"optim_wrapper\.(type|dtype|loss_scale)",),
}
"""The paths of a config that may follow a factor, or any factor of its group, as regular expressions."""

_UPDATE: Final = ("batch_size", "accumulate", "gpus")
"""The factors that samples per weight update are the product of."""

_BROUGHT: Final[Mapping[str, str]] = {
    "custom_hooks": r"custom_hooks\..*",
    "paramwise_cfg": r"optim_wrapper\.paramwise_cfg.*",
    "clip_grad": r"optim_wrapper\.clip_grad.*",
    "constructor": r"optim_wrapper\.constructor",
}


def leaks(study: Study, training: Training, start: Training, declared: Iterable[str]) -> list[str]:
    """The paths in which the configs of `training` and `start` differ although no declared factor explains it.

    Args:
        study: gives data and evaluation to both.
        training, start: the cell's configuration and the one its stage starts from.
        declared: the factors the cell sets.

    Raises:
        PoseStudyError: one of the two makes no config.
    """
    allowed = [pattern for factor in declared for pattern in CONSEQUENCES.get(factor.split(".")[0], ())]
    if training.lr_scaling is not None and any(f.split(".")[0] in _UPDATE for f in declared):
        allowed += _RATE
    if "model" in declared:
        for model in (training.model, start.model):
            allowed += [_BROUGHT[name] for name in model.brings] if isinstance(model, ConfigFile) else []
    may = re.compile("|".join(f"(?:{pattern})" for pattern in allowed) or r"(?!)")
    mine = _paths(mmpose_config.build(study, training, 0))
    theirs = _paths(mmpose_config.build(study, start, 0))
    different = (path for path in mine.keys() | theirs.keys() if mine.get(path, _ABSENT) != theirs.get(path, _ABSENT))
    return _shortened(sorted(path for path in different if not may.fullmatch(path)))


_ABSENT: Final = object()


def _paths(value: Any, path: str = "") -> dict[str, Any]:
    """Every leaf of a config by its dotted path."""
    if isinstance(value, Mapping) and value:
        parts = value.items()
    elif isinstance(value, (list, tuple)) and value and any(isinstance(item, Mapping) for item in value):
        parts = {str(i): item for i, item in enumerate(value)}.items()
    else:
        return {path: value}
    return {name: leaf for key, part in parts for name, leaf in _paths(part, f"{path}.{key}".strip(".")).items()}


def _shortened(paths: list[str]) -> list[str]:
    """At most two steps of each path, each once: `custom_hooks.1` stands for all of that hook."""
    return list(dict.fromkeys(".".join(path.split(".")[:2]) for path in paths))


def checked(study: Study, training: Training, start: Training, declared: Iterable[str]) -> list[str]:
    """`leaks`, or nothing where a config cannot be made: that is told elsewhere."""
    try:
        return leaks(study, training, start, declared)
    except PoseStudyError:
        return []
