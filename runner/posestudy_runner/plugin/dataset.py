"""A COCO-keypoint data set that finds its keypoints described in the config, so that none needs a class of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import cv2
import numpy as np
from mmpose.datasets.datasets.base import BaseCocoStyleDataset
from mmpose.registry import DATASETS

from posestudy.errors import PoseStudyError, UnreadableImageError

SCALE_PX = 200.0
"""Pixels of the unit in which MPII, and the face data sets after it, give the scale of a box."""


@DATASETS.register_module()
class KeypointDataset(BaseCocoStyleDataset):
    """`BaseCocoStyleDataset` with its keypoint description given inline.

    Args:
        metainfo: MMPose's `dataset_info` as a dict (`dataset_name`, `keypoint_info`, `skeleton_info`,
            `joint_weights`, `sigmas`), or `{"from_file": path}`.
        keep_unlabelled: whether instances without a visible keypoint stay, as a test split without ground truth
            needs; the stock data set drops them.
        box_from: what of an annotation the box is made of: `bbox`, cut at the image's edges, or `center_scale`, the
            square of 200 x `scale` px around `center`, as MMPose's classes for WFLW, 300W, 300VW and AFLW take it.
        **options: as `BaseCocoStyleDataset`'s.
    """

    def __init__(
        self, *, keep_unlabelled: bool = False, box_from: Literal["bbox", "center_scale"] = "bbox", **options: Any
    ) -> None:
        self.keep_unlabelled = keep_unlabelled
        self.box_from = box_from
        super().__init__(**options)

    @classmethod
    def _load_metainfo(cls, metainfo: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """MMPose's parsed form of `metainfo`; its numbered tables may have string keys, as JSON gives them."""
        described = dict(metainfo or {})
        for table in ("keypoint_info", "skeleton_info"):
            if table in described:
                rows = sorted((int(number), row) for number, row in described[table].items())
                described[table] = dict(rows)
        parsed: dict[str, Any] = super()._load_metainfo(described)
        return parsed

    def load_data_list(self) -> list[dict[str, Any]]:
        """The instances to train or test on.

        Raises:
            PoseStudyError: the annotation file has none.
        """
        instances: list[dict[str, Any]] = super().load_data_list()
        if not instances:
            raise PoseStudyError(
                f"annotation file {self.ann_file} has no usable instance; expected at least one with a box of some area"
                + ("" if self.keep_unlabelled else " and a visible keypoint")
            )
        return instances

    def parse_data_info(self, raw_data_info: dict[str, Any]) -> dict[str, Any] | None:
        """One instance of the annotation file, with zeroed keypoints where unlabelled ones are kept."""
        annotation = raw_data_info["raw_ann_info"]
        if self.keep_unlabelled and not annotation.get("keypoints"):
            annotation["keypoints"] = [0] * (3 * self._metainfo["num_keypoints"])
            annotation["num_keypoints"] = 0
        square = self._square(annotation) if self.box_from == "center_scale" else None
        if square is not None:
            left, top, right, bottom = square
            annotation["bbox"] = [left, top, right - left, bottom - top]
        parsed: dict[str, Any] | None = super().parse_data_info(raw_data_info)
        if parsed is not None and square is not None:
            # The stock data set cuts a box at the image's edges.
            parsed["bbox"] = np.array([square], dtype=np.float32)
        return parsed

    def _square(self, annotation: Mapping[str, Any]) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the box around `center`, px.

        Raises:
            PoseStudyError: the annotation does not have both.
        """
        try:
            (x, y), half = annotation["center"], SCALE_PX * annotation["scale"] / 2
            return x - half, y - half, x + half, y + half
        except (KeyError, TypeError, ValueError) as error:
            raise PoseStudyError(
                f"annotation {annotation.get('id')} of {self.ann_file} has no center [x, y] and scale, a number; "
                "expected both, or `dataset.box_from: bbox`"
            ) from error

    def _get_topdown_data_infos(self, instance_list: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if not self.keep_unlabelled:
            infos: list[dict[str, Any]] = super()._get_topdown_data_infos(instance_list)
            return infos
        return [info for info in instance_list if np.all(info["bbox"][0, 2:] > info["bbox"][0, :2])]

    def prepare_data(self, idx: int) -> Any:
        """The sample at `idx`, through the pipeline.

        Raises:
            UnreadableImageError: its image is missing or does not decode.
        """
        try:
            return super().prepare_data(idx)
        except Exception as error:
            unreadable = explained(str(self.get_data_info(idx)["img_path"]), error)
            if unreadable is None:
                raise
            raise unreadable from error


def explained(path: str, error: Exception) -> UnreadableImageError | None:
    """What to say instead of `error` where the image at `path` is to blame for it; None where it is not."""
    if _is_readable(path):
        return None
    return UnreadableImageError(
        f"image {path} cannot be read ({error}); expected a whole JPEG or PNG file; "
        "replace it, or take its annotations out of the file that names it"
    )


def _is_readable(path: str) -> bool:
    try:
        return cv2.imread(path) is not None
    except cv2.error:  # as of an image of more pixels than OpenCV takes
        return False
