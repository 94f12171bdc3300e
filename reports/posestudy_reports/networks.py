"""What network a cell trains: its name, its family, and what its head gives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Final

HEADS: Final = ("heatmap", "SimCC", "regression", "RLE")
"""What heads give, in the order of legends; RLE is regression trained with residual log-likelihood estimation."""

# What decides which network is trained and what an image costs it; the rest of a configuration only trains it.
_OF_NETWORK: Final = ("model", "backbone", "head", "input_size", "heatmap_size", "codec", "loss")


def name(config: Mapping[str, Any]) -> str:
    """`resnet50`; of a backbone by hand its class, of a config file its name without ending."""
    model = config.get("model")
    if isinstance(model, Mapping) and isinstance(model.get("backbone"), Mapping):
        backbone = model["backbone"]
        depth = backbone.get("depth")
        return f"{backbone.get('type', 'backbone')}{f'-{depth}' if depth else ''}"
    if isinstance(model, Mapping):
        return PurePath(str(model.get("config", "config file"))).stem
    return str(model or "")


def family(config: Mapping[str, Any]) -> str:
    """What the network belongs to: `ResNet`, `TransPose`; its own name where it is no preset."""
    from posestudy_studies import presets

    model = config.get("model")
    if isinstance(model, str) and model in presets.names():
        return presets.preset(model).family
    return name(config).rpartition("-")[0] or name(config)


def head(config: Mapping[str, Any]) -> str:
    """One of `HEADS`."""
    codec = _kind(config.get("codec")) or "msra"
    if codec == "regression":
        return "RLE" if loss(config) == "rle" else "regression"
    return "SimCC" if codec == "simcc" else "heatmap"


def loss(config: Mapping[str, Any]) -> str:
    """The loss the configuration names; empty where it is the codec's usual one."""
    return _kind(config.get("loss"))


def _kind(value: Any) -> str:
    return str(value.get("type", "")) if isinstance(value, Mapping) else str(value or "")


def trained(config: Mapping[str, Any]) -> tuple[str, str, str]:
    """What two cells must differ in to be different networks to a reader: name, head, loss."""
    return name(config), head(config), loss(config)


def learned(config: Mapping[str, Any]) -> tuple[str, str]:
    """Head and loss."""
    return head(config), loss(config)


def same_cost(config: Mapping[str, Any], *, training: bool = False) -> str:
    """Equal for configurations whose networks cost alike to run (or to train, where precision counts too)."""
    parts = (*_OF_NETWORK, "amp") if training else _OF_NETWORK
    return json.dumps([config.get(part) for part in parts], sort_keys=True, default=str)
