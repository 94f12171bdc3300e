"""MMPose's evaluators for a study's metric, and whether the study's keypoints and boxes can be measured so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from posestudy.errors import PoseStudyError, nearest
from posestudy.vocabulary import METRICS
from posestudy_studies import factors
from posestudy_studies.designs.search import OUTCOMES, Search
from posestudy_studies.evaluation import GROUND_TRUTH, EvaluationChange
from posestudy_studies.layouts import Layout, layout
from posestudy_studies.mistakes import Mistake

if TYPE_CHECKING:
    from posestudy_studies.evaluation import Evaluation
    from posestudy_studies.spec import Study

Config = dict[str, Any]

NME_KEYPOINTS = {
    "horse10": (0, 1),
    "300w": (36, 45),
    "coco_wholebody_face": (36, 45),
    "cofw": (8, 9),
    "wflw": (60, 72),
    "lapa": (66, 79),
}
"""By the name of a data set, the keypoints whose distance MMPose's NME is normalised by: mostly outer eye corners."""


def evaluators(metric: str, evaluation: Evaluation, keypoints: Layout, annotations: str) -> Config | list[Config]:
    """What measures `metric` on a validation split: CocoMetric for coco/*, else all of NME, PCK, AUC and EPE.

    NME is among the latter where its pair of keypoints is known. Distances need the ground truth of every box.

    Args:
        metric: the study's, under its ledger name.
        evaluation: how the cell is evaluated.
        keypoints: the study's layout.
        annotations: path of the split's annotation file.

    Raises:
        PoseStudyError: the metric cannot be measured with these keypoints and boxes.
    """
    for where, found, expected, hint in _complaints(metric, evaluation, keypoints):
        raise PoseStudyError(f"{where}: found {found}, expected {expected}" + (f" ({hint})" if hint else ""))
    if metric.startswith("coco/"):
        return {**_coco(evaluation), "ann_file": annotations}
    pair = nme_pair(evaluation, keypoints)
    nme = {"type": "LabelledNME", "norm_mode": "keypoint_distance", "keypoint_indices": pair}
    return [
        *([nme] if pair is not None else []),
        {"type": "PCKAccuracy", "thr": evaluation.pck_thr, "norm_item": "bbox"},
        {"type": "AUC"},
        {"type": "EPE"},
    ]


def handed_in(evaluation: Evaluation, keypoints: Layout, prefix: str) -> Config:
    """What writes the predictions of a test split without ground truth, as COCO results, to files named `prefix`."""
    # Detections of the same instance are told apart by OKS, which needs sigmas.
    without = {} if keypoints.sigmas else {"nms_mode": "none"}
    return {**_coco(evaluation), **without, "format_only": True, "outfile_prefix": prefix}


def nme_pair(evaluation: Evaluation, keypoints: Layout) -> tuple[int, int] | None:
    """Indices of the two keypoints by whose distance NME is normalised; None where nobody says which.

    Raises:
        ValueError: the evaluation names a keypoint that the layout does not have.
    """
    declared = evaluation.nme_keypoints
    if declared is None:
        return NME_KEYPOINTS.get(keypoints.name)
    return _index(declared[0], keypoints.keypoint_names), _index(declared[1], keypoints.keypoint_names)


def mistakes(study: Study) -> list[Mistake]:
    """What forbids measuring the study's metric, or what its evaluations ask for, each at the key that is wrong."""
    keypoints = layout(study.dataset.keypoints)
    found = [
        Mistake(tuple(where.split(".")), what, expected, hint)
        for where, what, expected, hint in _of(study, study.baseline.evaluated(study.evaluation), keypoints)
    ]
    told = {(mistake.path, mistake.found) for mistake in found}
    for i, stage in enumerate(study.stages):
        for probe in stage.probes():
            if not _looks(probe.levels):
                continue
            for where, what, expected, hint in _of(study, _changed(study, probe.levels), keypoints):
                # What the study says already is told there.
                if (tuple(where.split(".")), what) not in told:
                    place = probe.places.get(where) or probe.places.get("evaluation") or probe.path
                    found.append(Mistake(("stages", i, *place), what, expected, hint))
    return list(dict.fromkeys(found)) or list(_objectives(study, keypoints))


def _objectives(study: Study, keypoints: Layout) -> Iterator[Mistake]:
    """Second objectives that the evaluators of the study's metric do not measure."""
    measured = [m for m in METRICS if m.startswith("coco/") == study.metric.startswith("coco/")]
    if nme_pair(study.baseline.evaluated(study.evaluation), keypoints) is None:
        measured = [m for m in measured if m != "nme"]
    for i, stage in enumerate(study.stages):
        second = stage.objectives[1:] if isinstance(stage, Search) else []
        for name in second:
            if name in METRICS and name not in measured:
                others = ", ".join([*(m for m in measured if m != study.metric), *OUTCOMES])
                expected = f"what is measured in a study of {study.metric}: {others}"
                yield Mistake(("stages", i, "objectives", 1), repr(name), expected)


def evaluations(study: Study) -> Iterator[Evaluation]:
    """How the study looks at its cells: at its baseline, and as each level changes that."""
    yield _changed(study, {})
    for stage in study.stages:
        for probe in stage.probes():
            if _looks(probe.levels):
                yield _changed(study, probe.levels)


def _looks(levels: Mapping[str, Any]) -> bool:
    return any(factor.partition(".")[0] == "evaluation" for factor in levels)


def _changed(study: Study, levels: Mapping[str, Any]) -> Evaluation:
    """The evaluation of a cell that sets `levels` on the baseline."""
    config = {"evaluation": study.baseline.evaluation.model_dump(mode="json")}
    factors.put_all(config, {f: level for f, level in levels.items() if f.partition(".")[0] == "evaluation"})
    return study.evaluation.changed(EvaluationChange.model_validate(config["evaluation"]))


def _of(study: Study, evaluation: Evaluation, keypoints: Layout) -> Iterator[tuple[str, str, str, str]]:
    """Where, what was found, what was expected, and a hint."""
    yield from _complaints(study.metric, evaluation, keypoints)
    if evaluation.submission and study.dataset.test is None:
        hint = "what is handed in are the predictions of that split"
        yield "evaluation.submission", "true without dataset.test", "dataset.test, which is predicted", hint


def _coco(evaluation: Evaluation) -> Config:
    return {
        "type": "CocoMetric",
        "score_mode": evaluation.score_mode,
        "keypoint_score_thr": evaluation.keypoint_score_thr,
        "nms_mode": evaluation.nms_mode,
        "nms_thr": evaluation.nms_thr,
    }


def _complaints(metric: str, evaluation: Evaluation, keypoints: Layout) -> Iterator[tuple[str, str, str, str]]:
    """Where, what was found, what was expected, and a hint."""
    names = keypoints.keypoint_names
    for point in evaluation.nme_keypoints or ():
        try:
            _index(point, names)
        except ValueError:
            known = f"a keypoint of {keypoints.name}: {_some(names)}, or an index from 0 to {len(names) - 1}"
            yield "evaluation.nme_keypoints", repr(point), known, nearest(str(point), names)
            return
    if metric.startswith("coco/"):
        if not keypoints.sigmas:
            hint = "it has no sigmas, without which there is no OKS and no AP"
            yield "metric", f"{metric} with keypoints {keypoints.name}", "nme, epe, pck or auc", hint
        return
    pair = nme_pair(evaluation, keypoints)
    if metric == "nme" and pair is None:
        expected = "evaluation.nme_keypoints: [A, B], the two keypoints whose distance the errors are divided by"
        yield "metric", f"nme with keypoints {keypoints.name}", expected, f"known for {', '.join(NME_KEYPOINTS)}"
    if pair is not None and pair[0] == pair[1]:
        yield "evaluation.nme_keypoints", f"{names[pair[0]]} twice", "two keypoints", ""
    if evaluation.boxes != GROUND_TRUTH:
        hint = "a detection has no true keypoints to measure a distance to; coco/* metrics match them"
        yield "evaluation.boxes", f"{evaluation.boxes!r} with metric {metric}", GROUND_TRUTH, hint


def _index(point: str | int, names: Sequence[str]) -> int:
    if isinstance(point, str):
        return names.index(point)
    if not 0 <= point < len(names):
        raise ValueError(point)
    return point


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
