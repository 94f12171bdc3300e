"""TransPose computed from nothing but the tensors of an official file: what our network is held against.

Written with torch's functions alone, from the description of the network in the paper and its supplement; no module of
MMPose or posestudy takes part, and attention is the plain softmax.
"""

from __future__ import annotations

import math
import re

import torch
from torch import Tensor
from torch.nn import functional as fn

Weights = dict[str, Tensor]
HEADS = {256: 8, 64: 1, 96: 1}
"""Attention heads by the channels of the tokens: no tensor tells them."""


def heatmaps(w: Weights, image: Tensor) -> Tensor:
    """[batch, keypoints, H, W] for an image [batch, 3, height, width]."""
    on_resnet = "deconv_layers.0.weight" in w
    x = _resnet(w, image) if on_resnet else _hrnet(w, image)
    x = fn.conv2d(x, w["reduce.weight"])
    batch, channels, height, width = x.shape
    tokens = x.reshape(batch, channels, height * width).transpose(1, 2)
    position = w["pos_embedding"].transpose(0, 1)
    for i in range(1 + max(int(name.split(".")[2]) for name in w if name.startswith("global_encoder."))):
        tokens = _layer(w, f"global_encoder.layers.{i}.", tokens, position)
    x = tokens.transpose(1, 2).reshape(batch, channels, height, width)
    if on_resnet:
        x = fn.conv_transpose2d(x, w["deconv_layers.0.weight"], stride=2, padding=1)
        x = fn.relu(_norm(w, "deconv_layers.1", x))
    return fn.conv2d(x, w["final_layer.weight"], w["final_layer.bias"])


def _layer(w: Weights, at: str, tokens: Tensor, position: Tensor) -> Tensor:
    size = tokens.shape[-1]
    heads = HEADS[size]
    each = size // heads
    matrix, bias = w[f"{at}self_attn.in_proj_weight"], w[f"{at}self_attn.in_proj_bias"]
    parts = []
    for h in range(heads):
        place = slice(h * each, (h + 1) * each)
        q = (tokens + position) @ matrix[:size][place].T + bias[:size][place]
        k = (tokens + position) @ matrix[size : 2 * size][place].T + bias[size : 2 * size][place]
        v = tokens @ matrix[2 * size :][place].T + bias[2 * size :][place]
        parts.append(torch.softmax(q @ k.transpose(1, 2) / math.sqrt(each), dim=-1) @ v)
    attended = torch.cat(parts, dim=-1) @ w[f"{at}self_attn.out_proj.weight"].T + w[f"{at}self_attn.out_proj.bias"]
    tokens = fn.layer_norm(tokens + attended, (size,), w[f"{at}norm1.weight"], w[f"{at}norm1.bias"])
    between = fn.relu(tokens @ w[f"{at}linear1.weight"].T + w[f"{at}linear1.bias"])
    tokens = tokens + between @ w[f"{at}linear2.weight"].T + w[f"{at}linear2.bias"]
    return fn.layer_norm(tokens, (size,), w[f"{at}norm2.weight"], w[f"{at}norm2.bias"])


def _norm(w: Weights, name: str, x: Tensor) -> Tensor:
    return fn.batch_norm(
        x, w[f"{name}.running_mean"], w[f"{name}.running_var"], w[f"{name}.weight"], w[f"{name}.bias"], eps=1e-5
    )


def _conv(w: Weights, conv: str, norm: str, x: Tensor, stride: int = 1, *, relu: bool = True) -> Tensor:
    kernel = w[f"{conv}.weight"]
    x = _norm(w, norm, fn.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2))
    return fn.relu(x) if relu else x


def _bottleneck(w: Weights, at: str, x: Tensor, stride: int = 1) -> Tensor:
    y = _conv(w, f"{at}.conv1", f"{at}.bn1", x)
    y = _conv(w, f"{at}.conv2", f"{at}.bn2", y, stride)
    y = _conv(w, f"{at}.conv3", f"{at}.bn3", y, relu=False)
    if f"{at}.downsample.0.weight" in w:
        x = _conv(w, f"{at}.downsample.0", f"{at}.downsample.1", x, stride, relu=False)
    return fn.relu(x + y)


def _basic(w: Weights, at: str, x: Tensor) -> Tensor:
    y = _conv(w, f"{at}.conv1", f"{at}.bn1", x)
    return fn.relu(x + _conv(w, f"{at}.conv2", f"{at}.bn2", y, relu=False))


def _resnet(w: Weights, image: Tensor) -> Tensor:
    x = fn.max_pool2d(_conv(w, "conv1", "bn1", image, 2), 3, stride=2, padding=1)
    for i in range(3):
        x = _bottleneck(w, f"layer1.{i}", x)
    for i in range(4):
        x = _bottleneck(w, f"layer2.{i}", x, 2 if i == 0 else 1)
    return x


def _hrnet(w: Weights, image: Tensor) -> Tensor:
    x = _conv(w, "conv2", "bn2", _conv(w, "conv1", "bn1", image, 2), 2)
    for i in range(4):
        x = _bottleneck(w, f"layer1.{i}", x)
    second = _conv(w, "transition1.1.0.0", "transition1.1.0.1", x, 2)
    branches = _module(w, "stage2.0", [_conv(w, "transition1.0.0", "transition1.0.1", x), second])
    branches.append(_conv(w, "transition2.2.0.0", "transition2.2.0.1", branches[-1], 2))
    for i in range(4):
        branches = _module(w, f"stage3.{i}", branches)
    return branches[0]


def _module(w: Weights, at: str, branches: list[Tensor]) -> list[Tensor]:
    deep = []
    for b, x in enumerate(branches):
        for block in range(4):
            x = _basic(w, f"{at}.branches.{b}.{block}", x)
        deep.append(x)
    targets = sorted(
        {int(found[1]) for name in w if (found := re.match(rf"{re.escape(at)}\.fuse_layers\.(\d+)\.", name))}
    )
    return [fn.relu(sum(_scaled(w, f"{at}.fuse_layers.{i}.{j}", x, i, j) for j, x in enumerate(deep))) for i in targets]


def _scaled(w: Weights, at: str, x: Tensor, to: int, source: int) -> Tensor:
    """Branch `source` at the resolution of branch `to`."""
    if source == to:
        return x
    if source > to:
        x = _conv(w, f"{at}.0", f"{at}.1", x, relu=False)
        return fn.interpolate(x, scale_factor=2 ** (source - to), mode="nearest")
    for step in range(to - source):
        x = _conv(w, f"{at}.{step}.0", f"{at}.{step}.1", x, 2, relu=step < to - source - 1)
    return x
