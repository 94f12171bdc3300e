"""Which seeds a cell gets, and when: all at once, or where they decide (`when: unresolved`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from posestudy.ledger.records import AddSeeds, CellRecord, Decide, Snapshot
from posestudy.vocabulary import METRICS, Direction, Outcome, TrialState
from posestudy_studies import seed_allocation, seed_spread, stop_rules
from posestudy_studies.designs.base import BASELINE, Design, View
from posestudy_studies.seed_allocation import Candidate, Question
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


def waits_for_baseline(study: Study, design: Design, view: View, *, more: bool) -> bool:
    """Whether the other cells of a stage come after the seeds of its baseline, which are not done; `more`: some do."""
    if not (more or len(view.cells) == 1) or not baseline_first(study, design, view.stage.ordinal):
        return False
    return any(t.state is not TrialState.DONE for t in view.trials)


def baseline_first(study: Study, design: Design, ordinal: int) -> bool:
    """Whether the baseline of a stage is trained with all its seeds before any other cell."""
    return ordinal == 0 and design.include_baseline and study.replicates_of(design).baseline_first


def before_closing(study: Study, design: Design, view: View) -> AddSeeds | None:
    """The next seed for the two best cells of a stage, where it is not resolved which of them is better."""
    if study.replicates_of(design).when == "always" or stop_rules.halted(view.snapshot):
        return None
    return _round(study, design, view, _best_two(study, view))


def after_the_last_stage(study: Study, snapshot: Snapshot) -> list[AddSeeds]:
    """The next seeds for the cells whose difference to their stage's baseline is not resolved yet."""
    wanted: list[AddSeeds] = []
    if stop_rules.halted(snapshot):
        return wanted
    keys = {(cell.stage_id, cell.name): cell.key for cell in snapshot.cells}
    asked: set[tuple[str, int]] = set()
    for stage in snapshot.stages:
        if stage.ordinal >= len(study.stages):
            continue
        design, view = study.stages[stage.ordinal], View(snapshot, stage)
        if study.replicates_of(design).when == "always":
            continue
        change = _round(study, design, view, _against_baseline(view))
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


def decisions(study: Study, snapshot: Snapshot) -> list[Decide]:
    """What is to be written down of each stage when no seed is added any more: why none is."""
    found: list[Decide] = []
    for stage in snapshot.stages:
        if stage.ordinal >= len(study.stages):
            continue
        design, view = study.stages[stage.ordinal], View(snapshot, stage)
        texts = stop_rules.decided(stage.decisions, stop_rules.NO_SEEDS, _why_none(study, design, view))
        if texts != stage.decisions:
            found.append(Decide(stage.id, stage.version, texts))
    return found


def _why_none(study: Study, design: Design, view: View) -> str | None:
    """Why a stage whose seeds go where they decide gets none; None where all is resolved or nothing is left to add."""
    if study.replicates_of(design).when == "always":
        return None
    candidates = _candidates(study, design, view)
    open_ones = [q for q in _against_baseline(view) if candidates[q.one].left or candidates[q.other].left]
    if not open_ones:
        return None
    several = "s" if len(open_ones) > 1 else ""
    what = f"{len(open_ones)} difference{several} from the baseline not resolved"
    if halted := stop_rules.halted(view.snapshot):
        return f"{stop_rules.NO_SEEDS}: {halted}; {what}"
    verb = "each has" if several else "it has"
    return f"{stop_rules.NO_SEEDS}: {what}, and {verb} a chance below 5 % to be with all seeds that are left"


def _best_two(study: Study, view: View) -> list[Question]:
    direction = METRICS[study.metric].direction
    ranked = sorted(_finished(view), key=lambda item: _rank(item[1], direction), reverse=True)
    return _questions(view, [(ranked[0], ranked[1])] if len(ranked) > 1 else [])


def _against_baseline(view: View) -> list[Question]:
    finished = _finished(view)
    baseline = next((item for item in finished if item[0].name == view.stage.baseline), None)
    return _questions(view, [(item, baseline) for item in finished if baseline and item is not baseline])


def _questions(view: View, pairs: Sequence[tuple[_Finished, _Finished]]) -> list[Question]:
    """Those pairs whose difference is not resolved."""
    return [
        Question(one.name, other.name, seed_spread.near(view.snapshot, values, others))
        for (one, values), (other, others) in pairs
        if not seed_spread.resolved(view.snapshot, values, others)
    ]


def _round(study: Study, design: Design, view: View, questions: Sequence[Question]) -> AddSeeds | None:
    if not questions:
        return None
    candidates = _candidates(study, design, view)
    if study.stop.nothing_to_resolve:
        questions = [q for q in questions if seed_allocation.has_chance(q, candidates)]
    chosen = seed_allocation.next_round(questions, list(candidates.values()))
    if not chosen:
        return None
    return AddSeeds(view.stage.id, view.stage.version, {name: (seed,) for name, seed in chosen.items()})


def _candidates(study: Study, design: Design, view: View) -> dict[str, Candidate]:
    """The cells of a stage that have a value, by name."""
    seeds, finished = study.seeds(design), _finished(view)
    trials = {cell.name: [t for t in view.trials if t.cell_id == cell.id] for cell, _ in finished}
    took = {name: [t.duration_s for t in mine if t.duration_s] for name, mine in trials.items()}
    timed = all(took.values())
    return {
        cell.name: Candidate(
            cell.name,
            values,
            [seed for seed in seeds if seed not in {t.seed for t in trials[cell.name]}],
            _mean(took[cell.name]) if timed else float(max(1, int(cell.config["epochs"]))),
        )
        for cell, values in finished
    }


_Finished = tuple[CellRecord, list[float]]


def _finished(view: View) -> list[_Finished]:
    """The cells of the stage with a final value, in order, each with those of its seeds."""
    found: list[_Finished] = []
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
    mean = _mean(values)
    return mean if direction is Direction.MORE else -mean


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def trained_seeds(snapshot: Snapshot, key: str) -> list[int]:
    """The seeds with which the configuration of this key has been trained in the study."""
    cells = {cell.id for cell in snapshot.cells if cell.key == key}
    return [t.seed for t in snapshot.trials if t.cell_id in cells and t.state is TrialState.DONE]
