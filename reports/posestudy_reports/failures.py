"""Failure cases: which predictions are shown over the ground truth, by stated rules and never by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posestudy_reports import error_numbers, failure_page, failure_pictures, words
from posestudy_reports.addressed import Number, Text, listed, said
from posestudy_reports.error_evidence import Evidence, Looked
from posestudy_reports.failure_pictures import Case, Group
from posestudy_reports.gallery import jpeg
from posestudy_reports.sections import Picture, Section

Floats = NDArray[np.float64]

TITLE: Final = "Failure cases"
RIGHT_FROM: Final = 0.5
"""The OKS from which on a prediction is called right: the least that AP looks at."""
_IN_PRINT: Final = {"worst": 6, "better": 3, "worse": 3}


def sections(found: Evidence) -> tuple[Section, ...]:
    """One section, or none where no image can be read or nothing fails."""
    chosen = groups(found)
    if not chosen:
        return ()
    read = failure_pictures.Images(found)
    pictures = []
    for group in chosen:
        sheet = failure_pictures.sheet(found, group, read, _IN_PRINT[group.name])
        if sheet is not None:
            drawn, cases = sheet
            data = jpeg(drawn)
            about = caption(found, group, cases)
            pictures.append(Picture(f"failures_{group.name}", group.title, about, data, drawn.size, priority=45))
    if not pictures:
        return (Section("failures", TITLE, texts=("The validation images cannot be found or cannot be read.",)),)
    page = partial(failure_page.page, found, chosen, read)
    return (Section("failures", TITLE, tuple(pictures), _changed(found), interactive=page),)


def _changed(found: Evidence) -> tuple[Text, ...]:
    """How many instances became right and how many wrong from the baseline to the best cell."""
    best, baseline = found.best, found.baseline
    if baseline is None or not best.by_oks:
        return ()
    scores, before = instance_scores(best), instance_scores(baseline)
    both = np.isfinite(scores) & np.isfinite(before)
    now, then = scores >= RIGHT_FROM, before >= RIGHT_FROM

    def number(what: str, mask: NDArray[np.bool_], formula: str) -> Number:
        value = int((mask & both).sum())
        made = best.number(what, f"{value:,}", value, f"{formula} of {baseline.cell.cell.name}")
        return replace(made, uids=(best.trial.uid, baseline.trial.uid))

    text = said(
        "Of {all} instances that the baseline and the best cell both predicted, {better} are wrong by the baseline and "
        "right by the best cell, {worse} the reverse; right is an OKS of 0.5 or more.",
        all=number("changed/both", both, "instances with a prediction, also"),
        better=number("changed/better", now & ~then, "instances from OKS 0.5 on, below 0.5 in the predictions"),
        worse=number("changed/worse", then & ~now, "instances below OKS 0.5, from 0.5 on in the predictions"),
    )
    return (text,)


def groups(found: Evidence) -> tuple[Group, ...]:
    """The kinds of failure that occur: worst, baseline wrong and best right, the reverse; each by its rule."""
    best, baseline = found.best, found.baseline
    scores = instance_scores(best)
    first = f"lowest OKS of {best.named}" if best.by_oks else f"largest mean error of {best.named}"
    order = _ordered(scores if best.by_oks else -scores, found)
    made = [Group("worst", "Worst predictions", f"The {first}, the worst first", _cases(found, order, scores, None))]
    if baseline is not None and best.by_oks:
        before = instance_scores(baseline)
        for name, title, rule, change, mine in (
            (
                "better", "Baseline wrong, best right",
                f"Instances that {baseline.named} has below OKS {RIGHT_FROM:g} and {best.named} has not",
                before - scores, (before < RIGHT_FROM) & (scores >= RIGHT_FROM),
            ),
            (
                "worse", "Baseline right, best wrong",
                f"Instances that {best.named} has below OKS {RIGHT_FROM:g} and {baseline.named} has not",
                scores - before, (before >= RIGHT_FROM) & (scores < RIGHT_FROM),
            ),
        ):  # fmt: skip
            order = _ordered(np.where(mine, change, np.nan), found)
            chosen = f"{rule}, the largest change of OKS first"
            made.append(Group(name, title, chosen, _cases(found, order, scores, before)))
    return tuple(group for group in made if group.cases)


def instance_scores(looked: Looked) -> Floats:
    """OKS of each instance's prediction [N], or its mean error in larger sides of the box; NaN where there is none."""
    if looked.by_oks:
        return looked.paired.oks
    truth = looked.truth
    off = np.linalg.norm(looked.points - truth.keypoints[:, :, :2], axis=2)
    known = truth.labelled & np.isfinite(off)
    counts = known.sum(axis=1)
    mean = np.where(known, off, 0.0).sum(axis=1) / np.where(counts, counts, np.nan)
    relative: Floats = mean / np.where(looked.sides > 0, looked.sides, np.nan)
    return relative


def _ordered(scores: Floats, found: Evidence) -> list[int]:
    """Indices of the instances by score, the smallest first, of equal ones the smaller annotation id; no NaN."""
    order = np.lexsort((found.truth.ids, np.round(scores, 9)))
    return [int(i) for i in order if np.isfinite(scores[i])]


def _cases(found: Evidence, order: Sequence[int], scores: Floats, before: Floats | None) -> tuple[Case, ...]:
    truth = found.truth
    return tuple(
        Case(
            n,
            int(truth.ids[n]),
            int(truth.image_ids[truth.image_of[n]]),
            truth.files[truth.image_of[n]],
            float(scores[n]),
            None if before is None else float(before[n]),
        )
        for n in order
    )


def caption(found: Evidence, group: Group, shown: Sequence[Case]) -> str:
    """What the contact sheet shows, in sentences, with the ids of its images."""
    what = "OKS" if found.best.by_oks else "mean error in larger sides of the box"
    number = f"{len(shown)} of {len(group.cases)}" if len(shown) < len(group.cases) else f"{len(shown)}"
    cases = [
        said("({letter}) {name}, {scores}", letter=failure_pictures.letter(i), name=_named(found, case),
             scores=_scores(found, case))
        for i, case in enumerate(shown)
    ]  # fmt: skip
    two = " Above the baseline, below the best cell." if group.compared else ""
    return said(
        "{title}. {rule} ({number}). Truth: green circles; prediction: orange-red crosses.{two} {what}: {cases}.",
        title=group.title,
        rule=group.rule,
        number=number,
        two=two,
        what=what,
        cases=listed(cases),
    )


def _named(found: Evidence, case: Case) -> str:
    """The image, and the annotation where it has several."""
    image = found.truth.image_of[case.instance]
    several = np.count_nonzero(found.truth.image_of == image) > 1
    return f"image {case.image_id}{f' (annotation {case.annotation_id})' if several else ''}"


def _scores(found: Evidence, case: Case) -> str:
    now = error_numbers.instance(found.best, case.annotation_id, case.score)
    if case.before is None or found.baseline is None:
        return Text(now)
    before = error_numbers.instance(found.baseline, case.annotation_id, case.before)
    return Text(before, f" {words.ARROW} ", now)
