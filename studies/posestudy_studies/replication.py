"""Which seeds a cell gets, and when: all at once, or where they decide (`when: unresolved`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from posestudy.ledger.records import AddSeeds, CellRecord, Snapshot, StageRecord
from posestudy.vocabulary import METRICS, Direction, Outcome, TrialState
from posestudy_studies import seed_spread
from posestudy_studies.designs.base import BASELINE, Design, View
from posestudy_studies.spec import Study


def first_seeds(study: Study, design: Design, ordinal: int, name: str, trained: Sequence[int] = ()) -> tuple[int, ...]:
    """The seeds a new cell starts with.

    Args:
        study: the study.
        design: its stage.
        ordinal: the stage's place, from 0.
        name: the cell's name.
        trained: seeds its configuration was trained with already, in an earlier stage.
    """
    seeds = study.seeds(design)
    if study.replicates_of(design).when == "always":
        return seeds
    if name == BASELINE:
        # All of them for the first baseline: their spread is the noise floor of the study.
        return seeds if ordinal == 0 else tuple(s for s in seeds if s in trained or s == seeds[0])
    return seeds[:1]


def before_closing(study: Study, design: Design, view: View) -> AddSeeds | None:
    """The next seed for the two best cells of a stage, where it is not resolved which of them is better."""
    if study.replicates_of(design).when == "always" or _budget_is_spent(study, view.snapshot):
        return None
    direction = METRICS[study.metric].direction
    ranked = sorted(_finished(view), key=lambda item: _rank(item[1], direction), reverse=True)
    if len(ranked) < 2 or seed_spread.resolved(view.snapshot, ranked[0][1], ranked[1][1]):
        return None
    return _more(study, design, view, [cell for cell, _ in ranked[:2]])


def after_the_last_stage(study: Study, snapshot: Snapshot) -> list[AddSeeds]:
    """The next seed for every cell whose difference to its stage's baseline is not resolved yet."""
    wanted: list[AddSeeds] = []
    if _budget_is_spent(study, snapshot):
        return wanted
    keys = {(cell.stage_id, cell.name): cell.key for cell in snapshot.cells}
    asked: set[tuple[str, int]] = set()
    for stage in snapshot.stages:
        if stage.ordinal >= len(study.stages):
            continue
        design, view = study.stages[stage.ordinal], View(snapshot, stage)
        if study.replicates_of(design).when == "always":
            continue
        change = _unresolved_against_baseline(study, design, stage, view)
        if change is None:
            continue
        # A configuration that stands in two stages is trained in the first; the other takes its result over later.
        seeds = {
            name: fresh
            for name, more in change.seeds.items()
            if (fresh := tuple(seed for seed in more if (keys[stage.id, name], seed) not in asked))
        }
        asked |= {(keys[stage.id, name], seed) for name, fresh in seeds.items() for seed in fresh}
        if seeds:
            wanted.append(replace(change, seeds=seeds))
    return wanted


def _unresolved_against_baseline(study: Study, design: Design, stage: StageRecord, view: View) -> AddSeeds | None:
    finished = _finished(view)
    baseline = next((values for cell, values in finished if cell.name == stage.baseline), None)
    if baseline is None:
        return None
    unresolved = [
        cell
        for cell, values in finished
        if cell.name != stage.baseline and not seed_spread.resolved(view.snapshot, values, baseline)
    ]
    if not unresolved:
        return None
    also = [cell for cell, _ in finished if cell.name == stage.baseline]
    return _more(study, design, view, unresolved + also)


def _more(study: Study, design: Design, view: View, cells: Sequence[CellRecord]) -> AddSeeds | None:
    """One seed more for those of `cells` that have the fewest; None where all seeds are spent."""
    seeds = study.seeds(design)
    have = {cell.name: {t.seed for t in view.trials if t.cell_id == cell.id} for cell in cells}
    left = {name: [seed for seed in seeds if seed not in mine] for name, mine in have.items()}
    fewest = min((len(seeds) - len(rest) for rest in left.values() if rest), default=None)
    if fewest is None:
        return None
    chosen: dict[str, tuple[int, ...]] = {
        name: (rest[0],) for name, rest in left.items() if rest and len(seeds) - len(rest) == fewest
    }
    return AddSeeds(view.stage.id, view.stage.version, chosen)


def _finished(view: View) -> list[tuple[CellRecord, list[float]]]:
    """The cells of the stage with a final value, in order, each with those of its seeds."""
    found: list[tuple[CellRecord, list[float]]] = []
    for cell in view.cells:
        values = [
            t.final_value
            for t in view.trials
            if t.cell_id == cell.id and t.outcome is Outcome.COMPLETED and t.final_value is not None
        ]
        if values:
            found.append((cell, values))
    return found


def _rank(values: Sequence[float], direction: Direction) -> float:
    mean = math.fsum(values) / len(values)
    return mean if direction is Direction.MORE else -mean


def _budget_is_spent(study: Study, snapshot: Snapshot) -> bool:
    if study.budget is None or study.budget.gpu_hours is None:
        return False
    spent_s = sum(t.duration_s or 0.0 for t in snapshot.trials if t.source is None)
    return spent_s >= study.budget.gpu_hours * 3600


def trained_seeds(snapshot: Snapshot, key: str) -> list[int]:
    """The seeds with which the configuration of this key has been trained in the study."""
    cells = {cell.id for cell in snapshot.cells if cell.key == key}
    return [t.seed for t in snapshot.trials if t.cell_id in cells and t.state is TrialState.DONE]
