"""What each cell of a stage changes against its baseline, with intervals: data for a forest plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from posestudy.vocabulary import Metric
from posestudy_reports import words
from posestudy_reports.comparison import CONFIDENCE, Comparison, Difference, Interval
from posestudy_reports.results import StageResult, StudyResult

_MOST_OF_A_STAGE: Final = 16
_MOST_OF_A_FIGURE: Final = 24
_CUT: Final = 5.0


@dataclass(frozen=True)
class Effect:
    """A cell's difference from the baseline of its stage.

    Attributes:
        resolved: whether every interval leaves zero out and one of them has a confidence.
        joint: whether several factors differ at once, so that it is no factor's own effect.
        uids: of the cell's trials and the baseline's that it follows from.
    """

    stage: str
    cell: str
    label: str
    value: float
    images: Interval | None
    seeds: Interval | None
    resolved: bool
    verdict: str
    joint: bool
    uids: tuple[str, ...]

    @property
    def intervals(self) -> tuple[Interval, ...]:
        return tuple(interval for interval in (self.images, self.seeds) if interval is not None)


@dataclass(frozen=True)
class Effects:
    """The rows of one figure, those of a stage together.

    Attributes:
        margin: within which two cells count as equivalent; None where none is declared.
        left_out: names of stages whose cells are a sample of a space, or too many.
    """

    rows: tuple[Effect, ...]
    margin: float | None
    left_out: tuple[str, ...] = ()

    @property
    def stages(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row.stage for row in self.rows))

    @property
    def reach(self) -> float:
        """How far from zero the axis goes: to all values, and to ends of intervals that are not far beyond the rest."""
        ends = [max(abs(i.low), abs(i.high)) for row in self.rows for i in row.intervals]
        values = [abs(row.value) for row in self.rows] + ([self.margin] if self.margin else [])
        far = min(max(ends), _CUT * max(median(ends), *values))
        return 1.08 * max(far, *values) or 1.0


def effects(result: StudyResult, compared: Sequence[Comparison]) -> tuple[Effects, ...]:
    """The differences that have an interval, whole stages to a figure as far as they fit.

    Args:
        compared: the rows of each stage of `result`, in order, as `Material.compare` gives them.
    """
    options = result.snapshot.study.document.get("report")
    declared = options.get("equivalence_margin") if isinstance(options, dict) else None
    margin = float(declared) if declared else None
    groups: list[tuple[Effect, ...]] = []
    left_out = []
    for stage, comparison in zip(result.stages, compared, strict=True):
        rows = tuple(_effect(stage, row) for row in comparison.rows if row.intervals)
        if rows and (stage.stage.design == "search" or len(rows) > _MOST_OF_A_STAGE):
            left_out.append(stage.stage.name)
        elif rows:
            groups.append(rows)
    figures: list[list[Effect]] = []
    for group in groups:
        if not figures or len(figures[-1]) + len(group) > _MOST_OF_A_FIGURE:
            figures.append([])
        figures[-1] += group
    return tuple(Effects(tuple(rows), margin, tuple(left_out)) for rows in figures)


def _effect(stage: StageResult, row: Difference) -> Effect:
    trials = [*row.cell.completed, *(stage.baseline.completed if stage.baseline else ())]
    return Effect(
        stage.stage.name, row.cell.cell.name, row.cell.label, row.value, row.images, row.seeds,
        row.verdict.startswith("resolved"), row.verdict, stage.joint(row.cell), tuple(t.uid for t in trials),
    )  # fmt: skip


def caption(found: Effects, metric: Metric) -> str:
    """What the figure shows, in sentences."""
    percent = f"{CONFIDENCE:.0%}".replace("%", " %")
    text = f"Difference of the final {metric.short} from the baseline of each stage."
    kinds = []
    if any(row.images for row in found.rows):
        kinds.append("solid: over validation images")
    if any(row.seeds and row.seeds.method != "range" for row in found.rows):
        kinds.append("dashed: over seeds")
    if kinds:
        text += f" Intervals of {percent}, for all rows of a stage at once; {', '.join(kinds)}."
    if any(row.seeds and row.seeds.method == "range" for row in found.rows):
        text += " Dotted: the range of two seeds, which has no confidence."
    text += " Filled: resolved; hollow: not."
    if any(row.resolved and row.verdict.endswith("only") for row in found.rows):
        text += " A cell with one interval is resolved over that only."
    if found.margin is not None:
        text += f" Shaded: \u00b1{found.margin:g}, within which cells count as equivalent."
    if any(row.joint for row in found.rows):
        text += " \u2020 Several factors differ at once."
    if any(abs(end) > found.reach for row in found.rows for i in row.intervals for end in (i.low, i.high)):
        text += " Arrowheads: the interval goes on."
    if found.left_out:
        names = words.listing([words.quoted(name) for name in found.left_out])
        text += f" Not shown: stage{'s' if len(found.left_out) > 1 else ''} {names}, with many cells or a search."
    return text
