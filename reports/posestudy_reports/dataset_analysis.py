"""The numbers that describe a data set: what its annotations and its images hold, split by split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posestudy_reports import coco_annotations
from posestudy_reports.coco_annotations import Annotated
from posestudy_reports.dataset_images import Files, ImageAnalysis, analyse_images
from posestudy_studies import layouts
from posestudy_studies.layouts import BoxFrom
from posestudy_studies.spec import Dataset, Split

Floats = NDArray[np.float64]

SMALL, LARGE = 32.0**2, 96.0**2
"""COCO's bounds between small, medium and large areas, px^2."""
SIZES_PER_OCTAVE: Final = 4
SIZE_BINS: Final = 14 * SIZES_PER_OCTAVE
"""Box sizes are counted in bins from 1 px to 2^14 px, of a quarter of an octave each."""
RELATIVE_BINS: Final = 20
"""Box sizes in parts of their image's, in bins of 0.05; what is larger than the image is in the last one."""
_EXAMPLES: Final = 5
MOST_SIZES: Final = 300
"""Images of a split whose sizes are drawn, at most."""


@dataclass(frozen=True)
class Quartiles:
    """The smallest value, the quarter, half and three quarter points, and the largest."""

    low: float
    quarter: float
    median: float
    three_quarters: float
    high: float

    @classmethod
    def of(cls, values: Floats) -> Quartiles | None:
        """None where there is no value."""
        if not len(values):
            return None
        return cls(*(float(v) for v in np.quantile(values, (0, 0.25, 0.5, 0.75, 1))))


@dataclass(frozen=True)
class Labels:
    """How often a keypoint has each visibility among the instances with any label; `outside`: beyond its image."""

    visible: int
    hidden: int
    unlabelled: int
    outside: int

    @property
    def labelled(self) -> int:
        return self.visible + self.hidden

    @property
    def all(self) -> int:
        return self.labelled + self.unlabelled


@dataclass(frozen=True)
class Outlier:
    """A labelled keypoint outside its image: `distance` px from the nearest point of the image."""

    annotation: int
    keypoint: int
    image: str
    distance: float


@dataclass(frozen=True)
class SplitAnalysis:
    """What the annotations of a split hold. Crowds (COCO's `iscrowd`) are counted and left out of all else.

    Attributes:
        name: train, val or test.
        images, instances, crowds: how many.
        bare: instances without a labelled keypoint. empty: images without an instance.
        per_image: how many images have how many instances, as pairs (instances, images).
        sizes: of the boxes that have an area: its square root, px. relative: the same in parts of the image's.
        size_bins, relative_bins: how many boxes are in each bin.
        areas: instances that are small, medium and large to COCO, by the area that is stated, else by the box.
        boxless: boxes without area, or wholly outside of their image. boxless_ids: a few annotation ids of them.
        labels: by keypoint; of instances with any label.
        per_instance: how many instances have 0, 1, ... K labelled keypoints.
        outside_instances: with a labelled keypoint outside their image.
        outliers: the farthest of these keypoints.
        widths, heights, ratios: of the images, as their annotations state them, px and width over height.
        image_sizes: (width, height, images) of at most `MOST_SIZES` evenly chosen images. different_sizes: of all.
    """

    name: str
    images: int
    instances: int
    crowds: int
    bare: int
    empty: int
    per_image: tuple[tuple[int, int], ...]
    sizes: Quartiles | None
    relative: Quartiles | None
    size_bins: tuple[int, ...]
    relative_bins: tuple[int, ...]
    areas: tuple[int, int, int]
    boxless: int
    boxless_ids: tuple[int, ...]
    labels: tuple[Labels, ...]
    per_instance: tuple[int, ...]
    outside_instances: int
    outliers: tuple[Outlier, ...]
    widths: Quartiles | None
    heights: Quartiles | None
    ratios: Quartiles | None
    image_sizes: tuple[tuple[int, int, int], ...]
    different_sizes: int

    @property
    def labelled(self) -> bool:
        """Whether it has any ground truth; a test split may hold boxes alone."""
        return self.bare < self.instances

    @property
    def outside(self) -> int:
        return sum(label.outside for label in self.labels)


@dataclass(frozen=True)
class Pose:
    """The labelled keypoints of all splits in their boxes: (0, 0) is a box's left top, (1, 1) its right bottom.

    Attributes:
        instances: with a labelled keypoint and a box of some area.
        ratio: median height of a box over its width.
        counts: [K]. means: [K] (x, y). covariances: [K] (xx, xy, yy); zero where a keypoint has no label.
    """

    instances: int
    ratio: float
    counts: tuple[int, ...]
    means: tuple[tuple[float, float], ...]
    covariances: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class DatasetAnalysis:
    """What a data set holds.

    Attributes:
        fingerprint: as `posestudy_studies.dataset.fingerprint` gives it; empty where an image or a file is missing.
        images: what the image files hold; None where no file was there.
        unreadable: splits whose annotations could not be read.
        box_from: what of an annotation its box is made of.
    """

    fingerprint: str
    splits: tuple[SplitAnalysis, ...]
    pose: Pose | None
    images: ImageAnalysis | None
    unreadable: tuple[str, ...]
    box_from: BoxFrom

    @property
    def by_area(self) -> bool:
        """Whether COCO's classes of area mean something: not where all boxes are squares around a face."""
        return self.box_from == "bbox"

    @property
    def labels(self) -> tuple[Labels, ...]:
        """By keypoint, over all splits."""
        return tuple(
            Labels(*(sum(getattr(x, of) for x in every) for of in ("visible", "hidden", "unlabelled", "outside")))
            for every in zip(*(split.labels for split in self.splits if split.labelled), strict=True)
        )

    @property
    def tells_hidden(self) -> bool:
        """Whether the annotations tell hidden keypoints from visible ones; many know only labelled ones."""
        labels = self.labels
        return any(x.visible for x in labels) and any(x.hidden for x in labels)


def splits_of(dataset: Dataset) -> dict[str, Split]:
    """The splits by name, in order."""
    splits = {"train": dataset.train, "val": dataset.val}
    return splits | {"test": dataset.test} if dataset.test else splits


def annotated(dataset: Dataset, split: Split) -> Annotated:
    """The annotations of a split.

    Raises:
        PoseStudyError: the keypoint layout is not known.
        OSError, UnreadableAnnotationsError: as `coco_annotations.read`.
    """
    count = len(layouts.layout(dataset.keypoints).keypoint_names)
    return coco_annotations.read(Path(dataset.root) / split.annotations, count, dataset.boxes_from)


def analyse(dataset: Dataset) -> DatasetAnalysis:
    """Read the annotations and the images of a data set. A split whose annotations are no such file is left out.

    Raises:
        PoseStudyError: the keypoint layout is not known.
    """
    found: dict[str, Annotated] = {}
    unreadable = []
    splits = splits_of(dataset)
    for name, split in splits.items():
        try:
            found[name] = annotated(dataset, split)
        except (OSError, coco_annotations.UnreadableAnnotationsError):
            unreadable.append(name)
    files = {
        name: Files(Path(dataset.root) / splits[name].images, of.files, of.sizes)
        for name, of in found.items()
        if (Path(dataset.root) / splits[name].images).is_dir()
    }
    return DatasetAnalysis(
        _fingerprint(dataset),
        tuple(split_analysis(name, of) for name, of in found.items()),
        pose(tuple(found.values())),
        analyse_images(files) if files else None,
        tuple(unreadable),
        dataset.boxes_from,
    )


def _fingerprint(dataset: Dataset) -> str:
    from posestudy.errors import PoseStudyError
    from posestudy_studies.dataset import fingerprint

    try:
        return fingerprint(dataset)
    except PoseStudyError:
        return ""


def split_analysis(name: str, of: Annotated) -> SplitAnalysis:
    """What the annotations of one split hold."""
    kept = ~of.crowd
    keypoints, boxes, image_of, ids = of.keypoints[kept], of.boxes[kept], of.image_of[kept], of.ids[kept]
    labelled, sizes = is_labelled(keypoints), of.sizes[image_of]
    boxed = has_box(boxes, sizes)
    side = np.sqrt(boxes[boxed, 2] * boxes[boxed, 3])
    of_image = np.sqrt(np.maximum(sizes[boxed].prod(axis=1), 1.0))
    per_image = np.bincount(image_of, minlength=len(of.image_ids))
    beyond = beyond_image(keypoints, sizes, labelled)
    known = labelled.any(axis=1)
    areas = of.areas[kept]
    return SplitAnalysis(
        name=name,
        images=len(of.image_ids),
        instances=int(kept.sum()),
        crowds=int(of.crowd.sum()),
        bare=int((~known).sum()),
        empty=int((per_image == 0).sum()),
        per_image=_counted(per_image),
        sizes=Quartiles.of(side),
        relative=Quartiles.of(side / of_image),
        size_bins=_bins(np.log2(np.maximum(side, 1.0)) * SIZES_PER_OCTAVE, SIZE_BINS),
        relative_bins=_bins(side / of_image * RELATIVE_BINS, RELATIVE_BINS),
        areas=(
            int((areas < SMALL).sum()), int(((areas >= SMALL) & (areas < LARGE)).sum()), int((areas >= LARGE).sum()),
        ),
        boxless=int((~boxed).sum()),
        boxless_ids=tuple(int(i) for i in ids[~boxed][:_EXAMPLES]),
        labels=_labels(keypoints[known], labelled[known], beyond[known] > 0),
        per_instance=_histogram(labelled.sum(axis=1), labelled.shape[1] + 1),
        outside_instances=int((beyond > 0).any(axis=1).sum()),
        outliers=_outliers(of, ids, image_of, beyond),
        widths=Quartiles.of(of.sizes[:, 0]),
        heights=Quartiles.of(of.sizes[:, 1]),
        ratios=Quartiles.of(of.sizes[:, 0] / np.maximum(of.sizes[:, 1], 1.0)),
        image_sizes=_image_sizes(of.sizes),
        different_sizes=len(np.unique(of.sizes, axis=0)),
    )  # fmt: skip


def is_labelled(keypoints: Floats) -> NDArray[np.bool_]:
    """[N, K]: stated as labelled, at a place that is one."""
    found: NDArray[np.bool_] = (keypoints[:, :, 2] > 0) & np.isfinite(keypoints).all(axis=2)
    return found


def has_box(boxes: Floats, sizes: Floats) -> NDArray[np.bool_]:
    """[N]: of some area, and at least in part on the image."""
    left, top, width, height = boxes.T
    inside = (left < sizes[:, 0]) & (top < sizes[:, 1]) & (left + width > 0) & (top + height > 0)
    found: NDArray[np.bool_] = (width > 0) & (height > 0) & inside & np.isfinite(boxes).all(axis=1)
    return found


def beyond_image(keypoints: Floats, sizes: Floats, labelled: NDArray[np.bool_]) -> Floats:
    """[N, K]: how far, px, a labelled keypoint lies from its image; 0 on it, its edges included."""
    places = np.where(labelled[:, :, None], keypoints[:, :, :2], 0.0)
    off = np.maximum(np.maximum(-places, places - sizes[:, None, :]), 0.0)
    found: Floats = np.hypot(off[:, :, 0], off[:, :, 1])
    return found


def _labels(keypoints: Floats, labelled: NDArray[np.bool_], outside: NDArray[np.bool_]) -> tuple[Labels, ...]:
    visible, hidden = labelled & (keypoints[:, :, 2] != 1), labelled & (keypoints[:, :, 2] == 1)
    columns = (part.sum(axis=0) for part in (visible, hidden, ~labelled, outside))
    return tuple(Labels(*(int(n) for n in row)) for row in zip(*columns, strict=True))


def _outliers(
    of: Annotated, ids: NDArray[np.int64], image_of: NDArray[np.int64], beyond: Floats
) -> tuple[Outlier, ...]:
    instance, keypoint = np.nonzero(beyond)
    order = np.lexsort((keypoint, instance, -beyond[instance, keypoint]))[:_EXAMPLES]
    return tuple(
        Outlier(int(ids[i]), int(k), of.files[image_of[i]], float(beyond[i, k]))
        for i, k in zip(instance[order], keypoint[order], strict=True)
    )


def _counted(values: NDArray[np.int64]) -> tuple[tuple[int, int], ...]:
    found, counts = np.unique(values, return_counts=True)
    return tuple((int(v), int(n)) for v, n in zip(found, counts, strict=True))


def _bins(places: Floats, bins: int) -> tuple[int, ...]:
    return _histogram(np.clip(places, 0, bins - 1).astype(np.int64), bins)


def _histogram(values: NDArray[np.int64], bins: int) -> tuple[int, ...]:
    return tuple(int(n) for n in np.bincount(values, minlength=bins))


def _image_sizes(sizes: Floats) -> tuple[tuple[int, int, int], ...]:
    count = min(len(sizes), MOST_SIZES)
    chosen = sizes[np.arange(count) * len(sizes) // max(1, count)]
    found, counts = np.unique(chosen, axis=0, return_counts=True)
    return tuple((int(width), int(height), int(n)) for (width, height), n in zip(found, counts, strict=True))


def pose(splits: Sequence[Annotated]) -> Pose | None:
    """The mean place of each keypoint in its box, over all labelled ones; None where there is none."""
    places, labelled, ratios = [], [], []
    for of in splits:
        marks = is_labelled(of.keypoints)
        kept = ~of.crowd & has_box(of.boxes, of.sizes[of.image_of]) & marks.any(axis=1)
        boxes = of.boxes[kept][:, None, :]
        marks = marks[kept]
        where = np.where(marks[:, :, None], of.keypoints[kept][:, :, :2], 0.0)
        places.append((where - boxes[:, :, :2]) / boxes[:, :, 2:])
        labelled.append(marks)
        ratios.append(of.boxes[kept, 3] / of.boxes[kept, 2])
    if not any(len(part) for part in places):
        return None
    every, marks = np.concatenate(places), np.concatenate(labelled)
    counts = marks.sum(axis=0)
    divisor = np.maximum(counts, 1)[:, None]
    means = np.where(marks[:, :, None], every, 0.0).sum(axis=0) / divisor
    off = np.where(marks[:, :, None], every - means, 0.0)
    spread = (
        np.stack([(off[:, :, a] * off[:, :, b]).sum(axis=0) for a, b in ((0, 0), (0, 1), (1, 1))], axis=1) / divisor
    )
    return Pose(
        len(every),
        float(np.median(np.concatenate(ratios))),
        tuple(int(n) for n in counts),
        tuple((float(x), float(y)) for x, y in means),
        tuple((float(a), float(b), float(c)) for a, b, c in spread),
    )


def sides(names: Sequence[str]) -> tuple[str, ...]:
    """`left`, `right` or empty for each keypoint, as far as its name tells: `left_eye`, `L_Eye`, `eye_r`."""
    words = {"left": "left", "l": "left", "right": "right", "r": "right"}
    parts = [name.lower().replace("-", "_").replace(" ", "_").split("_") for name in names]
    return tuple(next((words[p] for p in (name[0], name[-1]) if p in words), "") for name in parts)
