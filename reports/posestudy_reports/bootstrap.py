"""COCO's average precision and recall from saved matches, and how they vary over resampled validation images.

Which prediction meets which ground truth is settled inside one image, so it stays the same however often the image
is drawn; a resample only weighs it. What is left is COCOeval's accumulation, here for many resamples at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from posestudy_reports import distances
from posestudy_reports.distances import Distances

Floats = NDArray[np.float64]
Reading = Callable[["Matches", NDArray[Any]], Floats]

RECALLS: Final[Floats] = np.linspace(0.0, 1.0, 101)
"""The recalls at which COCOeval reads the precision."""
_AT_ONCE: Final = 1_000_000
"""Resamples x detections that are accumulated in one go; bounds the memory to some tens of MB."""
_SEED: Final = 20_250_101


class UnreadableMatchesError(ValueError):
    """A file of matches that is not what `posestudy_runner.matches` writes."""


@dataclass(frozen=True)
class Matches:
    """Predictions of one validation and whether they met a ground truth, as COCOeval settled it (area `all`).

    Attributes:
        image_ids: int64 [I], every validation image, ascending.
        thresholds: float64 [T], OKS a match must reach.
        dt_image: int64 [D], index into `image_ids`; D in the order in which COCOeval puts images together.
        dt_score: float64 [D].
        dt_matched: bool [T, D]; dt_ignored: bool [T, D], detections that count neither for nor against.
        gt_count: int64 [I], ground truths that count.
        epoch: finished epochs at that validation.
        predictions_sha256: of the file of predictions they were made from, hexadecimal; empty where that is not known.
    """

    image_ids: NDArray[np.int64]
    thresholds: Floats
    dt_image: NDArray[np.int64]
    dt_score: Floats
    dt_matched: NDArray[np.bool_]
    dt_ignored: NDArray[np.bool_]
    gt_count: NDArray[np.int64]
    epoch: int
    predictions_sha256: str = ""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Those that can be rebuilt from it."""
        return METRICS

    def same_images(self, other: object) -> bool:
        """Whether both are of the same images with the same ground truths, so that resamples of them are paired."""
        return (
            isinstance(other, Matches)
            and np.array_equal(self.image_ids, other.image_ids)
            and np.array_equal(self.gt_count, other.gt_count)
        )


Evidence = Matches | Distances
"""What a validation left of each image."""


def read(path: Path) -> Evidence:
    """What a file holds that `posestudy_runner.matches` or `posestudy_runner.distances` wrote.

    Raises:
        OSError: the file is missing or cannot be read.
        UnreadableMatchesError: it is no such file.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            if "dt_score" not in file:
                return distances.of({name: file[name] for name in file})
            found = of({name: file[name] for name in file})
    except OSError:
        raise
    except Exception as error:  # a damaged zip raises whatever its damage causes
        raise UnreadableMatchesError(f"{path} holds no matches: {error}") from error
    return found


def of(arrays: Mapping[str, NDArray[Any]]) -> Matches:
    """The matches in the arrays of a file.

    Raises:
        KeyError, ValueError: there are none, or they do not fit one another.
    """
    found = Matches(
        image_ids=arrays["image_ids"].astype(np.int64),
        thresholds=arrays["thresholds"].astype(np.float64),
        dt_image=arrays["dt_image"].astype(np.int64),
        dt_score=arrays["dt_score"].astype(np.float64),
        dt_matched=arrays["dt_matched"].astype(np.bool_),
        dt_ignored=arrays["dt_ignored"].astype(np.bool_),
        gt_count=arrays["gt_count"].astype(np.int64),
        epoch=int(arrays["epoch"]),
        predictions_sha256=distances.checksum(arrays),
    )
    images, detections, levels = len(found.image_ids), len(found.dt_score), len(found.thresholds)
    shapes = found.dt_matched.shape, found.dt_ignored.shape
    if shapes != ((levels, detections),) * 2 or found.dt_image.shape != (detections,) or len(found.gt_count) != images:
        raise ValueError("its arrays do not fit one another")
    if detections and not (found.dt_image.min() >= 0 and found.dt_image.max() < images):
        raise ValueError("a detection belongs to no image")
    return found


@dataclass(frozen=True)
class Resamples:
    """`count` resamples of `images` validation images, drawn with replacement; equal ones hold equal draws."""

    images: int
    count: int

    @cached_property
    def weights(self) -> NDArray[np.uint8]:
        """How often each image was drawn, [count, images]."""
        random = np.random.default_rng(_SEED)
        drawn = np.empty((self.count, self.images), dtype=np.uint8)
        for row in drawn:
            row[:] = np.bincount(random.integers(self.images, size=self.images), minlength=self.images)
        return drawn

    def values(self, matches: Evidence, metric: str) -> Floats:
        """`metric` of each resample, [count]; NaN where a resample has no ground truth. Raises as `value` does."""
        if isinstance(matches, Distances):
            return matches.values(metric, self.weights)
        reading = _READINGS[metric]
        step = max(1, _AT_ONCE // max(1, len(matches.dt_score)))
        parts = [reading(matches, self.weights[start : start + step]) for start in range(0, self.count, step)]
        return np.concatenate(parts)


def value(matches: Evidence, metric: str) -> float:
    """`metric` as COCOeval or MMPose gives it on all images. Raises KeyError where it is none of `matches.metrics`."""
    everything = np.ones((1, len(matches.image_ids)), dtype=np.uint8)
    if isinstance(matches, Distances):
        return float(matches.values(metric, everything)[0])
    return float(_READINGS[metric](matches, everything)[0])


def precision(matches: Matches, weights: NDArray[Any]) -> Floats:
    """Interpolated average precision by threshold: [B, T] from weights [B, I]. NaN without ground truth.

    Equal to COCOeval on a data set in which image i stands weights[b, i] times in a row, but for the rounding of
    the mean: copies of a detection follow one another, and the interpolation reads the last of them.
    """
    return _accumulated(matches, weights)[0]


def recall(matches: Matches, weights: NDArray[Any]) -> Floats:
    """Recall over all detections by threshold: [B, T] from weights [B, I]. NaN without ground truth."""
    return _accumulated(matches, weights)[1]


def _accumulated(matches: Matches, weights: NDArray[Any]) -> tuple[Floats, Floats]:
    order = np.argsort(-matches.dt_score, kind="stable")
    counted = ~matches.dt_ignored[:, order]
    hits = matches.dt_matched[:, order] & counted
    drawn = weights[:, matches.dt_image[order]].astype(np.float64)
    expected = weights.astype(np.float64) @ matches.gt_count.astype(np.float64)
    seen = np.cumsum(drawn, axis=1)
    shape = (len(weights), len(matches.thresholds))
    precisions, recalls = np.zeros(shape), np.zeros(shape)
    for t in range(shape[1]):
        # Only hits raise the recall, and the largest precision to the right of one is at a hit.
        at = np.flatnonzero(hits[t])
        if not len(at):
            continue
        before = seen if counted[t].all() else np.cumsum(drawn * counted[t], axis=1)
        found = np.cumsum(drawn[:, at], axis=1)
        with np.errstate(invalid="ignore"):
            reached = found / expected[:, None]
        exact = found / (before[:, at] + np.spacing(1))
        best_from_here = np.maximum.accumulate(exact[:, ::-1], axis=1)[:, ::-1]
        read_so_far = np.searchsorted(RECALLS, reached.ravel(), side="right").reshape(reached.shape)
        read_here = np.diff(read_so_far, axis=1, prepend=0)
        precisions[:, t] = (best_from_here * read_here).sum(axis=1) / len(RECALLS)
        recalls[:, t] = reached[:, -1]
    precisions[expected == 0] = recalls[expected == 0] = np.nan
    return precisions, recalls


def _reading(curve: Reading, at: float | None) -> Reading:
    """A metric: the mean over the thresholds, or the one threshold `at`."""

    def read_it(matches: Matches, weights: NDArray[Any]) -> Floats:
        levels = np.isclose(matches.thresholds, at) if at is not None else np.ones(len(matches.thresholds), bool)
        kept = Matches(
            matches.image_ids,
            matches.thresholds[levels],
            matches.dt_image,
            matches.dt_score,
            matches.dt_matched[levels],
            matches.dt_ignored[levels],
            matches.gt_count,
            matches.epoch,
            matches.predictions_sha256,
        )
        metric: Floats = curve(kept, weights).mean(axis=1)
        return metric

    return read_it


_READINGS: Final[dict[str, Reading]] = {
    "coco/AP": _reading(precision, None),
    "coco/AP50": _reading(precision, 0.5),
    "coco/AP75": _reading(precision, 0.75),
    "coco/AR": _reading(recall, None),
    "coco/AR50": _reading(recall, 0.5),
    "coco/AR75": _reading(recall, 0.75),
}
METRICS: Final = tuple(_READINGS)
"""The metrics that saved matches can rebuild. Those by area would need matches of their own."""
REBUILT: Final = (*METRICS, *distances.METRICS)
"""The metrics that what a validation left can rebuild."""
