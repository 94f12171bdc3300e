"""How trained networks are looked at: what a study says, and what a cell changes of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, Strict

from posestudy_studies.fields import Model, Probability, inside_root, refuse

GROUND_TRUTH = "ground_truth"


def _boxes(value: str) -> str:
    if value == GROUND_TRUTH:
        return value
    # MMPose reads a file of detections by the ending of its name, and .pkl runs what is in it.
    if not value.endswith(".json"):
        raise refuse(repr(value), "ground_truth, or a COCO detection file whose name ends with .json")
    return inside_root(value)


Boxes = Annotated[str, AfterValidator(_boxes)]
ScoreMode = Literal["bbox", "bbox_keypoint", "bbox_rle"]
NmsMode = Literal["oks_nms", "soft_oks_nms", "none"]
NmeKeypoints = Annotated[tuple[str | int, str | int], Strict(False)]


class Evaluation(Model):
    """How trained cells are looked at; the options of MMPose's evaluators and its test-time flip."""

    boxes: Boxes = Field(GROUND_TRUTH, description="`ground_truth`, or a COCO detection file relative to dataset.root.")
    flip_test: bool = Field(True, description="Average the heatmaps of the image and of its mirror image.")
    shift_heatmap: bool = Field(True, description="Shift the mirrored heatmap by one pixel before averaging.")
    score_mode: ScoreMode = Field(
        "bbox_keypoint", description="How an instance's score is made from its box and keypoint scores."
    )
    keypoint_score_thr: Probability = Field(0.2, description="Keypoints below this are left out of the score.")
    nms_mode: NmsMode = Field("oks_nms", description="Suppression of double detections.")
    nms_thr: Probability = Field(0.9, description="OKS above which two detections are the same.")
    nme_keypoints: NmeKeypoints | None = Field(
        None,
        description="nme: the two keypoints, by name or index, whose distance in the ground truth errors are divided "
        "by; null: MMPose's, for wflw, 300w, cofw, lapa, coco_wholebody_face and horse10.",
    )
    pck_thr: Probability = Field(
        0.2, description="pck: a keypoint is right within this share of the box's longer side."
    )
    submission: bool = Field(
        False, description="Also predict dataset.test with the best weights and keep the COCO results: a hand-in file."
    )
    test_boxes: Boxes = Field(
        GROUND_TRUTH, description="Boxes of the test split: its own, or a COCO detection file relative to dataset.root."
    )

    def changed(self, change: EvaluationChange) -> Evaluation:
        """This with what `change` says otherwise."""
        return self.model_copy(update=change.given())


class EvaluationChange(Model):
    """What a cell evaluates otherwise than the study says: its keys, each null where it is as the study says.

    Cells that differ in nothing else are trained once.
    """

    boxes: Boxes | None = Field(None, description="As evaluation.boxes.")
    flip_test: bool | None = Field(None, description="As evaluation.flip_test.")
    shift_heatmap: bool | None = Field(None, description="As evaluation.shift_heatmap.")
    score_mode: ScoreMode | None = Field(None, description="As evaluation.score_mode.")
    keypoint_score_thr: Probability | None = Field(None, description="As evaluation.keypoint_score_thr.")
    nms_mode: NmsMode | None = Field(None, description="As evaluation.nms_mode.")
    nms_thr: Probability | None = Field(None, description="As evaluation.nms_thr.")
    nme_keypoints: NmeKeypoints | None = Field(None, description="As evaluation.nme_keypoints.")
    pck_thr: Probability | None = Field(None, description="As evaluation.pck_thr.")
    submission: bool | None = Field(None, description="As evaluation.submission.")
    test_boxes: Boxes | None = Field(None, description="As evaluation.test_boxes.")

    def given(self) -> dict[str, object]:
        """The keys that are not as the study says."""
        return {name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None}
