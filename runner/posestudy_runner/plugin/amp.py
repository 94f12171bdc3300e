"""Mixed precision on whatever the model lies on: MMEngine's own wrapper on an accelerator, bfloat16 on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class DeviceAmpOptimWrapper(AmpOptimWrapper):
    """`AmpOptimWrapper` that also trains where there is no accelerator, which the stock one refuses.

    On a CPU it autocasts to bfloat16, the type a CPU computes in, whatever `dtype` says, and scales no loss:
    bfloat16 has the exponents of float32. `cast_dtype` holds the type in use, None for the accelerator's default.

    Args:
        optimizer: the optimizer; the device of its first parameter decides.
        dtype: `float16` or `bfloat16` on an accelerator, None for its default (float16).
        loss_scale: as MMEngine's; without effect on a CPU.
        **options: as `OptimWrapper`'s.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        dtype: str | torch.dtype | None = None,
        loss_scale: str | float | dict[str, Any] = "dynamic",
        **options: Any,
    ) -> None:
        self.on_cpu = optimizer.param_groups[0]["params"][0].device.type == "cpu"
        if self.on_cpu:
            OptimWrapper.__init__(self, optimizer=optimizer, **options)
            self.cast_dtype = torch.bfloat16
        else:
            super().__init__(optimizer=optimizer, dtype=dtype, loss_scale=loss_scale, **options)

    def backward(self, loss: torch.Tensor, **kwargs: Any) -> None:
        """Back-propagate a scalar `loss`, scaled on an accelerator."""
        if self.on_cpu:
            OptimWrapper.backward(self, loss, **kwargs)
        else:
            super().backward(loss, **kwargs)

    def step(self, **kwargs: Any) -> None:
        """Update the parameters; on an accelerator a step with non-finite gradients is skipped."""
        if self.on_cpu:
            OptimWrapper.step(self, **kwargs)
        else:
            super().step(**kwargs)

    def state_dict(self) -> dict[str, Any]:
        """The optimizer's state, with the loss scaler's where there is one."""
        state: dict[str, Any] = OptimWrapper.state_dict(self) if self.on_cpu else super().state_dict()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a state written on either kind of device."""
        if self.on_cpu:
            without_scaler = {key: value for key, value in state_dict.items() if key != "loss_scaler"}
            OptimWrapper.load_state_dict(self, without_scaler)
        else:
            super().load_state_dict(state_dict)

    @contextmanager
    def optim_context(self, model: torch.nn.Module) -> Iterator[None]:
        """Autocast around the forward pass of `model`."""
        if self.on_cpu:
            with OptimWrapper.optim_context(self, model), torch.autocast("cpu", dtype=torch.bfloat16):
                yield
        else:
            with super().optim_context(model):
                yield
