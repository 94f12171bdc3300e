"""How a training step of one attempt computes on its device: the same step, sooner."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config

from posestudy_runner.components import Component, in_use
from posestudy_runner.plugin.heatmap_accuracy import DeviceAccuracyHook
from posestudy_runner.plugin.memory_format import ChannelsLastHook
from posestudy_runner.plugin.readings import DeferredRuntimeInfoHook
from posestudy_runner.plugin.resumed_update import UpdateAsAskedHook

FUSED = frozenset({"Adam", "AdamW", "SGD"})
"""Optimizers that torch has in one kernel, on a CPU and on a GPU."""
_KNOWN = frozenset({"posestudy_runner", "mmpose", "mmengine", "mmcv"})
_LOG_INTERVAL = 10
"""That of MMEngine's logger, where a config names none."""


def fit_step(config: Config, device: str, *, memory_is_limited: bool = False) -> None:
    """Change `config` in place for training on `device` (`cpu`, `cuda:0`, ...), with equal results to rounding.

    Args:
        config: of the trial.
        device: where it computes.
        memory_is_limited: memory may be refused to the process.

    Left as PyTorch has them, for what they would change: cuDNN's choice of algorithms by timing them
    (`cudnn.benchmark`), because a resumed trial may time others as fastest and then is no longer the same bit for
    bit; TF32, which convolutions use by default and matrix products do not.
    """
    if config.get("optim_wrapper") is None:
        return
    on_gpu = device.startswith("cuda")
    if in_use(Component.FUSED_OPTIMIZER):
        optimizer = config.optim_wrapper.optimizer
        if optimizer.get("type") in FUSED:
            optimizer["fused"] = True
    _add_hook(config, UpdateAsAskedHook)
    if _has_own_code(config) or (memory_is_limited and not on_gpu):
        # A network of the user's may look at its features in an order of its own. And torch's kernels for this format
        # on a CPU do not ask whether they got their memory: where it is refused they crash instead of raising.
        if (config.get("val_cfg") or {}).get("type") == "BatchedValLoop":
            config.val_cfg["channels_last"] = False
    elif in_use(Component.CHANNELS_LAST) and (not on_gpu or "Amp" in str(config.optim_wrapper.get("type"))):
        # On a GPU it is the tensor cores' format, which compute in half precision; without them it may even cost.
        _add_hook(config, ChannelsLastHook)
    if in_use(Component.QUIET_STEP):
        _quieten(config, on_gpu=on_gpu)


def _has_own_code(config: Config) -> bool:
    """Whether the network may hold classes of the user's, which only his modules bring."""
    imports = (config.get("custom_imports") or {}).get("imports") or ()
    return any(name.partition(".")[0] not in _KNOWN for name in imports)


def _quieten(config: Config, *, on_gpu: bool) -> None:
    if (config.model.get("head") or {}).get("type") == "HeatmapHead":
        given = config.model.get("train_cfg") or {}
        if given.get("compute_acc", True):
            config.model["train_cfg"] = {**given, "compute_acc": False}
            _add_hook(config, DeviceAccuracyHook)
    if on_gpu:
        logger = config.default_hooks.get("logger") or {}
        config.default_hooks["runtime_info"] = {
            "type": DeferredRuntimeInfoHook.__name__,
            "interval": logger.get("interval", _LOG_INTERVAL),
        }
        preprocessor = config.model.get("data_preprocessor")
        if preprocessor is not None:
            preprocessor["non_blocking"] = True


def _add_hook(config: Config, hook: type[Any]) -> None:
    config["custom_hooks"] = [*(config.get("custom_hooks") or []), {"type": hook.__name__}]
