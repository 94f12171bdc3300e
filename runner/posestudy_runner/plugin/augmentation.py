"""Augmentations that MMPose 1.x lacks, or does otherwise than 0.x did; all draw from numpy's global generator."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmpose.datasets.transforms import Albumentation
from mmpose.registry import TRANSFORMS

from posestudy.errors import MissingPieceError, PoseStudyError, nearest
from posestudy_runner.plugin.data_path.colours import ColourChange

Results = dict[str, Any]


@TRANSFORMS.register_module()
class RandomBBoxTranslation(BaseTransform):
    """Shift the box by a uniform share of its size, as 0.x's TopDownRandomTranslation; 1.x has no twin.

    1.x's RandomBBoxTransform draws its shift from a truncated normal, and a second one would overwrite the rotation
    of the first.

    Args:
        factor: the largest shift in x and in y, a share of `bbox_scale` (which includes the padding), 0 or above.
        prob: probability per instance, 0 to 1.
    """

    def __init__(self, factor: float = 0.15, prob: float = 1.0) -> None:
        self.factor = factor
        self.prob = prob

    def transform(self, results: Results) -> Results:
        """Move `bbox_center`, float [N, 2] px, by up to `factor` of `bbox_scale`, float [N, 2] px."""
        results["bbox_center"] = results["bbox_center"] + self.draw(results["bbox_scale"])
        return results

    def draw(self, scale: np.ndarray) -> np.ndarray:
        """The shifts, float32 [N, 2] px, of boxes of `scale`, float [N, 2] px, from the next random numbers."""
        count = len(scale)
        drawn = np.random.uniform(-1, 1, size=(count, 2)) * (np.random.rand(count, 1) < self.prob)
        shift: np.ndarray = (self.factor * drawn * scale).astype(np.float32)
        return shift


@TRANSFORMS.register_module()
class PhotometricDistortionV0(BaseTransform):
    """Photometric distortion as MMPose 0.x did it.

    1.x's PhotometricDistortion swaps colour channels, applies contrast twice or never, and lets a hue below 0 or
    above 180 run over; here channels stay, contrast is applied once and hue is cyclic. Brightness and contrast each
    happen with probability 1/2, saturation and hue with 1/2, independently; contrast comes before or after the
    others with equal chance.

    Args:
        brightness_delta: largest change of brightness, 0 to 255.
        contrast_range, saturation_range: (lowest, highest) factor, 0 or above.
        hue_delta: largest change of hue in OpenCV's units of 2 degrees, 0 to 90.
    """

    def __init__(
        self,
        brightness_delta: int = 32,
        contrast_range: Sequence[float] = (0.5, 1.5),
        saturation_range: Sequence[float] = (0.5, 1.5),
        hue_delta: int = 18,
    ) -> None:
        self.brightness_delta = brightness_delta
        self.contrast_range = (contrast_range[0], contrast_range[1])
        self.saturation_range = (saturation_range[0], saturation_range[1])
        self.hue_delta = hue_delta

    def transform(self, results: Results) -> Results:
        """Change the colours of `img`, uint8 [H, W, 3] BGR."""
        results["img"] = self.draw().apply(results["img"])
        return results

    def draw(self) -> ColourChange:
        """The change of one image, from the next random numbers."""
        brightness, contrast, contrast_first, saturation, hue = np.random.rand(5) < 0.5
        # Drawn whether it is used or not, so that the numbers after it stay the same.
        factor = np.random.uniform(*self.contrast_range)
        return ColourChange(
            brightness=np.random.uniform(-self.brightness_delta, self.brightness_delta) if brightness else None,
            contrast=factor if contrast else None,
            contrast_first=bool(contrast_first),
            saturation=np.random.uniform(*self.saturation_range) if saturation else None,
            hue=int(np.random.randint(-self.hue_delta, self.hue_delta + 1)) if hue else None,
        )


@TRANSFORMS.register_module()
class SeededAlbumentation(Albumentation):
    """MMPose's `Albumentation` whose random numbers follow numpy's global generator.

    Albumentations draws from generators of its own, seeded by the operating system, so that the stock transform
    gives other images after a resume or with another number of data-loading processes.

    Raises:
        MissingPieceError: the package albumentations is not installed.
        PoseStudyError: it has no transform of that name, or not with these arguments.
    """

    def __init__(self, transforms: list[dict[str, Any]]) -> None:
        try:
            self._package = importlib.import_module("albumentations")
        except ImportError as error:
            raise MissingPieceError(
                "augmentation.albumentations needs the package albumentations, which is not installed; "
                "run `pip install albumentations`"
            ) from error
        super().__init__(transforms)

    def albu_builder(self, cfg: dict[str, Any]) -> Any:
        """The transform that `cfg` describes, `{type: NAME, **arguments}`; OneOf and the like hold further ones."""
        arguments = dict(cfg)
        name = arguments.pop("type")
        known = [word for word in dir(self._package) if word[:1].isupper()]
        if name not in known:
            raise PoseStudyError(f"albumentations has no transform {name!r}; {nearest(name, known)}".rstrip("; "))
        if "transforms" in arguments:
            arguments["transforms"] = [self.albu_builder(step) for step in arguments["transforms"]]
        try:
            return getattr(self._package, name)(**arguments)
        except (TypeError, ValueError) as error:
            raise PoseStudyError(f"albumentations does not take {name} with {arguments}: {error}") from error

    def transform(self, results: Results) -> Results:
        """Change `img`, uint8 [H, W, 3] BGR."""
        self.aug.set_random_seed(int(np.random.randint(2**31)))
        changed: Results = super().transform(results)
        return changed
