"""Training targets of a batch in one pass, equal to what MMPose's codecs give sample by sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from mmpose.codecs import MegviiHeatmap, MSRAHeatmap, RegressionLabel, SimCCLabel, UDPHeatmap
from mmpose.codecs.base import BaseKeypointCodec

from posestudy_runner.plugin.data_path.heatmap_targets import (
    MegviiEncoder,
    MSRAEncoder,
    UDPEncoder,
    UnbiasedMSRAEncoder,
)
from posestudy_runner.plugin.data_path.label_targets import RegressionEncoder, SimCCEncoder


class BatchEncoder(Protocol):
    """Makes the targets of N samples with one instance each."""

    @property
    def codec(self) -> BaseKeypointCodec:
        """The stock codec whose `encode` this equals; its mapping tables say where a target belongs in a sample."""

    def encode(self, keypoints: np.ndarray, visible: np.ndarray) -> dict[str, np.ndarray]:
        """What the codec's `encode` gives for each sample, stacked on a new first axis, with its keys and dtypes.

        Args:
            keypoints: float32 [N, K, 2], x and y in px of the network's input; they may lie outside of it.
            visible: float32 [N, K]; a keypoint below 0.5 gets no target.

        Returns:
            Of heatmap codecs `heatmaps`, float32 [N, K, h, w]; of SimCC `keypoint_x_labels` and `keypoint_y_labels`,
            float32 [N, 1, K, bins]; of regression `keypoint_labels`, float32 [N, 1, K, 2]; of all
            `keypoint_weights`, float32 [N, 1, K].
        """


def batch_encoder(codec: Mapping[str, Any]) -> BatchEncoder | None:
    """The encoder that equals an MMPose codec, given as its config `{"type": NAME, **arguments}`.

    None for a codec or an argument that it does not know, and for what MMPose itself would refuse.
    """
    arguments = dict(codec)
    stock = _STOCK.get(arguments.pop("type", ""))
    if stock is None:
        return None
    try:
        return _encoder(stock(**arguments))
    except (TypeError, ValueError):
        return None


def _encoder(codec: BaseKeypointCodec) -> BatchEncoder | None:
    match codec:
        case MSRAHeatmap() if isinstance(codec.sigma, (int, float)):
            return UnbiasedMSRAEncoder(codec) if codec.unbiased else MSRAEncoder(codec)
        case UDPHeatmap() if codec.heatmap_type == "gaussian" and isinstance(codec.sigma, (int, float)):
            return UDPEncoder(codec)
        case MegviiHeatmap():
            return MegviiEncoder(codec)
        case SimCCLabel() if codec.sigma.shape == (2,):
            return SimCCEncoder(codec)
        case RegressionLabel():
            return RegressionEncoder(codec)
        case _:
            return None


_STOCK: dict[str, Callable[..., BaseKeypointCodec]] = {
    stock.__name__: stock for stock in (MSRAHeatmap, UDPHeatmap, MegviiHeatmap, SimCCLabel, RegressionLabel)
}
