"""Counting what a network computes for one image, from the shapes that go through its operators."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from posestudy.ledger.records import Json
from posestudy_runner.work import Work

Shape = Sequence[int]
_ATEN = torch.ops.aten
_PRODUCTS = {
    "linear": ("mm", "addmm", "_scaled_mm"),
    "attention": ("bmm", "baddbmm"),
    "convolution": ("convolution", "_convolution"),
}
_ELEMENTWISE = {
    "batch_norm": (
        "native_batch_norm",
        "_native_batch_norm_legit",
        "_native_batch_norm_legit_no_training",
        "_batch_norm_no_update",
        "cudnn_batch_norm",
    ),
    "relu": ("relu", "relu_"),
    "add": ("add", "add_"),
    "mul": ("mul", "mul_"),
    "softmax": ("_softmax", "_safe_softmax"),
}


def count(model: nn.Module, input_size: tuple[int, int]) -> Work:
    """Count one forward pass of `model` for an image of (width, height) px, in evaluation mode.

    Shapes alone are computed, on no device, so it takes no time worth speaking of. A network whose forward pass
    reads values computes one on its own device.
    """
    own = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with evaluating(model):
        try:
            shapes = {name: _shape_of(tensor) for name, tensor in own.items()}
            counted = _counted(
                lambda x: torch.func.functional_call(model, shapes, (x, None), {"mode": "tensor"}),
                input_size,
                torch.device("meta"),
            )
        except (NotImplementedError, RuntimeError):
            # An operator that knows no shapes alone; what is wrong with the network itself shows in the real pass.
            device = next((tensor.device for tensor in own.values()), torch.device("cpu"))
            counted = _counted(lambda x: model(x, None, mode="tensor"), input_size, device)
    parameters = list(model.parameters())
    return Work(
        parameters=sum(p.numel() for p in parameters),
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
        **counted,
    )


def _shape_of(tensor: torch.Tensor) -> torch.Tensor:
    """What has the tensor's shape and no memory. Torch takes a batched product, which would be counted as one of
    activations, for a linear layer over some tokens unless its weight can be trained."""
    shape = torch.empty_like(tensor, device="meta")
    return shape.requires_grad_(isinstance(tensor, nn.Parameter) and tensor.is_floating_point())


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, and each of its modules in the mode it had before afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def _counted(forward: Callable[[torch.Tensor], Any], input_size: tuple[int, int], device: torch.device) -> Json:
    """The fields of `Work` that a forward pass tells."""
    tally = {"transposed": 0, "transposed_by_output": 0}

    def convolution(x: Shape, w: Shape, *arguments: Any, out_shape: Shape, **_: Any) -> int:
        _bias, _stride, _padding, _dilation, transposed, *_rest = arguments
        if not transposed:
            return prod(out_shape[2:]) * x[0] * prod(w)
        # Its weight is [in, out / groups, ...]: every input place is multiplied with a whole kernel.
        tally["transposed"] += prod(x[2:]) * x[0] * prod(w)
        tally["transposed_by_output"] += prod(out_shape[2:]) * x[0] * prod(w)
        return 0

    def elements(x: Shape, *_arguments: Any, **_: Any) -> int:
        return prod(x)

    mapping: dict[Any, Callable[..., int]] = {}
    for names, formula in ((_PRODUCTS["convolution"], convolution), *((n, elements) for n in _ELEMENTWISE.values())):
        mapping |= {getattr(_ATEN, name): formula for name in names if hasattr(_ATEN, name)}
    image = torch.zeros(1, 3, input_size[1], input_size[0], device=device)
    # Fused attention and MultiheadAttention's fast path are operators that the counter does not look into.
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        counter = FlopCounterMode(display=False, custom_mapping=mapping)
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
            forward(image)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    found = {
        str(operator).partition(".")[2]: number for operator, number in counter.get_flop_counts()["Global"].items()
    }

    def total(names: tuple[str, ...]) -> int:
        return sum(found.get(name, 0) for name in names)

    return {
        "convolution": total(_PRODUCTS["convolution"]),
        # torch counts a multiplication and an addition as two.
        "linear": total(_PRODUCTS["linear"]) // 2,
        "attention": total(_PRODUCTS["attention"]) // 2,
        "elements": {kind: total(names) for kind, names in _ELEMENTWISE.items() if total(names)},
        **tally,
    }
