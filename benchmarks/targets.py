"""Training targets of a batch: MMPose's codecs, one sample after the other, and ours, the batch at once.

`python -m benchmarks.targets` prints a Markdown table. CPU time of one thread, 17 keypoints, 256x256 px of input.
"""

from __future__ import annotations

from posestudy_runner import plugin  # noqa: F401 - MMPose loads only after it

# isort: split
import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from mmpose.registry import KEYPOINT_CODECS

from benchmarks.interleaved import interleaved
from posestudy_runner.plugin.data_path.targets import BatchEncoder, batch_encoder

SIZE_PX, HEATMAP_PX, KEYPOINTS = 256, 64, 17
HEATMAPS = {"input_size": (SIZE_PX, SIZE_PX), "heatmap_size": (HEATMAP_PX, HEATMAP_PX)}
CODECS: dict[str, dict[str, Any]] = {
    "MSRA": {"type": "MSRAHeatmap", **HEATMAPS, "sigma": 2.0},
    "MSRA, unbiased": {"type": "MSRAHeatmap", **HEATMAPS, "sigma": 2.0, "unbiased": True},
    "UDP": {"type": "UDPHeatmap", **HEATMAPS, "sigma": 2.0},
    "Megvii": {"type": "MegviiHeatmap", **HEATMAPS, "kernel_size": 11},
    "SimCC, Gaussian": {"type": "SimCCLabel", "input_size": (SIZE_PX, SIZE_PX)},
    "SimCC, even": {
        "type": "SimCCLabel",
        "input_size": (SIZE_PX, SIZE_PX),
        "smoothing_type": "standard",
        "label_smooth_weight": 0.1,
    },
    "regression": {"type": "RegressionLabel", "input_size": (SIZE_PX, SIZE_PX)},
}


def main() -> None:
    """Measure every codec that a study can ask for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=32)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    keypoints = rng.uniform(-0.05 * SIZE_PX, 1.05 * SIZE_PX, (given.batch, KEYPOINTS, 2)).astype(np.float32)
    visible = np.ones((given.batch, KEYPOINTS), np.float32)
    print("| codec | MMPose, ms per image | in batches, ms per image | ratio | largest difference |")
    print("|---|---|---|---|---|")
    for name, codec in CODECS.items():
        stock, ours = KEYPOINT_CODECS.build(codec), batch_encoder(codec)
        if ours is None:
            raise ValueError(f"no batch encoder for {codec}")
        rivals: dict[str, Callable[[], float]] = {
            "stock": partial(_timed, partial(_one_by_one, stock, keypoints, visible), given.batch),
            "ours": partial(_timed, partial(ours.encode, keypoints, visible), given.batch),
        }
        took = interleaved(rivals, given.rounds)
        ratio = took["stock"].median / took["ours"].median
        apart = _farthest(stock, ours, keypoints, visible)
        print(f"| {name} | {took['stock'].shown()} | {took['ours'].shown()} | {ratio:.1f} | {apart:.1g} |")


def _one_by_one(stock: Any, keypoints: np.ndarray, visible: np.ndarray) -> list[dict[str, np.ndarray]]:
    return [stock.encode(keypoints[[sample]], visible[[sample]]) for sample in range(len(keypoints))]


def _timed(work: Callable[[], Any], images: int) -> float:
    """Milliseconds of CPU time per image."""
    started = time.process_time()
    work()
    return (time.process_time() - started) / images * 1e3


def _farthest(stock: Any, ours: BatchEncoder, keypoints: np.ndarray, visible: np.ndarray) -> float:
    expected = _one_by_one(stock, keypoints, visible)
    made = ours.encode(keypoints, visible)
    return max(
        float(np.abs(values - np.stack([sample[key] for sample in expected])).max()) for key, values in made.items()
    )


if __name__ == "__main__":
    main()
