"""Tables of a data set: its splits, its keypoints, and what is odd in it."""

from __future__ import annotations

from collections.abc import Sequence

from posestudy.home import safe_part
from posestudy_reports import dataset_numbers as numbers
from posestudy_reports import words
from posestudy_reports.addressed import Number, Text, joined
from posestudy_reports.dataset_analysis import DatasetAnalysis, SplitAnalysis
from posestudy_reports.dataset_figures import names
from posestudy_reports.tables import Column, Entry, Row, Table
from posestudy_studies.layouts import Layout

MOST_ROWS = 40
"""Keypoints that have a table."""


def split_table(analysis: DatasetAnalysis) -> Table:
    """A row a split: images, instances, box sizes, labelled keypoints."""
    columns = (
        Column("split", "Split"),
        Column("images", "Images", "right"),
        Column("instances", "Instances", "right"),
        Column("per_image", "Per image", "right"),
        Column("box_size", "Box size [px]", "right", "box_size_quartiles"),
        Column("labelled", "Labelled [%]", "right"),
    )
    remarks = (
        "Box size: the median of the square roots of the areas, below it the middle half. Labelled: the share of "
        "keypoints with a label, of the instances that have any.",
    )
    rows = tuple(_row([_size_of(split) if c is None else c for c in _split(split)]) for split in analysis.splits)
    caption = "The data set: images, instances, box sizes and labels of its splits."
    return Table("dataset_splits", "Splits", columns, rows, (), remarks, True, caption, priority=15)


def _split(split: SplitAnalysis) -> list[Entry | None]:
    return [
        Entry(split.name),
        _entry(numbers.images(split)),
        _entry(numbers.instances(split)),
        _entry(numbers.per_image(split)),
        None,
        _entry(numbers.labelled(split)),
    ]


def _size_of(split: SplitAnalysis) -> Entry:
    median, low, high = (numbers.size(split, what) for what in ("median", "quarter", "three_quarters"))
    if median is None or low is None or high is None:
        return Entry(words.DASH)
    return Entry(Text(median), joined([low, high], words.DASH))


def _entry(number: Number | None) -> Entry:
    return Entry(words.DASH if number is None else Text(number))


def _row(entries: Sequence[Entry]) -> Row:
    return Row(tuple(entries), (), ())


def keypoint_table(analysis: DatasetAnalysis, layout: Layout) -> Table | None:
    """A row a keypoint, with the counts of each split; None where there are too many or none is labelled."""
    known = [split for split in analysis.splits if split.labelled]
    if not known or len(layout.keypoint_names) > MOST_ROWS:
        return None
    kinds = ("visible", "hidden", "unlabelled") if analysis.tells_hidden else ("labelled", "unlabelled")
    said = {"unlabelled": "no label"}
    columns = [Column("keypoint", "Keypoint")]
    columns += [
        Column(f"{s.name}_{k}", f"{s.name.capitalize()} {said.get(k, k)}", "right") for s in known for k in kinds
    ]
    rows = []
    for k, name in enumerate(names(layout)):
        entries = [Entry(name)]
        for split in known:
            for kind in kinds:
                where = f"{split.name}/{k}_{safe_part(name)}/{kind}"
                formula = f"instances of the {numbers.NAMES[split.name]} split with keypoint {k} {kind}"
                entries.append(Entry(Text(numbers.count(where, int(getattr(split.labels[k], kind)), formula))))
        rows.append(_row(entries))
    caption = "How many instances have each keypoint labelled, of those with any label."
    return Table(
        "dataset_keypoints", "Labels by keypoint", tuple(columns), tuple(rows), (), (), True, caption, priority=85
    )


_ODD = {
    "crowds": "Crowds, left out of all other numbers",
    "empty": "Images without an instance",
    "bare": "Instances without a labelled keypoint",
    "boxless": "Boxes without area or outside their image",
    "outside": "Labelled keypoints outside their image",
    "outside_instances": "Instances with such a keypoint",
}
_ODD_IMAGES = {
    "missing": "Images without a file",
    "unreadable": "Images that cannot be decoded",
    "other_size": "Images of another size than stated",
}


def odd_table(analysis: DatasetAnalysis) -> Table | None:
    """A row for everything that deserves a look, with its count in each split; None where there is nothing."""
    found: list[Row] = []
    for what, said in _ODD.items():
        values = {s.name: int(getattr(s, what)) for s in analysis.splits if what != "bare" or s.labelled}
        found += _counted(analysis, what, said, values)
    looked = analysis.images
    for what, said in _ODD_IMAGES.items() if looked else ():
        values = {s.name: int(getattr(s, what)) for s in looked.splits} if looked else {}
        found += _counted(analysis, what, said, values)
    for first in analysis.splits:
        shared = [s for s in (looked.shared if looked else ()) if s.first == first.name]
        for inside in (True, False):
            values = {s.second: s.images for s in shared if (s.second == s.first) == inside}
            said = f"Images that are in {first.name} too"
            if inside:
                said = f"Images that are in {first.name} already"
            found += _counted(analysis, f"also_in_{first.name}", said, values)
    if not found:
        return None
    columns = (Column("what", "What"), *(Column(s.name, s.name.capitalize(), "right") for s in analysis.splits))
    caption = "What deserves a look in the data set, counted by split."
    return Table("dataset_odd", "Odd data", columns, tuple(found), (), (), False, caption, priority=75)


def _counted(analysis: DatasetAnalysis, what: str, said: str, values: dict[str, int]) -> list[Row]:
    if not any(values.values()):
        return []
    entries = [Entry(said)]
    for split in analysis.splits:
        value = values.get(split.name)
        number = None if value is None else numbers.count(f"{split.name}/{what}", value, f"{said}, {split.name}")
        entries.append(_entry(number))
    return [_row(entries)]
