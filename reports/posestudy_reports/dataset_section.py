"""The sections of a report on its data set: what its annotations hold, and its images."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

from posestudy.errors import PoseStudyError
from posestudy.home import Home
from posestudy_reports import dataset_figures as figures
from posestudy_reports import dataset_sentences as sentences
from posestudy_reports import dataset_tables as tables
from posestudy_reports.dataset_analysis import MOST_SIZES, DatasetAnalysis, sides
from posestudy_reports.dataset_cache import Known, known
from posestudy_reports.dataset_twins import twins_picture
from posestudy_reports.material import Material
from posestudy_reports.sections import Chart, Picture, Section
from posestudy_studies import layouts
from posestudy_studies.layouts import Layout
from posestudy_studies.spec import Dataset


def sections(material: Material) -> tuple[Section, ...]:
    """None where the study's file is not understood, or neither the data nor what was once found of it is there."""
    if material.study is None or material.layout is None:
        return ()
    return of_dataset(material.study.dataset, material.home)


def of_dataset(dataset: Dataset, home: Home | None, *, anew: bool = False) -> tuple[Section, ...]:
    """The same of a data set without a study; `anew` as in `dataset_cache.known`."""
    try:
        found, layout = known(dataset, home, anew=anew), layouts.layout(dataset.keypoints)
    except PoseStudyError:
        return ()
    if found is None:
        return ()
    return (
        _annotations(found, layout),
        *(section for section in (_images(dataset, found.analysis),) if section.texts),
    )


def _annotations(found: Known, layout: Layout) -> Section:
    analysis = found.analysis
    texts = (*sentences.state(found), *sentences.of_annotations(analysis, layout))
    shown = [tables.split_table(analysis), tables.odd_table(analysis), tables.keypoint_table(analysis, layout)]
    charts = [*_overview(analysis, layout), *_splits(analysis, layout), *_boxes(analysis), *_instances(analysis)]
    return Section("dataset", "Data set", tuple(charts), texts, tuple(table for table in shown if table))


def _overview(analysis: DatasetAnalysis, layout: Layout) -> tuple[Chart, ...]:
    if analysis.pose is None:
        return ()
    sided = set(sides(layout.keypoint_names)) > {""}
    if figures.says_visibility(analysis):
        hidden = "visible, hidden or not labelled" if analysis.tells_hidden else "labelled or not"
        left = f"how often each keypoint is {hidden}, of the instances with any label"
    else:
        left = "sizes of the boxes, the square root of their area; every keypoint is labelled everywhere"
    colours = " Blue: left, orange: right." if sided else ""
    caption = (
        f"Left: {left}. Right: the mean place of each keypoint in its box, the dashed outline, with an ellipse of one "
        f"standard deviation.{colours}"
    )
    return (
        _chart("dataset_overview", "Keypoints of the data set", caption, figures.overview_figure, 40, analysis, layout),
    )


def _splits(analysis: DatasetAnalysis, layout: Layout) -> tuple[Chart, ...]:
    known = [split for split in analysis.splits if split.labelled]
    if len(known) < 2 or not any(label.unlabelled for label in analysis.labels):
        return ()
    caption = "The share of instances with each keypoint labelled, by split, of those with any label."
    return (_chart("dataset_labels", "Labels by split", caption, figures.splits_figure, 75, analysis, layout),)


def _boxes(analysis: DatasetAnalysis) -> tuple[Chart, ...]:
    if not any(split.sizes for split in analysis.splits):
        return ()
    caption = (
        "Sizes of the boxes, the square root of their area, in px and relative to the image, as shares of the boxes of "
        "a split; what is larger than its image counts in the last bin."
    )
    if analysis.by_area:
        caption += " Dotted: COCO's bounds at 32 and 96 px, as far as they are within."
    return (_chart("dataset_boxes", "Box sizes", caption, figures.boxes_figure, 70, analysis),)


def _instances(analysis: DatasetAnalysis) -> tuple[Chart, ...]:
    told = [
        what
        for what, differs in zip(
            ("instances in an image", "labelled keypoints of an instance"),
            figures.instances_panels(analysis),
            strict=True,
        )
        if differs
    ]
    if not told:
        return ()
    caption = f"Numbers of {' and of '.join(told)}, by split."
    return (_chart("dataset_instances", "Instances", caption, figures.instances_figure, 72, analysis),)


def _images(dataset: Dataset, analysis: DatasetAnalysis) -> Section:
    charts: tuple[Chart | Picture, ...] = ()
    if figures.has_images_figure(analysis):
        parts = []
        if any(split.different_sizes > 1 for split in analysis.splits):
            about = "width and height of the images, larger marks for sizes that many have"
            sampled = any(split.images > MOST_SIZES for split in analysis.splits)
            parts.append(f"{about}, of at most {MOST_SIZES} evenly chosen ones of a split" if sampled else about)
        if analysis.images and any(split.colours for split in analysis.images.splits):
            parts.append("how often each value of red, green and blue occurs, where 1 is the brightest")
        caption = f"{'; '.join(parts)}."
        caption = caption[:1].upper() + caption[1:]
        charts = (_chart("dataset_images", "Images of the data set", caption, figures.images_figure, 74, analysis),)
    twins = twins_picture(dataset, analysis)
    charts += (twins,) if twins else ()
    return Section("dataset_images", "Images of the data set", charts, sentences.of_images(analysis))


def _chart(name: str, title: str, caption: str, make: Callable[..., bytes], priority: int, *given: object) -> Chart:
    return Chart(name, title, caption, cache(partial(make, *given)), None, wide=False, priority=priority)
