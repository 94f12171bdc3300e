"""A network in training whose weights have their channels innermost, as convolutions want them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from mmengine.hooks import EMAHook, Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from torch import nn

State = dict[str, Any]


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Trains in `torch.channels_last`, with equal results to rounding; what is saved is laid out as without it.

    Activations follow the weights: the first convolution brings the images into the format. What the optimizer keeps
    of a weight must lie as the weight does, for a fused optimizer walks through both by address: in another order it
    would give every weight another one's momentum, without a word.
    """

    # After all that changes what a checkpoint holds.
    priority = "LOWEST"

    def before_train(self, runner: Any) -> None:
        """Lay out the weights, their averages and the optimizer's state, which may come from a checkpoint."""
        for network in _networks(runner):
            _keep_apart(network)
        turned = {id(weight) for network in _networks(runner) for weight in _turn(network)}
        optimizer: torch.optim.Optimizer = runner.optim_wrapper.optimizer
        for weight, state in optimizer.state.items():
            layout = torch.channels_last if id(weight) in turned else torch.contiguous_format
            for name, value in state.items():
                if isinstance(value, torch.Tensor) and value.dim() == 4:
                    state[name] = value.contiguous(memory_format=layout)

    def before_save_checkpoint(self, runner: Any, checkpoint: State) -> None:
        """Lay out as PyTorch does by itself what goes to the disk, for whoever reads it without this hook."""
        for part in ("state_dict", "ema_state_dict"):
            if part in checkpoint:
                lay_out_plainly(checkpoint[part])
        if "optimizer" in checkpoint:
            # The states within are the optimizer's own, not copies.
            state = {key: lay_out_plainly(dict(value)) for key, value in checkpoint["optimizer"]["state"].items()}
            checkpoint["optimizer"] = {**checkpoint["optimizer"], "state": state}


def lay_out_plainly(state: State) -> State:
    """`state`, with its tensors contiguous; a tensor that is so already is not copied."""
    for name, value in state.items():
        if isinstance(value, torch.Tensor):
            state[name] = value.contiguous()
    return state


_PLAIN = ("torch.nn.modules.conv", "mmcv.cnn.bricks.wrappers")
"""Modules whose convolutions only convolve; a class derived from them may look at its weights in its own way."""


_FEW = 16


def _corrupts(module: nn.Module) -> bool:
    """Whether the gradient of this convolution, channels innermost, would be written beyond its memory.

    Found with torch 2.13.0 on CPUs, in float32: kernel 1, stride 2, fewer than 16 input channels, several threads and a
    batch that they cannot share evenly. The process dies then or soon after, or goes on with other memory overwritten.
    """
    if not isinstance(module, nn.Conv2d) or module.weight.device.type != "cpu":
        return False
    return module.in_channels < _FEW and set(module.kernel_size) == {1} and set(module.stride) != {1}


def _keep_apart(network: nn.Module) -> None:
    for module in network.modules():
        if _corrupts(module):
            # The format of its input alone decides as well.
            module.register_forward_pre_hook(_plain_input)


def _plain_input(_module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(a.contiguous() if isinstance(a, torch.Tensor) else a for a in arguments)


def _turn(network: nn.Module) -> Iterator[torch.Tensor]:
    for module in network.modules():
        if _corrupts(module):
            continue
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and type(module).__module__ in _PLAIN:
            weight = module.weight
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
            yield weight


def _networks(runner: Any) -> Iterator[nn.Module]:
    yield runner.model.module if is_model_wrapper(runner.model) else runner.model
    for hook in runner.hooks:
        if isinstance(hook, EMAHook) and hasattr(hook, "ema_model"):
            yield hook.ema_model.module
