"""What there is to say of a data set, in sentences that hold for any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from posestudy_reports import dataset_numbers as numbers
from posestudy_reports import words
from posestudy_reports.addressed import Text, joined, said
from posestudy_reports.dataset_analysis import DatasetAnalysis, Labels, SplitAnalysis
from posestudy_reports.dataset_cache import Known
from posestudy_reports.dataset_figures import names
from posestudy_reports.dataset_images import KINDS, ImageAnalysis, Shared, SplitImages
from posestudy_reports.dataset_numbers import NAMES, count, decimal, noun, percent
from posestudy_studies.layouts import Layout

_HOW = {
    "file": "by being the same file",
    "bytes": "with the same bytes",
    "pixels": "with the same pixels",
    "alike": "alike to look at",
}


def state(known: Known) -> tuple[str, ...]:
    """What a reader must know before believing the rest; mostly nothing."""
    found = []
    if not known.there:
        found.append(
            "The data set is not where the study says any more; what is told of it was found when it still was."
        )
    if known.changed:
        found.append(
            "The files of the data set have changed since the study was launched: what is told of them is what they "
            "hold now, not what was trained on."
        )
    found += [f"The annotations of the {NAMES[name]} split cannot be read." for name in known.analysis.unreadable]
    return tuple(found)


def of_annotations(analysis: DatasetAnalysis, layout: Layout) -> tuple[str, ...]:
    """What the annotations hold."""
    found = [_counts(analysis, layout), _per_image(analysis), *_boxes(analysis)]
    if analysis.by_area and (areas := _areas(analysis)):
        found.append(areas)
    return (*found, *_labels(analysis, layout), *_odd(analysis, layout))


def _counts(analysis: DatasetAnalysis, layout: Layout) -> Text:
    keypoints = f" of {words.count(len(layout.keypoint_names), 'keypoint')}"
    parts = []
    for split in analysis.splits:
        text = said(
            "{images} with {instances} for {purpose}",
            images=noun(numbers.images(split), "image"),
            instances=noun(numbers.instances(split), "instance"),
            purpose=NAMES[split.name].replace("test", "testing"),
        )
        bare = "" if split.labelled else ", of which no keypoint is given"
        parts.append(Text(text, bare))
    if len(parts) == 1:
        return Text("The data set has ", parts[0], "; an instance is one", keypoints, ".")
    return said(
        "The data set has {images} with {instances}{keypoints}: {parts}.",
        images=noun(numbers.total(analysis, "images"), "image"),
        instances=noun(numbers.total(analysis, "instances"), "instance"),
        keypoints=keypoints,
        parts=_listed(parts),
    )


def _listed(parts: Sequence[str]) -> Text:
    """`a`, `a and b`, `a, b and c`; with semicolons where a part has a comma."""
    if len(parts) < 2:
        return Text(*parts)
    comma = "; " if any(", " in part for part in parts) else ", "
    return Text(joined(parts[:-1], comma), "; and " if comma == "; " else " and ", parts[-1])


def _per_image(analysis: DatasetAnalysis) -> Text:
    counts = [n for split in analysis.splits for n, _ in split.per_image]
    if counts and min(counts) == max(counts):
        only = count("most_per_image", counts[0], "the most instances of an image")
        return Text("Every image holds ", noun(only, "instance"), ".")
    mean = decimal(
        "per_image",
        sum(s.instances for s in analysis.splits) / max(1, sum(s.images for s in analysis.splits)),
        2,
        "instances over images of all splits",
    )
    most = count("most_per_image", max(counts, default=0), "the most instances of an image")
    text = said("An image holds {mean} instances on average and {most} at most", mean=mean, most=most)
    empty = numbers.total(analysis, "empty")
    if empty.value:
        text = Text(text, "; ", noun(empty, "image holds", "images hold"), " none")
    return Text(text, ".")


def _boxes(analysis: DatasetAnalysis) -> Iterator[Text]:
    first: Text | None = None
    others = []
    for split in analysis.splits:
        median, low, high = (numbers.size(split, what) for what in ("median", "quarter", "three_quarters"))
        part = numbers.relative_size(split)
        if median is None or low is None or high is None or part is None:
            continue
        if first is not None:
            others.append(said("{median} px for {split}", split=NAMES[split.name], median=median))
            continue
        first = said(
            "Boxes of the {split} split have a median size (the square root of the area) of {median} px, the middle "
            "half from {low} to {high} px, and relative to their image of {part} %",
            split=NAMES[split.name], median=median, low=low, high=high, part=part,
        )  # fmt: skip
    if first is not None:
        yield Text(first, "; the median is ", _listed(others), ".") if others else Text(first, ".")


def _areas(analysis: DatasetAnalysis) -> Text | None:
    sums = [sum(split.areas[i] for split in analysis.splits) for i in range(3)]
    if not sum(sums):
        return None
    small, medium, large = (
        percent(f"area/{name}", part, sum(sums), f"instances of {name} area to COCO")
        for name, part in zip(("small", "medium", "large"), sums, strict=True)
    )
    return said(
        "To COCO {small} % of the instances are small (below 32 \u00d7 32 px), {medium} % medium and {large} % large "
        "(from 96 \u00d7 96 px on).",
        small=small, medium=medium, large=large,
    )  # fmt: skip


def _labels(analysis: DatasetAnalysis, layout: Layout) -> Iterator[Text]:
    labels = analysis.labels
    if not labels or not any(label.all for label in labels):
        return
    visible, hidden, unlabelled = (sum(getattr(x, w) for x in labels) for w in ("visible", "hidden", "unlabelled"))
    every = visible + hidden + unlabelled
    none = percent("unlabelled", unlabelled, every, "keypoints without a label, of instances with any")
    if analysis.tells_hidden:
        text = said(
            "Of the keypoints of labelled instances {visible} % are visible, {hidden} % hidden and {none} % not "
            "labelled",
            visible=percent("visible", visible, every, "visible keypoints of instances with any label"),
            hidden=percent("hidden", hidden, every, "hidden keypoints of instances with any label"),
            none=none,
        )
        worst = max(range(len(labels)), key=lambda k: (_share(labels[k], labels[k].hidden), -k))
        share = percent(
            "most_hidden", labels[worst].hidden, labels[worst].all, "the most often hidden keypoint's share"
        )
        if share.value:
            text = Text(text, "; most often hidden is ", names(layout)[worst], " (", share, " %)")
    elif unlabelled:
        text = said(
            "Of the keypoints of labelled instances {none} % are not labelled; whether a labelled one is hidden is not "
            "told",
            none=none,
        )
    else:
        text = Text("Every keypoint of every labelled instance is labelled, and whether it is hidden is not told")
    shares = [_share(label, label.unlabelled) for label in labels]
    if min(shares) < max(shares):
        worst = shares.index(max(shares))
        share = percent(
            "most_unlabelled", labels[worst].unlabelled, labels[worst].all, "the largest share without label"
        )
        text = Text(text, "; most often without a label is ", names(layout)[worst], " (", share, " %)")
    yield Text(text, ".")


def _share(label: Labels, part: int) -> float:
    return part / label.all if label.all else 0.0


def _odd(analysis: DatasetAnalysis, layout: Layout) -> Iterator[Text]:
    known = [split for split in analysis.splits if split.labelled]
    bare = sum(split.bare for split in known)
    if bare:
        number = count("bare", bare, "instances without a labelled keypoint, of splits with ground truth")
        yield Text(noun(number, "instance has", "instances have"), " no labelled keypoint.")
    if known:
        yield _outside(known, layout)
    boxless = numbers.total(analysis, "boxless")
    if boxless.value:
        ids = [str(i) for split in analysis.splits for i in split.boxless_ids][:3]
        more = (
            "such as annotation "
            if boxless.value > len(ids)
            else words.count(len(ids), "annotation").partition(" ")[2] + " "
        )
        text = noun(boxless, "box has", "boxes have")
        yield Text(text, f" no area or no part on the image ({more}{words.listing(ids)}).")
    crowds = numbers.total(analysis, "crowds")
    if crowds.value:
        yield Text(noun(crowds, "crowd is", "crowds are"), " left out of these numbers.")


def _outside(known: Sequence[SplitAnalysis], layout: Layout) -> Text:
    outside = sum(split.outside for split in known)
    if not outside:
        return Text("No labelled keypoint lies outside its image.")
    worst = max((out for split in known for out in split.outliers), key=lambda out: out.distance)
    instances = sum(split.outside_instances for split in known)
    return said(
        "{points} of {instances} outside their image, the farthest, {name} of annotation {id}, by {distance} px.",
        points=noun(count("outside", outside, "labelled keypoints outside their image"), "labelled keypoint"),
        instances=noun(
            count("outside_instances", instances, "instances with a labelled keypoint outside their image"),
            "instance lies" if outside == 1 else "instance lie",
            "instances lie",
        ),
        name=names(layout)[worst.keypoint],
        id=str(worst.annotation),
        distance=decimal("farthest_outside", worst.distance, 1, "the largest distance of a keypoint to its image, px"),
    )


def of_images(analysis: DatasetAnalysis) -> tuple[str, ...]:
    """What the image files hold, and which images are the same."""
    found = [*_image_sizes(analysis)]
    if analysis.images is None:
        return (*found, "The image files were not there to be looked at.") if found else ()
    return (*found, *_colours(analysis.images), *_unusable(analysis.images), *_same(analysis.images))


def _image_sizes(analysis: DatasetAnalysis) -> Iterator[Text]:
    widths = [split.widths for split in analysis.splits if split.widths]
    heights = [split.heights for split in analysis.splits if split.heights]
    if not widths:
        return
    low, high = min(w.low for w in widths), max(w.high for w in widths)
    least, most = min(h.low for h in heights), max(h.high for h in heights)
    numbers_of = {
        "low": count("least_width", int(low), "the least width of an image, px"),
        "high": count("largest_width", int(high), "the largest width of an image, px"),
        "least": count("least_height", int(least), "the least height of an image, px"),
        "most": count("largest_height", int(most), "the largest height of an image, px"),
    }
    if (low, least) == (high, most):
        yield said("All images are {low} " + words.TIMES + " {least} px.", **numbers_of)
        return
    text = said("Images are from {low} to {high} px wide and from {least} to {most} px high", **numbers_of)
    first = next(split for split in analysis.splits if split.ratios)
    if first.ratios is not None:
        about = f"width over height, {NAMES[first.name]} split"
        text = said(
            "{text}; the middle half of the {split} split is from {quarter} to {three} times as wide as high",
            text=text,
            split=NAMES[first.name],
            quarter=decimal(f"{first.name}/ratio/quarter", first.ratios.quarter, 2, f"quarter point of {about}"),
            three=decimal(
                f"{first.name}/ratio/three_quarters", first.ratios.three_quarters, 2, f"3/4 point of {about}"
            ),
        )
    yield Text(text, ".")


def _colours(looked: ImageAnalysis) -> Iterator[Text]:
    first = next((split for split in looked.splits if split.colours), None)
    if first is None or first.colours is None:
        return
    used = first.decoded - first.unreadable
    number = count(f"{first.name}/decoded", used, f"decoded images of the {NAMES[first.name]} split")
    sample = first.decoded < first.listed - first.missing
    channels = ("red", "green", "blue")
    about = f"of the pixels of the decoded images, {NAMES[first.name]} split, 0 to 1"
    means = [
        decimal(f"{first.name}/mean/{c}", v, 3, f"mean {c} {about}")
        for c, v in zip(channels, first.colours.mean, strict=True)
    ]
    stds = [
        decimal(f"{first.name}/std/{c}", v, 3, f"standard deviation of {c} {about}")
        for c, v in zip(channels, first.colours.std, strict=True)
    ]
    yield said(
        "Over the pixels of {all}{images} of the {split} split, red, green and blue have means of {means} and standard "
        "deviations of {stds}, where 1 is the brightest.",
        images=noun(number, "evenly chosen image" if sample else "image"), all="" if sample or used == 1 else "all ",
        split=NAMES[first.name], means=_listed([Text(m) for m in means]),
        stds=_listed([Text(s) for s in stds]),
    )  # fmt: skip


def _unusable(looked: ImageAnalysis) -> Iterator[Text]:
    for what, one, more, of in (
        ("missing", "image has", "images have", "no file"),
        ("unreadable", "image", "images", "cannot be decoded"),
        ("other_size", "image has", "images have", "another size than the annotations say"),
    ):
        value = sum(int(getattr(split, what)) for split in looked.splits)
        if value:
            number = count(what, value, f"images of all splits: {of}")
            named = [name for split in looked.splits for name in _names(split, what)][:2]
            such = f" (such as {words.listing(named)})" if named else ""
            yield Text(noun(number, one, more), f" {of}{such}.")


def _names(split: SplitImages, what: str) -> tuple[str, ...]:
    found: tuple[str, ...] = getattr(split, f"{what}_names")
    return found


def _same(looked: ImageAnalysis) -> Iterator[Text]:
    for shared in looked.shared:
        yield _shared(shared)
    splits = {split.name for split in looked.splits}
    between = any(s.first != s.second for s in looked.shared)
    within = any(s.first == s.second for s in looked.shared)
    if not between and len(splits) > 1:
        yield Text(
            "No image was found in two splits." if within else "No image was found twice, in one split or in two."
        )
    elif not within and len(splits) == 1:
        yield Text("No image was found twice.")
    here = sum(split.listed - split.missing for split in looked.splits)
    decoded = sum(split.decoded - split.unreadable for split in looked.splits)
    if not here:
        return
    files = noun(count("compared/bytes", here, "image files whose bytes were compared"), "file was", "files were")
    if decoded == here:
        yield Text(files, " compared by their bytes, their pixels and their look.")
    else:
        seen = count("compared/look", decoded, "images that were decoded and compared")
        yield Text(files, " compared by their bytes, ", seen, " of them also by their pixels and their look.")


def _shared(shared: Shared) -> Text:
    kinds = [
        (kind, count(f"{shared.second}/also_in_{shared.first}/{kind}", n, f"such images {_HOW[kind]}"))
        for kind, n in zip(KINDS, shared.counts, strict=True)
        if n
    ]
    formula = f"images of the {NAMES[shared.second]} split that are in the {NAMES[shared.first]} split too"
    if shared.first == shared.second:
        formula = f"images of the {NAMES[shared.second]} split that repeat an earlier one of it"
    number = count(f"{shared.second}/also_in_{shared.first}", shared.images, formula)
    how = _HOW[kinds[0][0]] if len(kinds) == 1 else _listed([Text(n, " ", _HOW[kind]) for kind, n in kinds])
    example = shared.examples[0]
    pair = example.first if example.kind == "file" else f"{example.second} and {example.first}"
    if shared.first == shared.second:
        return said(
            "{images} of the {split} split {repeat} another one of it, {how} (such as {pair}).",
            images=noun(number, "image"), repeat="repeats" if shared.images == 1 else "repeat",
            split=NAMES[shared.second], how=how, pair=pair,
        )  # fmt: skip
    flatters = "; what is measured on them flatters" if shared.first == "train" else ""
    return said(
        "{images} of the {second} split {be} in the {first} split too, {how} (such as {pair}){flatters}.",
        images=noun(number, "image"), second=NAMES[shared.second], be="is" if shared.images == 1 else "are",
        first=NAMES[shared.first], how=how, pair=pair, flatters=flatters,
    )  # fmt: skip
