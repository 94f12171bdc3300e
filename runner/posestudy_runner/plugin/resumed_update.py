"""A resumed optimizer that updates as this attempt asks for, not as the one did that saved its state."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class UpdateAsAskedHook(Hook):
    """Keeps the kernel of the update out of what a checkpoint restores.

    `fused` lies in a state_dict like a learning rate. Taken over from a checkpoint of an attempt that had chosen
    otherwise, it would contradict what the optimizer was built for: a loss scaler then hands its scale to an update
    that does not take it.
    """

    def before_train(self, runner: Any) -> None:
        """Choose the kernel anew; the counts of steps lie where it wants them."""
        optimizer: torch.optim.Optimizer = runner.optim_wrapper.optimizer
        if "fused" not in optimizer.defaults:
            return
        fused = optimizer.defaults["fused"]
        for group in optimizer.param_groups:
            group["fused"] = fused
            for weight in group["params"]:
                steps = optimizer.state.get(weight, {}).get("step")
                if isinstance(steps, torch.Tensor):
                    place = weight.device if fused or group.get("capturable") else torch.device("cpu")
                    optimizer.state[weight]["step"] = steps.to(place)
