"""Augmentations of one instance that draw the numbers MMPose's transforms would draw, and cost little else.

Each step reads its settings off the stock transform it stands for, draws from the same global generators in the same
order, and computes in the same order and precision. What the stock transforms do to the whole image is only noted here;
`warping` and `colours` do it to the part that the network sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from mmpose.datasets.transforms import RandomBBoxTransform, RandomFlip, RandomHalfBody
from scipy.special import ndtr, ndtri

from posestudy.errors import PoseStudyError
from posestudy_runner.plugin.augmentation import PhotometricDistortionV0, RandomBBoxTranslation, SeededAlbumentation
from posestudy_runner.plugin.data_path.colours import ColourChange

HORIZONTAL = "horizontal"


@dataclass(slots=True)
class Instance:
    """One instance on its way through the augmentations.

    A step exchanges the arrays and never writes into them: they may be rows of the data set's own.

    Attributes:
        image: uint8 [H, W, 3] BGR, not written to.
        bbox: float32 [1, 4] left, top, right, bottom, px of the image.
        keypoints: float32 [1, K, 2] x and y, px of the image.
        visible: float32 [1, K], 0 or 1.
        center, scale: float [1, 2] of the padded box, px of the image.
        shape: height and width of the image as it was read, px.
        rotation: of the box, degrees.
        flipped: the instance is a mirror image.
        mirrored: `image` is still to be mirrored.
        colours: `image` is still to be changed in this way.
    """

    image: np.ndarray
    bbox: np.ndarray
    keypoints: np.ndarray
    visible: np.ndarray
    center: np.ndarray
    scale: np.ndarray
    shape: tuple[int, int]
    rotation: float | np.floating = 0.0
    flipped: bool = False
    mirrored: bool = False
    colours: ColourChange | None = None


class Step(Protocol):
    """One augmentation."""

    def __call__(self, instance: Instance) -> None:
        """Draw, and change `instance` in place."""


class Flip:
    """MMPose's RandomFlip, horizontally.

    Args:
        transform: the stock transform, whose one direction is horizontal.
        flip_indices: [K], the keypoint that each becomes in the mirror.
    """

    def __init__(self, transform: RandomFlip, flip_indices: Sequence[int]) -> None:
        # `np.random.choice` compares one uniform number with the cumulated, normalised probabilities.
        shares = np.cumsum([transform.prob, 1.0 - transform.prob])
        self._threshold = float((shares / shares[-1])[0])
        self._swapped = np.asarray(flip_indices)

    def __call__(self, instance: Instance) -> None:
        instance.flipped = bool(np.random.random_sample() < self._threshold)
        if not instance.flipped:
            return
        width = instance.shape[1]
        instance.mirrored = True
        instance.center = instance.center.copy()
        instance.center[:, 0] = width - instance.center[:, 0] - 1
        bbox = instance.bbox.copy()
        bbox[:, ::2] = width - instance.bbox[:, -2::-2] - 1
        instance.bbox = bbox
        instance.visible = instance.visible.take(self._swapped, axis=1)
        instance.keypoints = instance.keypoints.take(self._swapped, axis=1)
        instance.keypoints[..., 0] = width - 1 - instance.keypoints[..., 0]


class HalfBody:
    """MMPose's RandomHalfBody.

    Args:
        transform: the stock transform.
        upper, lower: the keypoints of either half of the body.
    """

    def __init__(self, transform: RandomHalfBody, upper: Sequence[int], lower: Sequence[int]) -> None:
        # MMCV copies the transform whenever one of these is looked up.
        self._select, self._box_of = transform._random_select_half_body, transform._get_half_body_bbox
        self._upper, self._lower = list(upper), list(lower)

    def __call__(self, instance: Instance) -> None:
        chosen = self._select(instance.visible, self._upper, self._lower)[0]
        if chosen is not None:
            center, scale = self._box_of(instance.keypoints[0], chosen)
            instance.center, instance.scale = center[None], scale[None]


class BoxTransform:
    """MMPose's RandomBBoxTransform: a shift, a scaling and a rotation of the box."""

    def __init__(self, transform: RandomBBoxTransform) -> None:
        self._transform = transform
        lowest, highest = transform.scale_factor
        self._scale_mean = (highest + lowest) * 0.5
        self._scale_spread = (highest - lowest) * 0.5

    def __call__(self, instance: Instance) -> None:
        stock = self._transform
        drawn = truncated_normal(np.random.random_sample((1, 4))).astype(np.float32)
        shifts, scales, rotates = np.random.random_sample(3) < (stock.shift_prob, stock.scale_prob, stock.rotate_prob)
        if shifts:
            instance.center = instance.center + drawn[:, :2] * stock.shift_factor * instance.scale
        if scales:
            instance.scale = instance.scale * (drawn[:, 2:3] * self._scale_spread + self._scale_mean)
        instance.rotation = drawn[0, 3] * stock.rotate_factor if rotates else np.float32(0)


def truncated_normal(uniform: np.ndarray) -> np.ndarray:
    """Normal deviates cut at -1 and 1, float64, from uniform numbers in [0, 1): `scipy.stats.truncnorm.rvs`."""
    deviates: np.ndarray = ndtri(_BELOW + uniform * _WITHIN)
    return deviates


_BELOW = ndtr(-1.0)
_WITHIN = ndtr(1.0) - ndtr(-1.0)


class BoxTranslation:
    """RandomBBoxTranslation: a uniform shift of the box."""

    def __init__(self, transform: RandomBBoxTranslation) -> None:
        self._transform = transform

    def __call__(self, instance: Instance) -> None:
        instance.center = instance.center + self._transform.draw(instance.scale)


class Colours:
    """PhotometricDistortionV0, which changes each pixel by itself, so that it may wait until the image is cut."""

    def __init__(self, transform: PhotometricDistortionV0) -> None:
        self._transform = transform

    def __call__(self, instance: Instance) -> None:
        instance.colours = self._transform.draw()


class WholeImage:
    """SeededAlbumentation, which may look at a pixel's surroundings and so needs the image as it stands.

    Its own numbers are seeded by one of numpy's.
    """

    def __init__(self, transform: SeededAlbumentation) -> None:
        self._transform = transform

    def __call__(self, instance: Instance) -> None:
        image = instance.image
        if instance.mirrored:
            image, instance.mirrored = cv2.flip(image, 1), False
        if instance.colours is not None:
            image, instance.colours = instance.colours.apply(image), None
        # Albumentations may work in place; the image may be the cache's.
        given = image.copy() if image is instance.image else image
        changed = self._transform.transform({"img": given})["img"]
        if changed.dtype != np.uint8 or changed.ndim != 3 or changed.shape[2] != 3:
            raise PoseStudyError(
                f"augmentation.albumentations gives an image of {changed.dtype}, shape {changed.shape}; expected three "
                "channels of uint8, or `data_path: stock`"
            )
        instance.image = changed
