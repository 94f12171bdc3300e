"""The instances of a data set as arrays, so that none is copied to make a sample of it."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Info = Mapping[str, Any]


@dataclass(frozen=True)
class Annotations:
    """M instances, in the order of the data set.

    Attributes:
        images: int64 [M], each instance's place among `paths`.
        paths: the image files, each once.
        bboxes: float32 [M, 4], left, top, right, bottom, px.
        bbox_scores: float32 [M].
        keypoints: float32 [M, K, 2], px.
        visible: float32 [M, K].
        described: of each instance the metainfo that no augmentation changes.
    """

    images: np.ndarray
    paths: tuple[str, ...]
    bboxes: np.ndarray
    bbox_scores: np.ndarray
    keypoints: np.ndarray
    visible: np.ndarray
    described: tuple[Described, ...]


@dataclass(frozen=True, slots=True)
class Described:
    """The fixed metainfo of one instance, which all its samples share: an annotation may hold polygons.

    Attributes:
        metainfo: not to be changed.
    """

    metainfo: Mapping[str, Any]

    @property
    def keys(self) -> Collection[str]:
        """Of the metainfo, in their order."""
        return self.metainfo.keys()

    def read(self) -> dict[str, Any]:
        """The metainfo, to keep and to change; most epochs never look at it."""
        return copy.deepcopy(dict(self.metainfo))


def tabulated(infos: Sequence[Info], common: Mapping[str, Any], keys: Sequence[str]) -> Annotations:
    """Of MMPose's data infos, at least one, each of one instance.

    Args:
        infos: as `BaseCocoStyleDataset.get_data_info` gives them.
        common: metainfo that all instances share.
        keys: of the metainfo to keep, where there is any.
    """
    places: dict[str, int] = {}
    images = [places.setdefault(str(info["img_path"]), len(places)) for info in infos]
    wanted = [{key: info[key] for key in keys if key in info} for info in infos]
    shared = {key: common[key] for key in keys if key in common}
    return Annotations(
        images=np.array(images, np.int64),
        paths=tuple(places),
        bboxes=np.concatenate([info["bbox"] for info in infos]),
        bbox_scores=np.concatenate([info["bbox_score"] for info in infos]),
        keypoints=np.concatenate([info["keypoints"] for info in infos]),
        visible=np.concatenate([info["keypoints_visible"] for info in infos]),
        described=tuple(Described({**own, **shared}) for own in wanted),
    )
