"""Distances of predictions from the ground truth by image, and the metrics that are means of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

METRICS: Final = ("nme", "epe", "pck", "auc")
"""The metrics that saved distances can rebuild."""


@dataclass(frozen=True)
class Distances:
    """What `posestudy_runner.distances` writes: a metric is the mean over groups of sum / count.

    Attributes:
        image_ids: int64 [I], images with an instance, ascending.
        sums, counts: by ledger name of the metric, [I, groups]; the groups are keypoints for pck and auc, else one.
        epoch: finished epochs at that validation.
        predictions_sha256: of the file of predictions they were made from, hexadecimal; empty where that is not known.
    """

    image_ids: NDArray[np.int64]
    sums: Mapping[str, Floats]
    counts: Mapping[str, Floats]
    epoch: int
    predictions_sha256: str = ""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Those that can be rebuilt from it."""
        return tuple(self.sums)

    def same_images(self, other: object) -> bool:
        """Whether both are of the same images with as many labelled keypoints, so that resamples are paired."""
        return (
            isinstance(other, Distances)
            and np.array_equal(self.image_ids, other.image_ids)
            and self.counts.keys() == other.counts.keys()
            and all(np.array_equal(counts, other.counts[name]) for name, counts in self.counts.items())
        )

    def values(self, metric: str, weights: NDArray[Any]) -> Floats:
        """`metric` where image i stands weights[b, i] times: [B]. NaN where nothing is labelled.

        A group of which nothing is labelled is left out of the mean, as MMPose leaves it out.
        """
        drawn = weights.astype(np.float64)
        sums, counts = drawn @ self.sums[metric], drawn @ self.counts[metric]
        with np.errstate(invalid="ignore"):
            means = np.where(counts > 0, sums / counts, 0.0)
            found: Floats = means.sum(axis=1) / (counts > 0).sum(axis=1)
        return found


def of(arrays: Mapping[str, NDArray[Any]]) -> Distances:
    """The distances in the arrays of a file.

    Raises:
        KeyError, ValueError: there are none, or they do not fit one another.
    """
    image_ids = arrays["image_ids"].astype(np.int64)
    names = [name for name in METRICS if f"{name}_sum" in arrays]
    found = Distances(
        image_ids,
        {name: arrays[f"{name}_sum"].astype(np.float64) for name in names},
        {name: arrays[f"{name}_count"].astype(np.float64) for name in names},
        int(arrays["epoch"]),
        checksum(arrays),
    )
    for name in names:
        if found.sums[name].shape != found.counts[name].shape or len(found.sums[name]) != len(image_ids):
            raise ValueError(f"the arrays of {name} do not fit one another")
    return found


def checksum(arrays: Mapping[str, NDArray[Any]]) -> str:
    """The sha256 of the predictions that the arrays were made from, hexadecimal; empty where they do not tell."""
    found = arrays.get("predictions_sha256")
    return "" if found is None else bytes(found.astype(np.uint8)).hex()
