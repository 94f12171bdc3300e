"""What errors are looked for in: the predictions of two cells and the ground truth, where both are still there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posestudy.ledger.records import TrialRecord
from posestudy_reports import coco_annotations, detections, keypoint_scores, words
from posestudy_reports.addressed import Number, Text, said
from posestudy_reports.cell_numbers import address
from posestudy_reports.coco_annotations import Annotated, UnreadableAnnotationsError
from posestudy_reports.coco_matching import average_precision
from posestudy_reports.detections import Detections, UnreadableDetectionsError
from posestudy_reports.error_types import Diagnosis, diagnose, mirrored
from posestudy_reports.keypoint_scores import KeypointScores
from posestudy_reports.material import Material
from posestudy_reports.pairing import Paired, by_annotation, paired
from posestudy_reports.results import CellResult, StageResult, StudyResult
from posestudy_reports.tradeoff import label
from posestudy_studies.evaluation import GROUND_TRUTH
from posestudy_studies.layouts import Layout

Floats = NDArray[np.float64]

_EQUAL: Final = 1e-6


@dataclass(frozen=True)
class Looked:
    """A cell whose errors are looked at, by the predictions of one trial.

    Attributes:
        by_oks: the study is evaluated by OKS; else only distances are looked at.
        sides: [N], the larger side of each instance's box, px.
    """

    stage: StageResult
    cell: CellResult
    trial: TrialRecord
    truth: Annotated
    found: Detections
    layout: Layout
    sides: Floats
    true_boxes: bool
    by_oks: bool

    @property
    def label(self) -> str:
        return label(self.stage, self.cell)

    @property
    def named(self) -> str:
        """The cell in quotation marks with its trial."""
        return f"{words.quoted(self.label)} (trial {self.trial.number})"

    @cached_property
    def sigmas(self) -> Floats:
        return np.array(self.layout.sigmas, dtype=np.float64)

    @cached_property
    def paired(self) -> Paired:
        """By OKS or box; only where `by_oks`."""
        return paired(self.truth, self.found, self.sigmas, true_boxes=self.true_boxes)

    @cached_property
    def points(self) -> Floats:
        """Of each instance's prediction, [N, K, 2], px; NaN where it has none."""
        if self.by_oks:
            return self.paired.points
        of = by_annotation(self.truth, self.found)
        points = np.full(self.truth.keypoints[:, :, :2].shape, np.nan)
        points[of >= 0] = self.found.points[of[of >= 0]]
        return points

    @cached_property
    def diagnosis(self) -> Diagnosis:
        """Only where `by_oks`."""
        places = mirrored(len(self.layout.keypoint_names), self.layout.flip_pairs)
        return diagnose(self.paired, self.layout.sigmas, places, true_boxes=self.true_boxes)

    @cached_property
    def scores(self) -> KeypointScores:
        found = keypoint_scores.keypoint_scores(self.truth, self.points, self.sides)
        if not self.by_oks:
            return found
        ap = keypoint_scores.keypoint_ap(self.truth, self.found, self.sigmas)
        return KeypointScores(found.labelled, found.predicted, found.hits, found.error, ap)

    def number(self, what: str, text: str, value: float, formula: str) -> Number:
        """A number of this cell's errors, with an address `errors/STAGE/CELL/what`."""
        where = f"errors/{address(self.stage, self.cell, what)}"
        return Number(where, text, value, f"{formula}, from the predictions of the last epoch", (self.trial.uid,))


@dataclass(frozen=True)
class Evidence:
    """What there is to look at.

    Attributes:
        best: the study's best cell. baseline: the first stage's baseline; None where it is the best cell itself or
            has no predictions.
        images: folder of the validation images.
    """

    result: StudyResult
    layout: Layout
    truth: Annotated
    images: Path
    best: Looked
    baseline: Looked | None

    @property
    def cells(self) -> tuple[Looked, ...]:
        """The baseline, where there is one, then the best."""
        return (self.best,) if self.baseline is None else (self.baseline, self.best)

    @property
    def rule(self) -> str:
        """Which cells are shown, as a sentence."""
        best = f"the best cell of the study, {self.best.named}"
        if self.baseline is None:
            return f"Shown: {best}."
        return f"Shown: the baseline of the first stage, {self.baseline.named}, and {best}."


def evidence(material: Material) -> Evidence | Text | None:
    """What there is to look at; a sentence where something that should be there is not, None where nothing is."""
    result, study, layout = material.result, material.study, material.layout
    if study is None or layout is None or result.best is None:
        return None
    of_best = _predicted(material, *result.best)
    if of_best is None:
        return None
    by_oks = result.metric.name.startswith("coco/")
    if by_oks and len(layout.sigmas) != len(layout.keypoint_names):
        return None
    root = Path(study.dataset.root)
    file = root / study.dataset.val.annotations
    try:
        truth = coco_annotations.read(file, len(layout.keypoint_names), study.dataset.boxes_from)
        found = detections.read(of_best[1], len(layout.keypoint_names))
    except UnreadableDetectionsError:
        return said(
            "Errors are not looked at: the predictions of trial {number} are damaged.", number=of_best[0].number
        )
    except UnreadableAnnotationsError:
        return Text("Errors are not looked at: the annotations of the validation set cannot be read.")
    except OSError:
        return Text("Errors are not looked at: the annotations of the validation set cannot be found.")

    def looked(stage: StageResult, cell: CellResult, trial: TrialRecord, found: Detections) -> Looked:
        boxes = result.level(cell.cell.config, "evaluation.boxes")
        return Looked(stage, cell, trial, truth, found, layout, sides, boxes in (None, GROUND_TRUTH), by_oks)

    sides = keypoint_scores.larger_sides(truth, study.dataset.boxes_from)
    best = looked(*result.best, of_best[0], found)
    if (problem := _contradiction(result, best)) is not None:
        return problem
    baseline = _baseline(material, result.best[1], len(layout.keypoint_names))
    other = looked(*baseline) if baseline else None
    if other is not None and _contradiction(result, other) is not None:
        other = None
    return Evidence(result, layout, truth, root / study.dataset.val.images, best, other)


def _predicted(material: Material, stage: StageResult, cell: CellResult) -> tuple[TrialRecord, Path] | None:
    """The first completed trial of the cell that has predictions, and their file."""
    del stage
    found = ((trial, material.predictions(trial)) for trial in cell.completed)
    return next(((trial, path) for trial, path in found if path is not None), None)


def _baseline(
    material: Material, best: CellResult, keypoints: int
) -> tuple[StageResult, CellResult, TrialRecord, Detections] | None:
    """The baseline of the first stage that has predictions of another configuration than the best cell's."""
    first = material.result.stages[0]
    if first.baseline is None or first.baseline.cell.key == best.cell.key:
        return None
    predicted = _predicted(material, first, first.baseline)
    if predicted is None:
        return None
    try:
        return first, first.baseline, predicted[0], detections.read(predicted[1], keypoints)
    except (OSError, UnreadableDetectionsError):
        return None


def _contradiction(result: StudyResult, looked: Looked) -> Text | None:
    """A sentence where AP as computed here is not the ledger's: of several categories, or of another evaluation."""
    rows = [v for v in result.values.get(looked.trial.uid, ()) if "coco/AP" in v.metrics]
    if not looked.by_oks or not rows:
        return None
    here, there = average_precision(looked.truth, looked.found, looked.sigmas), rows[-1].metrics["coco/AP"]
    if abs(here - there) <= _EQUAL:
        return None
    return said(
        "Errors are not looked at: the predictions of trial {number} give AP {here} where the ledger holds {there}, so "
        "that the annotations were changed or AP is measured in another way.",
        number=looked.trial.number, here=f"{here:.3f}", there=f"{there:.3f}",
    )  # fmt: skip
