"""The numbers of a data set with their addresses: what its sentences and tables print."""

from __future__ import annotations

from posestudy_reports import words
from posestudy_reports.addressed import Number, Text
from posestudy_reports.dataset_analysis import DatasetAnalysis, SplitAnalysis

NAMES = {"train": "training", "val": "validation", "test": "test"}
"""The splits as adjectives."""


def count(where: str, value: int, formula: str) -> Number:
    """A whole number: `1,328`. `where` is what follows `dataset/` in its address."""
    return Number(f"dataset/{where}", f"{value:,}", value, formula, ())


def decimal(where: str, value: float, decimals: int, formula: str) -> Number:
    """A number with so many decimals."""
    text = f"{value:,.{decimals}f}"
    if float(text.replace(",", "")) == 0:
        text = text.removeprefix("-")
    return Number(f"dataset/{where}", text.replace("-", words.MINUS), value, formula, ())


def percent(where: str, part: int, whole: int, formula: str) -> Number:
    """A share in percent with one decimal; `formula` is what the part is a share of."""
    value = 100 * part / whole if whole else 0.0
    return Number(f"dataset/{where}", f"{value:.1f}", value, f"{formula}, in percent", ())


def noun(number: Number, one: str, more: str = "") -> Text:
    """`1 image`, `1,328 images`."""
    return Text(number, f" {one}" if number.value == 1 else f" {more or one + 's'}")


def images(split: SplitAnalysis) -> Number:
    return count(f"{split.name}/images", split.images, f"images of the {NAMES[split.name]} split")


def instances(split: SplitAnalysis) -> Number:
    return count(f"{split.name}/instances", split.instances, f"instances of the {NAMES[split.name]} split, no crowds")


def total(analysis: DatasetAnalysis, what: str) -> Number:
    """The sum of a field of the splits that is a count, over all of them."""
    value = sum(int(getattr(split, what)) for split in analysis.splits)
    return count(what, value, f"{what.replace('_', ' ')} of all splits")


def per_image(split: SplitAnalysis) -> Number:
    value = split.instances / split.images if split.images else 0.0
    return decimal(f"{split.name}/per_image", value, 2, f"instances over images of the {NAMES[split.name]} split")


def size(split: SplitAnalysis, what: str) -> Number | None:
    """A quartile of the box sizes, px."""
    if split.sizes is None:
        return None
    formula = f"{what.replace('_', ' ')} of the square roots of the box areas, {NAMES[split.name]} split, px"
    return decimal(f"{split.name}/box_size/{what}", getattr(split.sizes, what), 0, formula)


def relative_size(split: SplitAnalysis) -> Number | None:
    """The median of the box sizes in parts of their image's, in percent."""
    if split.relative is None:
        return None
    formula = f"median of the square roots of box area over image area, {NAMES[split.name]} split, in percent"
    return decimal(f"{split.name}/relative_box_size", 100 * split.relative.median, 0, formula)


def labelled(split: SplitAnalysis) -> Number | None:
    """The share of keypoints with a label, of instances with any."""
    every = sum(label.all for label in split.labels)
    part = sum(label.labelled for label in split.labels)
    formula = f"keypoints with a label among those of labelled instances of the {NAMES[split.name]} split"
    return percent(f"{split.name}/labelled", part, every, formula) if every else None
