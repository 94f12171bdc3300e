"""TransPose (Yang et al., ICCV 2021) as MMPose components: an HRNet without its last stage, and the encoder as a neck.

`TopdownPoseEstimator` with `ResNet` (two stages) or `HRNetS` as backbone, `TransPoseEncoder` as neck and `HeatmapHead`
as head is the network of the paper. Parts are named as in the official code (github.com/yangsenius/TransPose), so that
`posestudy_runner.transpose_weights` only puts `backbone.`, `neck.` and `head.` before the names of its checkpoints.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.model import BaseModule
from mmpose.models.backbones import HRNet
from mmpose.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional

AttentionMaps = tuple[Tensor, ...]
"""Of one forward pass: a float32 tensor `[batch, tokens, tokens]` per layer; row = query, rows sum to 1."""


@MODELS.register_module()
class HRNetS(HRNet):
    """HRNet up to its third stage, whose last module fuses into the branch of the highest resolution alone.

    Args:
        extra: `stage1` to `stage3` as `HRNet` takes them. **options: as `HRNet`'s.

    The output is a tuple of one feature map, `[batch, width, height / 4, width / 4]`.
    """

    def __init__(self, extra: Mapping[str, Any], **options: Any) -> None:
        last = extra["stage3"]
        # A fourth stage without modules, on the first branch alone: HRNet's own forward then hands that branch on.
        passing = {**last, "num_modules": 0, "num_branches": 1, "num_channels": tuple(last["num_channels"][:1])}
        super().__init__(extra={**extra, "stage4": passing}, **options)

    def _make_stage(self, layer_config: Any, in_channels: Any, multiscale_output: bool = True) -> Any:
        if layer_config is self.extra["stage3"]:
            multiscale_output = False
        return super()._make_stage(layer_config, in_channels, multiscale_output)


class EncoderLayer(nn.Module):
    """Self-attention and two linear layers, each with a residual connection and normalised after it (DETR's order).

    The positions are added to queries and keys, neither to the values nor to what is passed on.

    Args:
        d_model: channels. num_heads: of the attention. dim_feedforward: channels between the linear layers.
        dropout: probability, 0 to 1, in four places: attention, both residuals, between the linear layers.
    """

    def __init__(self, d_model: int, num_heads: int, dim_feedforward: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(d_model, num_heads, dropout=dropout)
        self.linear1 = nn.Linear(d_model, dim_feedforward)
        self.dropout = nn.Dropout(dropout)
        self.linear2 = nn.Linear(dim_feedforward, d_model)
        self.norm1 = nn.LayerNorm(d_model)
        self.norm2 = nn.LayerNorm(d_model)
        self.dropout1 = nn.Dropout(dropout)
        self.dropout2 = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, position: Tensor | None) -> Tensor:
        """What has the shape of `tokens`, `[tokens, batch, d_model]`; `position` is `[tokens, 1, d_model]` or None."""
        query = self.query(tokens, position)
        # Without weights torch takes scaled_dot_product_attention, which never holds the whole matrix.
        attended, _ = self.self_attn(query, query, tokens, need_weights=False)
        tokens = self.norm1(tokens + self.dropout1(attended))
        between = self.dropout(functional.relu(self.linear1(tokens)))
        normed: Tensor = self.norm2(tokens + self.dropout2(self.linear2(between)))
        return normed

    @staticmethod
    def query(tokens: Tensor, position: Tensor | None) -> Tensor:
        """What queries and keys are made of."""
        return tokens if position is None else tokens + position

    @torch.no_grad()
    def attention(self, tokens: Tensor, position: Tensor | None) -> Tensor:
        """The attention weights for the arguments of `forward`: `[batch, tokens, tokens]`, the mean over the heads."""
        attention, query = self.self_attn, self.query(tokens, position).float()
        with torch.autocast(tokens.device.type, enabled=False):
            weight, bias = attention.in_proj_weight.float(), attention.in_proj_bias.float()
            size, heads = attention.embed_dim, attention.num_heads
            projected = functional.linear(query, weight[: 2 * size], bias[: 2 * size])
            count, batch = query.shape[:2]
            queries, keys = (
                part.reshape(count, batch, heads, size // heads).permute(1, 2, 0, 3)
                for part in torch.split(projected, size, dim=-1)
            )
            mean = query.new_zeros(batch, count, count)
            for head in range(heads):
                logits = queries[:, head] @ keys[:, head].transpose(1, 2) / math.sqrt(size // heads)
                mean += logits.softmax(dim=-1) / heads
        return mean


class Encoder(nn.Module):
    """Layers that start alike: each is a copy of the first."""

    def __init__(self, layer: EncoderLayer, count: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(copy.deepcopy(layer) for _ in range(count))


def sine_positions(height: int, width: int, channels: int, temperature: float = 10000.0) -> Tensor:
    """The fixed two-dimensional sine embedding of a grid, `[height * width, 1, channels]`, float32, row-major.

    The first half of the channels tells the row, the second the column. Places count from 1 and are scaled so that
    the last is 2 pi; channel i of a half has the wave length `temperature ** (2 * (i // 2) / half)`, sine where i is
    even and cosine where it is odd.
    """
    half = channels // 2
    index = torch.arange(half, dtype=torch.float64)
    lengths = temperature ** (2 * torch.div(index, 2, rounding_mode="floor") / half)

    def waves(count: int) -> Tensor:
        places = torch.arange(1, count + 1, dtype=torch.float64) / count * 2 * math.pi
        angles = places[:, None] / lengths
        return torch.where(index % 2 == 0, angles.sin(), angles.cos())

    rows = waves(height)[:, None].expand(height, width, half)
    columns = waves(width)[None].expand(height, width, half)
    return torch.cat([rows, columns], dim=-1).reshape(height * width, 1, channels).float()


@MODELS.register_module()
class TransPoseEncoder(BaseModule):
    """TransPose's transformer encoder as a neck: 1x1 convolution, positions, encoder layers, and a feature map again.

    Args:
        in_channels: channels of the backbone's last features.
        d_model: channels of the tokens and of the output, a multiple of 4 and of `num_heads`.
        dim_feedforward, num_layers, num_heads: of the encoder.
        in_featuremap_size: (width, height) of the features for the configured input. Other sizes are taken too.
        dropout: probability, 0 to 1.
        position: `sine` (fixed), `learnable` (starts normal, is trained) or `none`.
        init_cfg: for the convolution; the encoder's matrices start Xavier-uniform.

    Raises:
        ValueError: channels, heads or position do not go together.
    """

    def __init__(
        self,
        in_channels: int,
        d_model: int,
        dim_feedforward: int,
        num_layers: int,
        num_heads: int,
        in_featuremap_size: tuple[int, int],
        dropout: float = 0.1,
        position: str = "sine",
        init_cfg: Any = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if d_model % 4 or d_model % num_heads:
            raise ValueError(f"d_model is {d_model}; expected a multiple of 4 and of num_heads, {num_heads}")
        if position not in ("sine", "learnable", "none"):
            raise ValueError(f"position is {position!r}; expected sine, learnable or none")
        self.position = position
        width, height = in_featuremap_size
        self._built = (int(height), int(width))
        self.grid = self._built
        self.reduce = nn.Conv2d(in_channels, d_model, 1, bias=False)
        self.pos_embedding: nn.Parameter | None
        if position == "none":
            self.register_parameter("pos_embedding", None)
        elif position == "sine":
            # A parameter, though fixed: so it stands in the official checkpoints and in the published counts.
            self.pos_embedding = nn.Parameter(sine_positions(*self._built, d_model), requires_grad=False)
        else:
            self.pos_embedding = nn.Parameter(torch.randn(height * width, 1, d_model))
        self.global_encoder = Encoder(EncoderLayer(d_model, num_heads, dim_feedforward, dropout), num_layers)
        self._recorded: list[AttentionMaps] | None = None
        self._take: Callable[[Tensor], Tensor] | None = None

    @property
    def _layers(self) -> list[EncoderLayer]:
        return [layer for layer in self.global_encoder.layers if isinstance(layer, EncoderLayer)]

    def init_weights(self) -> None:
        """Xavier-uniform for every matrix of the encoder, zero for the attention's biases; other biases are torch's."""
        super().init_weights()
        for layer in self._layers:
            for parameter in layer.parameters():
                if parameter.dim() > 1:
                    nn.init.xavier_uniform_(parameter)
            nn.init.zeros_(layer.self_attn.in_proj_bias)
            nn.init.zeros_(layer.self_attn.out_proj.bias)

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[Tensor]:
        """The last of `feats`, `[batch, in_channels, h, w]`, as `[batch, d_model, h, w]`."""
        features: Tensor = self.reduce(feats[-1])
        batch, channels, height, width = features.shape
        self.grid = (height, width)
        tokens = features.flatten(2).permute(2, 0, 1)
        position = self._positions(height, width)
        maps: list[Tensor] = []
        for layer in self._layers:
            if self._recorded is not None:
                weights = layer.attention(tokens, position)
                maps.append(weights if self._take is None else self._take(weights))
            tokens = layer(tokens, position)
        if self._recorded is not None:
            self._recorded.append(tuple(maps))
        return (tokens.permute(1, 2, 0).reshape(batch, channels, height, width),)

    @contextmanager
    def recording(self, take: Callable[[Tensor], Tensor] | None = None) -> Iterator[list[AttentionMaps]]:
        """A list that each forward pass appends its attention maps to; the output stays what it is, bit for bit.

        Args:
            take: gives what is kept of a layer's map, such as a few rows, where all of them would fill the memory.
        """
        before = self._recorded, self._take
        self._recorded, self._take = [], take
        try:
            yield self._recorded
        finally:
            self._recorded, self._take = before

    def stride_of(self, input_height: int) -> int:
        """Input pixels per token of the last forward pass, whose input had `input_height` pixels."""
        return input_height // self.grid[0]

    def _positions(self, height: int, width: int) -> Tensor | None:
        table = self.pos_embedding
        if table is None or (height, width) == self._built:
            return table
        if self.position == "sine":
            return sine_positions(height, width, table.shape[-1]).to(table)
        return resized_positions(table, self._built, (height, width))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        """Take the positions of another input size over as the official test script would: a fixed table is made anew,
        a learned one is resized, where it is one of a grid with the same shape."""
        name, table = f"{prefix}pos_embedding", self.pos_embedding
        given = state_dict.get(name)
        if (
            table is not None
            and given is not None
            and given.shape != table.shape
            and given.shape[1:] == table.shape[1:]
        ):
            height = round(math.sqrt(given.shape[0] * self._built[0] / self._built[1]))
            width = given.shape[0] // max(1, height)
            if self.position == "sine":
                state_dict = {**state_dict, name: table.detach()}
            elif height * width == given.shape[0]:
                state_dict = {**state_dict, name: resized_positions(given, (height, width), self._built)}
        super()._load_from_state_dict(state_dict, prefix, *arguments)


def resized_positions(table: Tensor, grid: tuple[int, int], wanted: tuple[int, int]) -> Tensor:
    """A table of positions `[h * w, 1, channels]` for another (h, w), bilinearly with aligned corners."""
    height, width = grid
    image = table.permute(1, 2, 0).reshape(1, -1, height, width)
    resized = functional.interpolate(image, size=wanted, mode="bilinear", align_corners=True)
    return resized.flatten(2).permute(2, 0, 1)
