"""The numbers of what a cell does wrong with their addresses: what tables and sentences print of it."""

from __future__ import annotations

from typing import Final

from posestudy.home import safe_part
from posestudy.vocabulary import METRICS
from posestudy_reports import words
from posestudy_reports.addressed import Number
from posestudy_reports.error_evidence import Looked
from posestudy_reports.error_shares import Share
from posestudy_reports.error_types import Kind

_AP: Final = METRICS["coco/AP"]


def share(looked: Looked, of: Share, kind: Kind) -> Number:
    """Percent of the keypoints of a row that are of this kind."""
    what = f"{safe_part(of.group)}/{safe_part(of.label)}/{kind.word}"
    formula = f"share of {kind.word} among the judged keypoints, {of.group} {of.label}, in percent"
    return looked.number(what, percent(of.of(kind)), 100 * of.of(kind), formula)


def change(looked: Looked, baseline: Looked, of: Share, before: Share, kind: Kind) -> Number:
    """Percentage points by which the share of this kind differs from the baseline's."""
    points = 100 * (of.of(kind) - before.of(kind))
    formula = f"share of {kind.word} minus that of {baseline.cell.cell.name}, in percentage points"
    found = looked.number(f"change/{kind.word}", signed(points, 1), points, formula)
    return Number(found.address, found.text, found.value, found.formula, (looked.trial.uid, baseline.trial.uid))


def ap(looked: Looked) -> Number:
    """AP as it is."""
    value = looked.diagnosis.ap
    return looked.number("ap", words.score(value, _AP), value, "AP")


def median_oks(looked: Looked, value: float) -> Number:
    """The median OKS of the instances with a prediction."""
    return looked.number("median_oks", f"{value:.2f}", value, "median OKS of the instances with a prediction")


def instance(looked: Looked, annotation_id: int, value: float) -> Number:
    """How well one instance is predicted: its OKS, or its mean error where the study knows no OKS."""
    what = "oks" if looked.by_oks else "error"
    formula = f"{what} of the prediction of annotation {annotation_id}"
    return looked.number(f"instance/{annotation_id}/{what}", f"{value:.2f}", value, formula)


def gain(looked: Looked, kind: str) -> Number:
    """What AP would gain if all errors of a type (`Diagnosis.gains`) were put right."""
    value = looked.diagnosis.gains[kind]
    return looked.number(f"gain/{kind}", words.difference(value, _AP), value, f"AP with {kind} corrected minus AP")


def corrected(looked: Looked, kind: str) -> Number:
    """AP if all errors of a type were put right."""
    value = looked.diagnosis.ap + looked.diagnosis.gains[kind]
    return looked.number(f"corrected/{kind}", words.score(value, _AP), value, f"AP with {kind} corrected")


def judged(looked: Looked) -> Number:
    """Labelled keypoints that were predicted."""
    value = looked.diagnosis.judged
    return looked.number("judged", f"{value:,}", value, "labelled keypoints of instances with a prediction")


def keypoint_ap(looked: Looked, keypoint: int) -> Number | None:
    """AP of one keypoint; None where it is never labelled."""
    values = looked.scores.ap
    if values is None or not values[keypoint] >= 0:  # NaN is not
        return None
    name = looked.layout.keypoint_names[keypoint]
    value = float(values[keypoint])
    formula = f"AP over OKS 0.50 to 0.95 as if only {name} were labelled"
    return looked.number(f"keypoint/{keypoint}/ap", words.score(value, _AP), value, formula)


def keypoint_pck(looked: Looked, keypoint: int, threshold: float) -> Number | None:
    """PCK of one keypoint; None where it is never labelled."""
    value = float(looked.scores.pck(threshold)[keypoint])
    if not value >= 0:
        return None
    name = looked.layout.keypoint_names[keypoint]
    formula = f"share of labelled {name} within {threshold:g} of the larger side of the box"
    return looked.number(f"keypoint/{keypoint}/pck_{threshold:g}", f"{value:.3f}", value, formula)


def keypoint_error(looked: Looked, keypoint: int) -> Number | None:
    """Mean distance of one keypoint in larger sides of the box; None where it was never predicted."""
    value = float(looked.scores.error[keypoint])
    if not value >= 0:
        return None
    name = looked.layout.keypoint_names[keypoint]
    formula = f"mean distance of {name} in larger sides of the box"
    return looked.number(f"keypoint/{keypoint}/error", f"{value:.4f}", value, formula)


def percent(value: float) -> str:
    """A share in percent, one decimal, without the sign of percent."""
    return f"{100 * value:.1f}"


def signed(value: float, decimals: int) -> str:
    """With its sign; what rounds to zero has none."""
    text = f"{value:+.{decimals}f}"
    return text[1:] if float(text) == 0 else text.replace("-", words.MINUS)
