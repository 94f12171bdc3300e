"""The sections of a report on what the model does wrong: errors, and failures in pictures."""

from __future__ import annotations

from functools import cache, partial

from posestudy_reports import error_figures, error_numbers, error_tables, failures, keypoint_figure
from posestudy_reports.addressed import joined, listed, said
from posestudy_reports.error_evidence import Evidence, evidence
from posestudy_reports.error_sentences import sentences
from posestudy_reports.error_shares import by_group, by_keypoint, classes_said
from posestudy_reports.material import Material
from posestudy_reports.oks_histogram import OksHistogram, oks_histogram
from posestudy_reports.sections import Chart, Section

TITLE = "What the model does wrong"
_TYPES = (
    "good from a similarity of 0.85 to its true place on, jitter from 0.5 on; else inversion near the mirrored "
    "keypoint of the same instance, swap near the keypoint of another instance, miss near none"
)


def sections(material: Material) -> tuple[Section, ...]:
    """`errors` and `failures`; none where a study has no predictions, one with a sentence where the truth is gone."""
    found = evidence(material)
    if found is None:
        return ()
    if isinstance(found, str):
        return (Section("errors", TITLE, texts=(found,)),)
    tables = [error_tables.keypoint_table(found)]
    if found.best.by_oks and found.best.diagnosis.judged:
        tables.insert(0, error_tables.type_table(found))
    errors = Section("errors", TITLE, _charts(found), sentences(found), tuple(tables))
    return (errors, *failures.sections(found))


def _charts(found: Evidence) -> tuple[Chart, ...]:
    charts = _by_oks(found) if found.best.by_oks and found.best.diagnosis.judged else ()
    return (*charts, *_keypoints(found))


def _by_oks(found: Evidence) -> tuple[Chart, ...]:
    best, labels = found.best, tuple(looked.label for looked in found.cells)
    rows, groups = by_keypoint(best.diagnosis, found.layout.keypoint_names), by_group(best.diagnosis)
    fewer = len(rows) < int((best.scores.labelled > 0).sum())
    worst = f" The {len(rows)} keypoints with the fewest good ones." if fewer else ""
    given = error_figures.gains(
        labels, [looked.diagnosis.gains for looked in found.cells], [looked.diagnosis.ap for looked in found.cells]
    )
    now = joined(
        [said("{label} {ap}", label=looked.label, ap=error_numbers.ap(looked)) for looked in found.cells], ", "
    )
    charts = [
        Chart(
            "errors_by_keypoint",
            "Error types by keypoint",
            f"Error types (Ronchi and Perona 2017) by keypoint, of the best cell of the study, {best.named}: {_TYPES}."
            f"{worst}",
            cache(partial(error_figures.shares_figure, rows)),
            partial(error_figures.shares_plotly, rows),
            wide=False,
            priority=35,
        ),
        Chart(
            "error_gains",
            "AP given back",
            said(
                "What AP would gain if all errors of a type were put right, nothing else. {rule} AP as it is: {now}.",
                rule=found.rule,
                now=now,
            ),
            cache(partial(error_figures.gains_figure, given)),
            None,
            wide=False,
            priority=40,
        ),
    ]
    if len(groups) > 1:
        charts.append(
            Chart(
                "errors_by_group",
                "Error types by size and visibility",
                f"Error types by size of the instance and visibility of the keypoint, of the best cell of the study, "
                f"{best.named}. {classes_said(groups)}".rstrip(),
                cache(partial(error_figures.shares_figure, groups)),
                None,
                wide=False,
                priority=55,
            )
        )
    missed = tuple(len(looked.paired.missed) for looked in found.cells)
    histogram = oks_histogram(labels, tuple(looked.paired.oks for looked in found.cells), missed)
    if histogram is not None:
        charts.append(_histogram(found, histogram))
    return tuple(charts)


def _histogram(found: Evidence, histogram: OksHistogram) -> Chart:
    medians = listed([error_numbers.median_oks(*pair) for pair in zip(found.cells, histogram.medians, strict=True)])
    lines = "Dashed and dotted: the medians" if len(histogram.medians) > 1 else "Dotted: the median"
    missed = " Instances without a prediction are not in it." if any(histogram.missed) else ""
    caption = said(
        "Instances of the validation set by the OKS of their prediction. {rule} {lines}, {medians}.{missed}",
        rule=found.rule,
        lines=lines,
        medians=medians,
        missed=missed,
    )
    vector = cache(partial(error_figures.histogram_figure, histogram))
    return Chart("oks_histogram", "Instances by OKS", caption, vector, None, wide=False, priority=50)


def _keypoints(found: Evidence) -> tuple[Chart, ...]:
    labels = [looked.label for looked in found.cells]
    chart = keypoint_figure.keypoint_chart(found.layout.keypoint_names, labels, [c.scores for c in found.cells])
    if not chart.names:
        return ()
    first = (
        "AP of each keypoint as if only it were labelled" if found.best.by_oks
        else "Mean error of each keypoint in larger sides of the box"
    )  # fmt: skip
    worst = f" The {len(chart.names)} keypoints that the best cell finds worst." if chart.more else ""
    caption = (
        f"{first}, and the share found within a tenth of the larger side of the box (PCK@0.1). {found.rule}{worst}"
    )
    vector = cache(partial(keypoint_figure.keypoint_figure, chart))
    plotly = partial(keypoint_figure.keypoint_plotly, chart)
    return (Chart("keypoint_scores", "Scores of the keypoints", caption, vector, plotly, wide=False, priority=45),)
