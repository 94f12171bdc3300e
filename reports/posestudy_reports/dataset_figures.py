"""Draws what a data set holds, 84 mm wide, as vectors with text (matplotlib)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from posestudy_reports.curves import OKABE_ITO
from posestudy_reports.dataset_analysis import (
    RELATIVE_BINS,
    SIZES_PER_OCTAVE,
    DatasetAnalysis,
    Pose,
    SplitAnalysis,
    sides,
)
from posestudy_reports.dataset_images import BINS
from posestudy_reports.vector import Form, draw, fitted, plain, width_of
from posestudy_studies.layouts import Layout

WIDTH: Final = 84.0
MOST_NAMED: Final = 24
"""Keypoints that have a row with their name; more are shown by their index."""
_TEXT: Final = 7.0
_SMALL: Final = 6.6
_ROW: Final = 2.75
_NAME_ROOM: Final = 24.0
_MOST_PER_IMAGE: Final = 20
_GREY: Final = "#dcdcdc"
_VISIBLE, _HIDDEN = OKABE_ITO[0], OKABE_ITO[4]
_SIDES: Final = {"left": OKABE_ITO[0], "right": OKABE_ITO[1], "": "#444444"}
_CHANNELS: Final = (("red", OKABE_ITO[1], "-"), ("green", OKABE_ITO[2], "--"), ("blue", OKABE_ITO[0], ":"))
_LINES: Final = {
    "train": (OKABE_ITO[0], "-", "o"), "val": (OKABE_ITO[1], (0, (4, 1.5)), "s"), "test": (OKABE_ITO[2], ":", "^"),
}  # fmt: skip
"""Colour, line and marker of a split, so that it can be told without colour too."""


def names(layout: Layout) -> tuple[str, ...]:
    """The keypoints as people write them, on one line."""
    return tuple(" ".join(name.replace("_", " ").split()) for name in layout.keypoint_names)


def says_visibility(analysis: DatasetAnalysis) -> bool:
    """Whether the bars of the keypoints differ from bars that are all full."""
    return analysis.tells_hidden or any(label.unlabelled for label in analysis.labels)


def overview_figure(analysis: DatasetAnalysis, layout: Layout, form: Form = "svg") -> bytes:
    """How often each keypoint is visible, hidden and not labelled, and the mean pose; where every keypoint is labelled
    everywhere, box sizes in the place of the former. Needs a pose."""
    pose = analysis.pose
    assert pose is not None
    count = len(layout.keypoint_names)
    named = says_visibility(analysis) and count <= MOST_NAMED
    height = max(44.0, 14.0 + _ROW * count) if named else 50.0

    def plot(figure: Any) -> None:
        if named:
            left = _rows(names(layout))[1] + 2.5
            _named_bars(_axes(figure, left, 8.5, 50.0 - left, height - 13.5, height), analysis, layout)
        elif says_visibility(analysis):
            _stacked_steps(_axes(figure, 9.5, 8.5, 38.0, height - 13.5, height), analysis)
        else:
            _sizes(_axes(figure, 9.5, 8.5, 38.0, height - 13.5, height), analysis)
        _pose(_axes(figure, 53.0, 8.5, 30.5, height - 13.5, height), pose, layout)

    return draw(WIDTH, height, plot, form)


def _axes(figure: Any, left: float, bottom: float, width: float, height: float, total: float) -> Any:
    """Axes at a place in mm of a figure that is `total` mm high."""
    axes = figure.add_axes((left / WIDTH, bottom / total, width / WIDTH, height / total))
    axes.tick_params(labelsize=_SMALL, length=2, pad=1.5)
    axes.set_axisbelow(True)
    return axes


@lru_cache(maxsize=16)
def _rows(written: tuple[str, ...]) -> tuple[tuple[str, ...], float]:
    """The names as they fit, and the room they take, mm; measuring takes longer than drawing."""
    texts = [fitted(name, _NAME_ROOM, _SMALL) for name in written]
    return tuple(plain(text) for text in texts), max(width_of(text, _SMALL) for text in texts)


def _parts(analysis: DatasetAnalysis) -> list[tuple[str, str, NDArray[np.float64]]]:
    """Label, colour and share (%) by keypoint of each visibility that occurs."""
    labels = analysis.labels
    every = np.array([[x.visible, x.hidden, x.unlabelled] for x in labels], dtype=np.float64)
    share = 100 * every / np.maximum(every.sum(axis=1, keepdims=True), 1)
    if analysis.tells_hidden:
        parts = [("visible", _VISIBLE, share[:, 0]), ("hidden", _HIDDEN, share[:, 1])]
    else:
        parts = [("labelled", _VISIBLE, share[:, 0] + share[:, 1])]
    return [*parts, ("not labelled", _GREY, share[:, 2])]


def _named_bars(axes: Any, analysis: DatasetAnalysis, layout: Layout) -> None:
    rows = np.arange(len(layout.keypoint_names))
    start = np.zeros(len(rows))
    for label, colour, share in _parts(analysis):
        axes.barh(rows, share, left=start, height=0.78, color=colour, linewidth=0, label=label)
        start = start + share
    axes.set_yticks(rows, _rows(names(layout))[0])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 100)
    axes.set_xticks([0, 50, 100])
    axes.set_xlabel("instances [%]", fontsize=_TEXT, labelpad=1.5)
    _legend(axes, right=True)


def _stacked_steps(axes: Any, analysis: DatasetAnalysis) -> None:
    parts = _parts(analysis)
    count = len(parts[0][2])
    edges = np.arange(count + 1) - 0.5
    start = np.zeros(count)
    for label, colour, share in parts:
        axes.stairs(start + share, edges, baseline=start, fill=True, color=colour, linewidth=0, label=label)
        start = start + share
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_ylim(0, 100)
    axes.set_xlabel("index of the keypoint", fontsize=_TEXT, labelpad=1.5)
    axes.set_ylabel("instances [%]", fontsize=_TEXT, labelpad=1.5)
    _legend(axes)


def _legend(axes: Any, *, right: bool = False) -> None:
    corner, x = ("lower right", 1.02) if right else ("lower left", -0.02)
    axes.legend(
        loc=corner, bbox_to_anchor=(x, 1.0), ncols=4, frameon=False, fontsize=_SMALL, borderpad=0.1,
        handlelength=1.2, handletextpad=0.4, columnspacing=0.8, borderaxespad=0.1,
    )  # fmt: skip


def _pose(axes: Any, pose: Pose, layout: Layout) -> None:
    """Means with an ellipse of one standard deviation in a box of the median shape, its limbs and its outline."""
    from matplotlib.patches import Ellipse, Rectangle

    scale = np.array([1.0, pose.ratio])
    means = np.array(pose.means) * scale
    shown = np.array(pose.counts) > 0
    many = len(means) > MOST_NAMED
    axes.add_patch(Rectangle((0, 0), *scale, fill=False, edgecolor="#999999", linewidth=0.5, linestyle=(0, (4, 2))))
    for a, b in layout.skeleton:
        if shown[a] and shown[b]:
            axes.plot(*means[[a, b]].T, color="#222222", linewidth=0.9, zorder=2, solid_capstyle="round")
    low, high = np.zeros(2), scale.copy()
    for k, side in enumerate(sides(layout.keypoint_names)):
        if not shown[k]:
            continue
        xx, xy, yy = np.array(pose.covariances[k]) * (scale[0] ** 2, scale.prod(), scale[1] ** 2)
        values, vectors = np.linalg.eigh([[xx, xy], [xy, yy]])
        width, height = 2 * np.sqrt(np.maximum(values[::-1], 0))
        angle = float(np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1])))
        colour = _SIDES[side]
        axes.add_patch(
            Ellipse(tuple(means[k]), width, height, angle=angle, facecolor=colour, alpha=0.05, linewidth=0, zorder=1)
        )
        axes.add_patch(
            Ellipse(tuple(means[k]), width, height, angle=angle, fill=False, edgecolor=colour,
                    linewidth=0.25 if many else 0.4, alpha=0.5, zorder=1)
        )  # fmt: skip
        axes.plot(*means[k], "o", color=colour, markersize=1.4 if many else 2.6, markeredgewidth=0, zorder=3)
        reach = np.sqrt([xx, yy])
        low, high = np.minimum(low, means[k] - reach), np.maximum(high, means[k] + reach)
    axes.set_xlim(low[0] - 0.02, high[0] + 0.02)
    axes.set_ylim(high[1] + 0.02, low[1] - 0.02)
    axes.set_aspect("equal", adjustable="box")
    axes.set_axis_off()


def _sizes(axes: Any, analysis: DatasetAnalysis) -> None:
    """Shares of box sizes in quarters of an octave, with COCO's bounds."""
    splits = analysis.splits
    used = np.flatnonzero(np.sum([s.size_bins for s in splits], axis=0))
    first, last = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 1)
    first, last = max(0, first - 1), last + 1
    edges = 2.0 ** (np.arange(first, last + 1) / SIZES_PER_OCTAVE)
    for split in splits:
        _outline(axes, split, np.array([*split.size_bins, 0, 0])[first:last], edges)
    axes.set_xscale("log", base=2)
    _ticks(axes, edges)
    for bound in (32, 96) if analysis.by_area else ():
        if edges[0] < bound < edges[-1]:
            axes.axvline(bound, color="#999999", linewidth=0.5, linestyle=(0, (2, 2)), zorder=0)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("box size [px]", fontsize=_TEXT, labelpad=1.5)
    axes.set_ylabel("boxes [%]", fontsize=_TEXT, labelpad=1.5)
    _legend(axes)


def _ticks(axes: Any, edges: NDArray[np.float64]) -> None:
    """Octaves, at most six of them; on a shorter axis round numbers."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    places = [2.0**k for k in range(15) if edges[0] <= 2.0**k <= edges[-1]]
    if len(places) < 3:
        places = [v for v in MaxNLocator(4).tick_values(edges[0], edges[-1]) if edges[0] <= v <= edges[-1]]
    axes.xaxis.set_major_locator(FixedLocator(places[:: -max(1, -(-len(places) // 6))]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))


def _outline(axes: Any, split: SplitAnalysis, counts: NDArray[np.int64], edges: NDArray[Any]) -> None:
    total = counts.sum()
    if total:
        colour, line, _ = _LINES[split.name]
        axes.stairs(100 * counts / total, edges, color=colour, linestyle=line, linewidth=1.0, label=split.name)


def _pair(left: Callable[[Any], None], right: Callable[[Any], None], form: Form) -> bytes:
    """Two panels side by side, 84 x 44 mm."""
    height = 44.0

    def plot(figure: Any) -> None:
        left(_axes(figure, 9.5, 8.5, 31.0, height - 13.5, height))
        right(_axes(figure, 50.0, 8.5, 31.0, height - 13.5, height))

    return draw(WIDTH, height, plot, form)


def _one(panel: Callable[[Any], None], form: Form) -> bytes:
    """A panel by itself, 84 x 44 mm."""
    height = 44.0
    return draw(WIDTH, height, lambda f: panel(_axes(f, 9.5, 8.5, WIDTH - 12.5, height - 13.5, height)), form)


def boxes_figure(analysis: DatasetAnalysis, form: Form = "svg") -> bytes:
    """The sizes of the boxes in px and in parts of their image's."""

    def relative(axes: Any) -> None:
        edges = np.linspace(0, 1, RELATIVE_BINS + 1)
        for split in analysis.splits:
            _outline(axes, split, np.array(split.relative_bins), edges)
        axes.set_xlim(0, 1)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("box size / image size", fontsize=_TEXT, labelpad=1.5)

    return _pair(lambda axes: _sizes(axes, analysis), relative, form)


def instances_panels(analysis: DatasetAnalysis) -> tuple[bool, bool]:
    """Whether images differ in their instances, and instances in their labelled keypoints."""
    images = {n for split in analysis.splits for n, _ in split.per_image}
    counts = {n for s in analysis.splits if s.labelled for n, count in enumerate(s.per_instance) if count}
    return len(images) > 1, len(counts) > 1


def instances_figure(analysis: DatasetAnalysis, form: Form = "svg") -> bytes:
    """How many instances an image holds and how many labelled keypoints an instance, as far as they differ."""
    from matplotlib.ticker import MaxNLocator

    def per_image(axes: Any) -> None:
        most = min(_MOST_PER_IMAGE, max(n for s in analysis.splits for n, _ in s.per_image))
        for split in analysis.splits:
            counts = np.zeros(most + 1, dtype=np.int64)
            for n, images in split.per_image:
                counts[min(n, most)] += images
            _outline(axes, split, counts, np.arange(most + 2) - 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_xlim(-0.5, most + 0.5)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("instances in an image", fontsize=_TEXT, labelpad=1.5)
        axes.set_ylabel("images [%]", fontsize=_TEXT, labelpad=1.5)
        _legend(axes)

    def per_instance(axes: Any) -> None:
        known = [(split, np.array(split.per_instance)) for split in analysis.splits if split.labelled]
        for split, counts in known:
            _outline(axes, split, counts, np.arange(len(counts) + 1) - 0.5)
        used = np.flatnonzero(np.sum([counts for _, counts in known], axis=0))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_xlim(int(used[0]) - 1.5, int(used[-1]) + 1.5)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("labelled keypoints of an instance", fontsize=_TEXT, labelpad=1.5)
        axes.set_ylabel("instances [%]", fontsize=_TEXT, labelpad=1.5)
        if not first:
            _legend(axes)

    first, second = instances_panels(analysis)
    if first and second:
        return _pair(per_image, per_instance, form)
    return _one(per_image if first else per_instance, form)


def splits_figure(analysis: DatasetAnalysis, layout: Layout, form: Form = "svg") -> bytes:
    """The share of labelled keypoints split by split: a row each, or lines over their indices where they are many."""
    count = len(layout.keypoint_names)
    known = [s for s in analysis.splits if s.labelled]
    height = 14.0 + _ROW * count if count <= MOST_NAMED else 44.0

    def share(split: SplitAnalysis) -> NDArray[np.float64]:
        return np.array([100 * x.labelled / max(1, x.all) for x in split.labels])

    def rows(figure: Any) -> None:
        shown, room = _rows(names(layout))
        left = room + 3.0
        axes = _axes(figure, left, 8.5, WIDTH - left - 3.0, height - 13.5, height)
        for split in known:
            colour, _, marker = _LINES[split.name]
            axes.plot(
                share(split), np.arange(count), marker, color=colour, markersize=3.4, markerfacecolor="none",
                markeredgewidth=0.9, label=split.name, clip_on=False,
            )  # fmt: skip
        axes.set_yticks(np.arange(count), shown)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(count - 0.4, -0.6)
        axes.margins(x=0.03)
        axes.set_xlim(right=min(100.0, axes.get_xlim()[1]))
        axes.grid(color="#e4e4e4", linewidth=0.5)
        axes.set_xlabel("instances with this keypoint labelled [%]", fontsize=_TEXT, labelpad=1.5)
        _legend(axes, right=True)

    def lines(figure: Any) -> None:
        axes = _axes(figure, 9.5, 8.5, WIDTH - 12.5, height - 13.5, height)
        for split in known:
            colour, line, _ = _LINES[split.name]
            axes.stairs(share(split), np.arange(count + 1) - 0.5, color=colour, linestyle=line, label=split.name,
                        baseline=None)  # fmt: skip
        axes.set_ylim(top=101)
        axes.set_xlim(-0.5, count - 0.5)
        axes.set_xlabel("index of the keypoint", fontsize=_TEXT, labelpad=1.5)
        axes.set_ylabel("labelled [%]", fontsize=_TEXT, labelpad=1.5)
        _legend(axes)

    return draw(WIDTH, height, rows if count <= MOST_NAMED else lines, form)


def images_figure(analysis: DatasetAnalysis, form: Form = "svg") -> bytes:
    """The sizes of the images, where they differ, and how often each value of red, green and blue occurs."""
    differ = any(s.different_sizes > 1 for s in analysis.splits)

    def sizes(axes: Any) -> None:
        from matplotlib.ticker import MaxNLocator

        for split in analysis.splits:
            colour, _, marker = _LINES[split.name]
            sizes_of = np.array(split.image_sizes, dtype=np.float64).reshape(-1, 3)
            share = sizes_of[:, 2] / max(1.0, sizes_of[:, 2].sum())
            axes.plot([], [], marker, markersize=3, markerfacecolor="none", color=colour, label=split.name)
            for least, below, size in ((0.0, 0.02, 1.8), (0.02, 0.2, 3.2), (0.2, 1.1, 5.0)):
                chosen = sizes_of[(share >= least) & (share < below)]
                axes.plot(
                    chosen[:, 0], chosen[:, 1], marker, markersize=size, markerfacecolor="none", color=colour,
                    markeredgewidth=0.5, alpha=0.8,
                )  # fmt: skip
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("width [px]", fontsize=_TEXT, labelpad=1.5)
        axes.set_ylabel("height [px]", fontsize=_TEXT, labelpad=1.5)
        _legend(axes)

    def colours(axes: Any) -> None:
        found = [s.colours for s in (analysis.images.splits if analysis.images else ()) if s.colours]
        counts = np.sum([c.histogram for c in found], axis=0)
        edges = np.linspace(0, 1, BINS + 1)
        for (label, colour, line), channel in zip(_CHANNELS, counts, strict=True):
            share = 100 * channel / max(1, channel.sum())
            axes.stairs(share, edges, color=colour, linestyle=line, linewidth=0.9, label=label)
        axes.set_xlim(0, 1)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("value of a pixel", fontsize=_TEXT, labelpad=1.5)
        axes.set_ylabel("pixels [%]", fontsize=_TEXT, labelpad=1.5)
        _legend(axes)

    known = analysis.images is not None and any(s.colours for s in analysis.images.splits)
    if differ and known:
        return _pair(sizes, colours, form)
    return _one(colours if known else sizes, form)


def has_images_figure(analysis: DatasetAnalysis) -> bool:
    """Whether there are sizes that differ, or colours."""
    colours = analysis.images is not None and any(s.colours for s in analysis.images.splits)
    return colours or any(s.different_sizes > 1 for s in analysis.splits)
