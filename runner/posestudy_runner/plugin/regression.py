"""What MMPose's regression heads need to train on today's torch, in mixed precision and to a bad end, a trap each.

Every function is safe to call twice, says in its docstring which trap it cures, and changes nothing where the trap is
not set.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from mmpose.models.heads import RegressionHead, RLEHead
from mmpose.models.utils.realnvp import RealNVP
from torch.distributions import MultivariateNormal


def install() -> None:
    """Apply every shim."""
    let_a_flow_diverge()
    for head in (RegressionHead, RLEHead):
        regress_in_full_precision(head)


def let_a_flow_diverge() -> None:
    """Trap: where training with RLE diverges, the flow's normal density refuses NaN with a ValueError about itself.

    A loss that is no number is how every other loss says that training diverged, and what is recognised as that
    outcome. Without the check the density gives it; of finite numbers it gives what it gave before, and does not wait
    for the device to look at them.
    """
    stock = RealNVP.prior
    if getattr(stock.fget, "posestudy", False):
        return

    def prior(self: Any) -> MultivariateNormal:
        """The standard normal density that the flow starts from."""
        return MultivariateNormal(self.loc, self.cov, validate_args=False)

    prior.posestudy = True  # type: ignore[attr-defined]
    RealNVP.prior = property(prior)


def regress_in_full_precision(head: type[Any]) -> None:
    """Trap: in mixed precision a head gives coordinates of 8 (bfloat16) or 11 bits (float16), shares of the input.

    At 192 px a bfloat16 coordinate is off by up to 0.4 px, which RLE then divides by a spread that may be smaller;
    in float16 a small spread is zero, and the error divided by it infinite. The head's one layer and its loss cost
    next to nothing, so they run in float32 on the features as they are. Without autocast nothing changes.
    """
    stock: Callable[..., Any] = head.loss
    if getattr(stock, "posestudy", False):
        return

    def loss(self: Any, inputs: Any, *arguments: Any, **options: Any) -> Any:
        """MMPose's `loss`, outside autocast."""
        device = inputs[-1].device.type
        if not torch.is_autocast_enabled(device):
            return stock(self, inputs, *arguments, **options)
        with torch.autocast(device, enabled=False):
            return stock(self, tuple(part.float() for part in inputs), *arguments, **options)

    loss.posestudy = True  # type: ignore[attr-defined]
    head.loss = loss
