"""Which networks cost the same to run on a device, so that a pool measures each once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from posestudy.ledger.records import Json

_FREE = frozenset({"test_cfg", "train_cfg", "data_preprocessor"})
"""Parts of an MMPose model config that a forward pass does not run."""
_FREE_OF_HEAD = frozenset({"decoder", "loss"})
"""Parts of its head that a forward pass does not run; elsewhere a decoder may well be layers."""


def cost_class(model: nn.Module, config: Mapping[str, Any], order: Json) -> str:
    """The same for two trials only where a forward pass is the same work on the same device.

    Args:
        model: the network.
        config: what it was built from, MMPose's `model`.
        order: what else decides, as JSON: the size of the input, the device and its threads.
    """
    shapes = [(name, list(tensor.shape)) for name, tensor in model.state_dict().items()]
    work = {key: part for key, part in config.items() if key not in _FREE}
    head = config.get("head")
    if isinstance(head, Mapping):
        work["head"] = {key: part for key, part in head.items() if key not in _FREE_OF_HEAD}
    parts = [_without_weights(work), shapes, order, torch.__version__]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _without_weights(value: Any) -> Any:
    """`value` without where its weights come from, at any depth."""
    if isinstance(value, Mapping):
        return {str(key): _without_weights(item) for key, item in value.items() if key != "init_cfg"}
    if isinstance(value, (list, tuple)):
        return [_without_weights(item) for item in value]
    return value
