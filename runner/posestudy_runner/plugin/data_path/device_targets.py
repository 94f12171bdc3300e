"""Training targets drawn on the device that trains: a batch then carries its keypoints instead of its heatmaps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol

import torch
from mmpose.codecs import MSRAHeatmap, SimCCLabel, UDPHeatmap

from posestudy_runner.plugin.data_path.targets import BatchEncoder

Targets = dict[str, torch.Tensor]


class DeviceEncoder(Protocol):
    """`targets.BatchEncoder` for tensors of any device; small, and handed from process to process with each batch."""

    def encode(self, keypoints: torch.Tensor, visible: torch.Tensor) -> Targets:
        """What `BatchEncoder.encode` gives, within 1e-5, without waiting for the device.

        Args:
            keypoints: float32 [N, K, 2], x and y in px of the network's input.
            visible: float32 [N, K].
        """


def device_encoder(encoder: BatchEncoder) -> DeviceEncoder | None:
    """The twin of `encoder`; None where its targets are small or hard to make, and left to the loader."""
    codec = encoder.codec
    match codec:
        case MSRAHeatmap():
            return _heatmaps(codec, Placing.EVERYWHERE if codec.unbiased else Placing.PIXEL)
        case UDPHeatmap():
            return _heatmaps(codec, Placing.EXACT)
        case SimCCLabel() if codec.smoothing_type == "gaussian":
            width, height = codec.input_size
            return SimCCLabels(
                bins=(round(width * codec.simcc_split_ratio), round(height * codec.simcc_split_ratio)),
                split_ratio=float(codec.simcc_split_ratio),
                sigma=(float(codec.sigma[0]), float(codec.sigma[1])),
                normalize=codec.normalize,
            )
        case _:
            return None


class Placing(Enum):
    """Where a keypoint's Gaussian lies, and what of it is drawn."""

    PIXEL = "pixel"
    """At the nearest pixel, cut off at three standard deviations: MSRA."""
    EXACT = "exact"
    """At its very place, cut off around the nearest pixel: UDP."""
    EVERYWHERE = "everywhere"
    """At its very place, over the whole heatmap: MSRA with `unbiased`."""


@dataclass(frozen=True, slots=True)
class GaussianHeatmaps:
    """Heatmaps of MSRAHeatmap and UDPHeatmap.

    Attributes:
        size: width and height of a heatmap, px.
        scale: px of the input per px of a heatmap, along x and y.
        sigma: standard deviation, px of a heatmap.
        placing: of the Gaussians.
    """

    size: tuple[int, int]
    scale: tuple[float, float]
    sigma: float
    placing: Placing

    def encode(self, keypoints: torch.Tensor, visible: torch.Tensor) -> Targets:
        """See `DeviceEncoder`."""
        drawn = visible >= 0.5
        axes, outside = [], torch.zeros_like(drawn)
        for axis in (0, 1):
            peak, start, stop = self._window(keypoints[..., axis], axis)
            outside = outside | (start >= self.size[axis]) | (stop < 0)
            at = torch.arange(self.size[axis], device=keypoints.device)
            gaussian = torch.exp((at - peak[..., None]) ** 2 / (-2 * self.sigma**2))
            if self.placing is not Placing.EVERYWHERE:
                gaussian = gaussian * ((at >= start[..., None]) & (at < stop[..., None]))
            axes.append(gaussian)
        along_x, along_y = axes
        along_y = along_y * (drawn & ~outside)[..., None]
        return {
            "heatmaps": along_y[..., :, None] * along_x[..., None, :],
            "keypoint_weights": _weights(visible, drawn & outside),
        }

    def _window(self, keypoints: torch.Tensor, axis: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Along one axis, [N, K] each, px of a heatmap: the peak of a keypoint's Gaussian, and its first pixel and the
        first one after it. With the roundings of `heatmap_targets`."""
        # By a tensor: CUDA divides by a number as if multiplying by its inverse, and a keypoint between two pixels
        # could come to the other one.
        centre = keypoints / torch.full((), self.scale[axis], device=keypoints.device)
        radius = self.sigma * 3
        if self.placing is Placing.EVERYWHERE:
            return centre, centre - radius, centre + radius + 1
        nearest = (centre + 0.5).trunc().double()
        start = (nearest - radius).trunc()
        peak = start + (2 * radius + 1) // 2
        if self.placing is Placing.EXACT:
            peak = peak + (centre - nearest)
        return peak.float(), start, (nearest + radius + 1).trunc()


def _heatmaps(codec: MSRAHeatmap | UDPHeatmap, placing: Placing) -> GaussianHeatmaps:
    (width, height), (by_x, by_y) = codec.heatmap_size, codec.scale_factor
    return GaussianHeatmaps((width, height), (float(by_x), float(by_y)), codec.sigma, placing)


@dataclass(frozen=True, slots=True)
class SimCCLabels:
    """Labels of SimCCLabel, smoothed by a Gaussian.

    Attributes:
        bins: along x and y.
        split_ratio: bins per px of the input.
        sigma: standard deviation along x and y, bins.
        normalize: whether a label adds up to 1 instead of peaking at it.
    """

    bins: tuple[int, int]
    split_ratio: float
    sigma: tuple[float, float]
    normalize: bool

    def encode(self, keypoints: torch.Tensor, visible: torch.Tensor) -> Targets:
        """See `DeviceEncoder`."""
        peaks = (keypoints * self.split_ratio).round()
        drawn = visible >= 0.5
        labels, outside = [], torch.zeros_like(drawn)
        for axis, (bins, sigma) in enumerate(zip(self.bins, self.sigma, strict=True)):
            peak = peaks[..., axis]
            outside = outside | (peak - sigma * 3 >= bins) | (peak + sigma * 3 + 1 < 0)
            at = torch.arange(bins, device=keypoints.device)
            gaussian = torch.exp((at - peak[..., None]) ** 2 / (-2 * sigma**2))
            labels.append(gaussian / (sigma * math.sqrt(2 * math.pi)) if self.normalize else gaussian)
        shown = (drawn & ~outside)[:, None, :, None]
        return {
            "keypoint_x_labels": labels[0][:, None] * shown,
            "keypoint_y_labels": labels[1][:, None] * shown,
            "keypoint_weights": _weights(visible, drawn & outside),
        }


def _weights(visible: torch.Tensor, outside: torch.Tensor) -> torch.Tensor:
    """Float32 [N, 1, K]."""
    return (visible * ~outside)[:, None]


@dataclass(frozen=True, slots=True)
class UndrawnTargets:
    """The targets of a batch, still to be drawn.

    Attributes:
        encoder: draws them.
        keypoints: float32 [N, K, 2], x and y in px of the network's input.
        visible: float32 [N, K].
        weights: float32 [K] that weights of keypoints are multiplied with; None: not.
        labels, fields: from a target's key to its name in gt_instance_labels and gt_fields.
    """

    encoder: DeviceEncoder
    keypoints: torch.Tensor
    visible: torch.Tensor
    weights: torch.Tensor | None
    labels: Mapping[str, str]
    fields: Mapping[str, str]

    def each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> UndrawnTargets:
        """A copy with every tensor as `change` gives it."""
        weights = None if self.weights is None else change(self.weights)
        return replace(self, keypoints=change(self.keypoints), visible=change(self.visible), weights=weights)

    def drawn(self) -> tuple[Targets, Targets]:
        """Labels and fields by their names, [N, ...] each, on the device of the keypoints."""
        made = self.encoder.encode(self.keypoints, self.visible)
        if self.weights is not None:
            made["keypoint_weights"] = made["keypoint_weights"] * self.weights
        return _named(made, self.labels), _named(made, self.fields)


def _named(made: Targets, names: Mapping[str, str]) -> Targets:
    return {name: made[key] for key, name in names.items() if key in made}
