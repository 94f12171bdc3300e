"""Why nothing more is begun: a spent budget, a passed deadline, a search on its plateau. Each is a sentence's end.

What is decided is written into the ledger with its stage (`posestudy.ledger.records.Decide`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from posestudy.ledger.records import Snapshot
from posestudy.vocabulary import METRICS, Direction, Outcome, TrialState
from posestudy_studies import deadlines, noise_floor, remedies, resolution, seed_spread
from posestudy_studies.asked_gpus import device_s
from posestudy_studies.designs.base import BASELINE, Design, View
from posestudy_studies.designs.search import Search
from posestudy_studies.fields import Count, Model
from posestudy_studies.mistakes import Mistake

if TYPE_CHECKING:
    from posestudy_studies.spec import Study

NOISE_FLOOR = "noise floor"
STOPPED = "stopped after"
NO_SEEDS = "no further seeds"
NO_STAGE = "no further stage"


class Plateau(Model):
    """A search ends where its last cells brought nothing."""

    cells: Count = Field(description="So many sampled cells, the last ones, ...")
    by: Literal["noise_floor"] | float = Field(
        "noise_floor",
        description="... that improve the study's metric by no more than this, in its unit: a number, or "
        "`noise_floor`, the smallest difference that cells of that level and so many seeds can resolve.",
    )


class Stop(Model):
    """The rules by which results end a search or the adding of seeds."""

    nothing_to_resolve: bool = Field(
        False,
        description="Add no seed (`when: unresolved`) for a difference that has a chance below 5 % to be resolved with "
        "all seeds that are left.",
    )
    plateau: Plateau | None = Field(None, description="End a search of one objective whose last cells brought nothing.")


def mistakes(study: Study) -> list[Mistake]:
    """Rules that need a noise floor in a study that cannot measure one, each at the key that is wrong."""
    found: list[Mistake] = []
    first = study.stages[0]
    if study.replicates_of(first).baseline_first:
        place = ("replicates", "baseline_first") if first.replicates is None else ("stages", 0, "replicates")
        if len(study.seeds(first)) < 2:
            found.append(Mistake(place, "one seed", "two seeds or more, whose spread is the noise floor"))
        if not first.include_baseline:
            found.append(Mistake(place, f"no baseline in stage '{first.name}'", "`include_baseline: true` there"))
    rule = study.stop.plateau
    if rule is not None and rule.by == "noise_floor" and all(len(study.seeds(s)) < 2 for s in study.stages):
        expected = "a number in the metric's unit, or several seeds under `replicates`"
        found.append(Mistake(("stop", "plateau", "by"), "'noise_floor' with one seed a cell", expected))
    return found


def rules(study: Study, snapshot: Snapshot | None = None) -> list[str]:
    """The rules of a study in sentences; with a snapshot also when its deadline is, and whether one holds by now."""
    found, budget = [], study.budget
    if budget is not None and budget.gpu_hours is not None:
        found.append(f"no further trial starts once {budget.gpu_hours:g} device hours are spent")
    if budget is not None and budget.deadline is not None:
        ends = None if snapshot is None else deadlines.of_study(snapshot)
        known = "" if ends is None else f", {deadlines.shown(ends)}"
        when = f"{budget.deadline} after the first launch" if budget.deadline[-1] in "dhm" else budget.deadline
        found.append(f"no further trial starts after the deadline ({when}{known})")
    if study.stop.nothing_to_resolve:
        found.append("no seed is added for a difference whose chance to be resolved is below 5 %")
    if (rule := study.stop.plateau) is not None:
        by = "the noise floor" if rule.by == "noise_floor" else f"{rule.by:g}"
        found.append(f"a search ends where its last {rule.cells} cells improved {study.metric} by no more than {by}")
    if snapshot is not None and snapshot.study.state != "closed":
        edited = replace(snapshot.study, document=study.model_dump(mode="json"))
        if (why := halted(replace(snapshot, study=edited))) is not None:
            found.append(f"no further trial starts any more: {why}")
    return found


def halted(snapshot: Snapshot) -> str | None:
    """Why no further trial of the study starts, as things stand; None: it goes on.

    Both limits may be raised: the study stays open.
    """
    budget: Any = snapshot.study.document.get("budget")
    hours = budget.get("gpu_hours") if isinstance(budget, dict) else None
    if hours is not None and (spent := spent_s(snapshot)) >= hours * 3600:
        return f"the budget is spent ({spent_of(spent, hours)})"
    return past_deadline(snapshot)


def spent_of(seconds: float, hours: float) -> str:
    """`24 of 24 device hours`: what of a budget is spent, in words."""
    return f"{short(seconds / 3600)} of {hours:g} device hours"


def short(amount: float) -> str:
    """Two digits, or all before the point where these are more; no power of ten for what is large."""
    return f"{amount:.2g}" if amount < 99.5 else f"{amount:.0f}"


def past_deadline(snapshot: Snapshot) -> str | None:
    """That the study's deadline has passed, and which; None where it has none or that is not so."""
    ends = deadlines.of_study(snapshot)
    if ends is None or snapshot.at is None or snapshot.at < ends:
        return None
    return f"the deadline has passed ({deadlines.shown(ends)})"


def spent_s(snapshot: Snapshot) -> float:
    """Device seconds of training of the study's own trials."""
    return device_s(snapshot)


def plateau(study: Study, design: Design, view: View) -> str | None:
    """Why a search has had enough; None where it goes on.

    The sampled cells whose trials are done are looked at in their order. Their last `cells` must have no value that is
    better than the best one before them, the baseline's included, by more than `by`. The cells that the file wants
    tried first are among those before. Where all cells were asked for nothing is left to end.
    """
    rule = study.stop.plateau
    if rule is None or not isinstance(design, Search) or design.objectives or design.complete(view):
        return None
    done = [(name, values) for name, values in _ended(view) if name != BASELINE]
    first = [values for name, values in _ended(view) if name == BASELINE]
    before = [values for values in first + [values for _, values in done[: -rule.cells]] if values]
    last = [values for _, values in done[-rule.cells :] if values]
    if len(done) < len(design.first_cells) + rule.cells or not before:
        return None
    direction = METRICS[study.metric].direction
    choose = max if direction is Direction.MORE else min
    best = choose(map(_mean, before))
    threshold = _threshold(study, design, view, best) if rule.by == "noise_floor" else float(rule.by)
    if threshold is None:
        return None
    newest = choose(map(_mean, last)) if last else best
    if direction.better(newest, best) and abs(newest - best) > threshold:
        return None
    named = ", the noise floor" if rule.by == "noise_floor" else ""
    return (
        f"{STOPPED} {len(done)} of {design.cells} cells: the last {rule.cells} improved {study.metric} by no more than "
        f"{noise_floor.number(threshold)}{named}"
    )


def reached_plateau(study: Study, view: View) -> bool:
    """Whether it was decided that a stage is on its plateau; later seeds move its values, and not this decision."""
    return study.stop.plateau is not None and any(": the last " in text for text in view.stage.decisions)


def _threshold(study: Study, design: Design, view: View, best: float) -> float | None:
    """What two cells about as good as `best` can resolve with the seeds each cell of the stage begins with."""
    groups = seed_spread.replicates(view.snapshot)
    spread = resolution.pooled_near(groups, [[best]], share=METRICS[study.metric].is_share)
    if spread is None:
        return None
    seeds = len(study.seeds(design)) if study.replicates_of(design).when == "always" else 1
    return resolution.smallest_resolvable(*spread, seeds, noise_floor.CONFIDENCE)


def _ended(view: View) -> list[tuple[str, list[float]]]:
    """Name and final values of the cells of a stage that are done, without those that only need less memory."""
    found: list[tuple[str, list[float]]] = []
    every = view.cells
    for cell in every:
        trials = [t for t in view.trials if t.cell_id == cell.id]
        if remedies.is_remedy(cell, every) or any(t.state is not TrialState.DONE for t in trials):
            continue
        values = [t.final_value for t in trials if t.outcome is Outcome.COMPLETED and t.final_value is not None]
        found.append((cell.name, [value for value in values if math.isfinite(value)]))
    return found


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def stopped_early(design: Design, view: View, why: str) -> str:
    """That a stage is not complete, and why."""
    every = view.cells
    have = sum(cell.name != BASELINE and not remedies.is_remedy(cell, every) for cell in every)
    done = sum(name != BASELINE for name, _ in _ended(view))
    total = design.cells if isinstance(design, Search) else have
    return f"{STOPPED} {done} of {total} cells: {why}"


def decided(have: Iterable[str], kind: str, text: str | None) -> tuple[str, ...]:
    """The decisions of a stage with that of one kind replaced by `text`, or without one of that kind."""
    others = [other for other in have if not other.startswith(kind)]
    return (*others, text) if text is not None else tuple(others)
