"""The instances of a data set as a frame for programs and notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from posestudy_reports.coco_annotations import Annotated, UnreadableAnnotationsError
from posestudy_reports.dataset_analysis import LARGE, SMALL, annotated, beyond_image, has_box, is_labelled, splits_of
from posestudy_studies.spec import Dataset

if TYPE_CHECKING:
    import pandas as pd

    from posestudy_reports.material import Material

COLUMNS: Final[dict[str, str]] = {
    "split": "train, val or test",
    "image_id": "as the annotations have it",
    "file_name": "of the image, relative to the images of the split",
    "annotation_id": "as the annotations have it",
    "crowd": "whether it is a crowd, which neither training nor this analysis counts",
    "left": "left edge of the box, px",
    "top": "top edge of the box, px",
    "width": "of the box, px",
    "height": "of the box, px",
    "has_box": "whether the box has an area and a part on the image",
    "size_px": "square root of the box's area; missing without a box",
    "relative_size": "size_px over the square root of the image's area; missing without a box",
    "area": "as the annotation states it, else the box's, px^2",
    "area_class": "small, medium or large to COCO (below 32^2, below 96^2, from there on)",
    "labelled": "keypoints with a label",
    "visible": "those of them that are visible (COCO's 2)",
    "hidden": "those of them that are hidden (COCO's 1); of data that do not tell, everything that is labelled",
    "outside": "labelled keypoints outside the image",
    "farthest_px": "how far the farthest of them is from the image, px; 0 where none is",
}
"""The columns of `instances`."""


def instances(dataset: Dataset) -> pd.DataFrame:
    """One row per annotated instance, crowds included, in order of the splits and of the annotation ids.

    Raises:
        PoseStudyError: the keypoint layout is not known, or the annotations of a split cannot be read.
    """
    import pandas as pd

    from posestudy.errors import PoseStudyError

    frames = []
    for name, split in splits_of(dataset).items():
        try:
            of = annotated(dataset, split)
        except (OSError, UnreadableAnnotationsError) as error:
            raise PoseStudyError(f"cannot read the annotations of {name}: {error}") from error
        frames.append(pd.DataFrame(_columns(name, of), columns=list(COLUMNS)))
    return pd.concat(frames, ignore_index=True)


def study_instances(material: Material) -> pd.DataFrame:
    """`instances` of the study's data set.

    Raises:
        PoseStudyError: as `instances`, or the study's file is not understood.
    """
    from posestudy.errors import PoseStudyError

    if material.study is None:
        name = material.result.snapshot.study.name
        raise PoseStudyError(f"the file of study '{name}' is not understood, expected one with a data set")
    return instances(material.study.dataset)


def _columns(name: str, of: Annotated) -> dict[str, Any]:
    sizes = of.sizes[of.image_of]
    labelled, boxed = is_labelled(of.keypoints), has_box(of.boxes, sizes)
    beyond = beyond_image(of.keypoints, sizes, labelled)
    side = np.where(boxed, np.sqrt(np.maximum(of.boxes[:, 2] * of.boxes[:, 3], 0.0)), np.nan)
    hidden = labelled & (of.keypoints[:, :, 2] == 1)
    classes = np.array(["small", "medium", "large"], dtype=object)
    return {
        "split": np.full(len(of.ids), name, dtype=object),
        "image_id": of.image_ids[of.image_of],
        "file_name": np.array(of.files, dtype=object)[of.image_of],
        "annotation_id": of.ids,
        "crowd": of.crowd,
        **dict(zip(("left", "top", "width", "height"), of.boxes.T, strict=True)),
        "has_box": boxed,
        "size_px": side,
        "relative_size": side / np.sqrt(np.maximum(sizes.prod(axis=1), 1.0)),
        "area": of.areas,
        "area_class": classes[(of.areas >= SMALL).astype(int) + (of.areas >= LARGE)],
        "labelled": labelled.sum(axis=1),
        "visible": (labelled & ~hidden).sum(axis=1),
        "hidden": hidden.sum(axis=1),
        "outside": (beyond > 0).sum(axis=1),
        "farthest_px": beyond.max(axis=1, initial=0.0),
    }
