"""What comes next in a study, as a pure function of what the ledger holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from posestudy.ledger.records import (
    AddCells,
    Change,
    CloseStage,
    CloseStudy,
    Decide,
    EndPaused,
    OpenStage,
    Promote,
    Snapshot,
    StageRecord,
    TrialRecord,
)
from posestudy.vocabulary import METRICS, Direction, Outcome, TrialState
from posestudy_studies import asha, cells, noise_floor, remedies, replication, stop_rules, warm_start
from posestudy_studies.designs.base import BASELINE, Design, Proposal, View
from posestudy_studies.spec import Study
from posestudy_studies.training import Training


def advance(snapshot: Snapshot) -> list[Change]:
    """The changes to apply now, in order; `[]` where trials must finish first or the study is closed.

    Opens the stages one after the other, lets paused trials go on or asks their designs for further cells, closes a
    stage when all its trials are done, and closes the study after its last stage. Call it again after each applied
    change.
    """
    if snapshot.study.state == "closed":
        return []
    study = Study.model_validate(snapshot.study.document)
    stages = sorted(snapshot.stages, key=lambda s: s.ordinal)
    if not stages:
        return [_opened(study, 0, study.baseline, snapshot)]
    last = View(snapshot, stages[-1])
    if last.stage.state != "closed":
        return _continued(study, last)
    following = last.stage.ordinal + 1
    if following < len(study.stages):
        halt = stop_rules.halted(snapshot)
        none_follows = None if halt is None else f"{stop_rules.NO_STAGE}: {halt}"
        told = _told(last.stage, stop_rules.NO_STAGE, none_follows)
        return told if halt else [*told, _opened(study, following, carried_config(last), snapshot)]
    if any(t.state is not TrialState.DONE for t in snapshot.trials):
        return _paused_again(study, snapshot)
    later = replication.after_the_last_stage(study, snapshot)
    return [*later] or [*replication.decisions(study, snapshot), CloseStudy()]


def _opened(study: Study, ordinal: int, start: Training, snapshot: Snapshot) -> OpenStage:
    design = study.stages[ordinal]
    proposals = [cells.baseline_proposal(design)] if design.include_baseline else []
    if not replication.baseline_first(study, design, ordinal):
        proposals += design.opening(start)
    trained = replication.trained_seeds(snapshot, cells.key(study, start))
    return OpenStage(
        ordinal=ordinal,
        name=design.name,
        design=design.design,
        baseline=BASELINE if design.include_baseline else None,
        start=start.model_dump(mode="json"),
        cells=tuple(
            cells.new_cell(study, start, p, replication.first_seeds(study, design, ordinal, p.name, trained))
            for p in proposals
        ),
    )


def _continued(study: Study, view: View) -> list[Change]:
    if view.stage.ordinal >= len(study.stages):
        return []
    design = study.stages[view.stage.ordinal]
    start = Training.model_validate(view.stage.start)
    known = {cell.name for cell in view.cells}
    # Cells an edited study file has gained are added to a stage that is still open.
    wanted: Sequence[Proposal] = [p for p in design.opening(start) if p.name not in known]
    decided = _decided(study, design, start, view, more=bool(wanted))
    if decided is not None:
        return decided
    if _on_plateau(study, view):
        return _closing(study, design, view)
    if not wanted and (promoted := asha.promotions(design, view)):
        return _promoted(promoted)
    wanted = wanted or design.following(start, view) or remedies.proposals(design, start, view)
    if wanted:
        ordinal = view.stage.ordinal
        new = tuple(
            cells.new_cell(study, start, p, replication.first_seeds(study, design, ordinal, p.name)) for p in wanted
        )
        begins = [text for p in wanted if (text := p.optuna.get(warm_start.KEY, {}).get("told"))]
        told = [change for text in begins for change in _told(view.stage, warm_start.BEGINS, text)]
        return [*told, AddCells(view.stage.id, view.stage.version, new)]
    return _closing(study, design, view) if design.complete(view) else []


def _decided(study: Study, design: Design, start: Training, view: View, *, more: bool) -> list[Change] | None:
    """What is written down of an open stage before anything else happens, or `[]` where nothing may; None: go on.

    `more` says that cells of its opening are still to come.
    """
    stage = view.stage
    done = all(t.state is TrialState.DONE for t in view.trials)
    halt = stop_rules.halted(view.snapshot)
    if halt is not None and (more or not done or not (design.complete(view) or _on_plateau(study, view))):
        return _told(stage, stop_rules.STOPPED, stop_rules.stopped_early(design, view, halt))
    if halt is None and not _on_plateau(study, view) and (told := _told(stage, stop_rules.STOPPED, None)):
        return told
    if replication.waits_for_baseline(study, design, view, more=more):
        return []
    if replication.baseline_first(study, design, stage.ordinal) and (floor := noise_floor.of_study(view.snapshot)):
        rows, seeds = len(design.planned(start)), len(study.seeds(design))
        if not any(text.startswith(stop_rules.NOISE_FLOOR) for text in stage.decisions):
            return _told(stage, stop_rules.NOISE_FLOOR, noise_floor.told(floor, study.metric, seeds, rows))
    if not _on_plateau(study, view) and (why := stop_rules.plateau(study, design, view)) is not None:
        return _told(stage, stop_rules.STOPPED, why)
    return None


def _on_plateau(study: Study, view: View) -> bool:
    return stop_rules.reached_plateau(study, view)


def _told(stage: StageRecord, kind: str, text: str | None) -> list[Change]:
    """The change that makes `text` the stage's decision of a kind; none where it is so already."""
    texts = stop_rules.decided(stage.decisions, kind, text)
    return [Decide(stage.id, stage.version, texts)] if texts != stage.decisions else []


def _closing(study: Study, design: Design, view: View) -> list[Change]:
    """The end of a stage that gets no further cell, once its trials have ended."""
    states = {t.state for t in view.trials}
    if states & {TrialState.WAITING, TrialState.RUNNING}:
        return []
    if TrialState.PAUSED in states:
        return _end_of_pauses(study, view)
    seeds = replication.before_closing(study, design, view)
    if seeds is not None:
        return [seeds]
    _, reason = _carried(study, view)
    decisions = view.stage.decisions
    return [CloseStage(view.stage.id, view.stage.version, carried_name(study, view), reason, decisions)]


def _paused_again(study: Study, snapshot: Snapshot) -> list[Change]:
    """What becomes of the trials that pause in a closed stage: they were put back (`launch --retry`).

    Nothing new is asked there, and what the stage carries stays.
    """
    if stop_rules.halted(snapshot):
        return []
    for stage in snapshot.stages:
        view = View(snapshot, stage)
        states = {t.state for t in view.trials}
        if stage.ordinal >= len(study.stages) or TrialState.PAUSED not in states:
            continue
        if promoted := asha.promotions(study.stages[stage.ordinal], view):
            return _promoted(promoted)
        if not states & {TrialState.WAITING, TrialState.RUNNING}:
            return _end_of_pauses(study, view)
    return []


def _end_of_pauses(study: Study, view: View) -> list[Change]:
    """The end of what pauses in a stage where nothing runs and nobody passes a rung."""
    if promoted := asha.last_promotion(study.stages[view.stage.ordinal], view):
        return _promoted(promoted)
    if view.stage.state == "open" and (seeds := _paused_of_the_carried(study, view)):
        return _promoted(seeds)
    return [EndPaused(view.stage.id, view.stage.version, study.metric, METRICS[study.metric].direction)]


def _paused_of_the_carried(study: Study, view: View) -> list[TrialRecord]:
    """What pauses of the cell that the stage would carry now: none is carried by its luckiest seeds alone."""
    name = carried_name(study, view)
    mine = {cell.id for cell in view.cells if cell.name == name}
    return [t for t in view.trials if t.cell_id in mine and t.state is TrialState.PAUSED]


def _promoted(trials: Sequence[TrialRecord]) -> list[Change]:
    return [Promote(trial.uid, trial.fence) for trial in trials]


def carried_name(study: Study, view: View) -> str | None:
    """The cell a stage whose trials are all done hands on; None where that is its start, which has no cell."""
    name, _ = _carried(study, view)
    return name if any(cell.name == name for cell in view.cells) else None


def carried_config(view: View) -> Training:
    """The configuration that a closed stage hands on."""
    for cell in view.cells:
        if cell.name == view.stage.carried:
            return Training.model_validate(cell.config)
    # The baseline without a cell of its own (`include_baseline: false`).
    return Training.model_validate(view.stage.start)


@dataclass(frozen=True)
class _Result:
    name: str
    value: float
    completed: int
    seeds: int


def _results(view: View) -> list[_Result]:
    found: list[_Result] = []
    for cell in view.cells:
        trials = [t for t in view.trials if t.cell_id == cell.id]
        values = [
            t.final_value
            for t in trials
            if t.outcome is Outcome.COMPLETED and t.final_value is not None and math.isfinite(t.final_value)
        ]
        if values:
            found.append(_Result(cell.name, math.fsum(values) / len(values), len(values), len(trials)))
    return found


def _carried(study: Study, view: View) -> tuple[str, str]:
    """The cell the next stage starts from, and why."""
    following = view.stage.ordinal + 1
    carry = study.stages[following].carry if following < len(study.stages) else "best"
    results = _results(view)
    direction = METRICS[study.metric].direction
    best = results[0] if results else None
    for result in results[1:]:
        if best is not None and direction.better(result.value, best.value):
            best = result
    if carry != "best":
        reason = f"{carry}: stage '{study.stages[following].name}' says `carry: {carry}`"
        if best is not None and best.name != carry:
            reason += f"; by its value {best.name} is the best ({study.metric} {best.value:.3f})"
        return carry, reason + "."
    if best is None:
        return BASELINE, f"baseline: no cell of stage '{view.stage.name}' completed with a value of {study.metric}."
    return best.name, _reason(study, view.stage, best, results, len(view.cells), direction)


def _reason(
    study: Study, stage: StageRecord, best: _Result, results: Sequence[_Result], count: int, direction: Direction
) -> str:
    baseline = next((r for r in results if r.name == stage.baseline), None)
    value, reference = _texts(best.value, baseline.value if baseline else best.value)
    what = f"{study.metric} {value}"
    if best.seeds > 1:
        what += f" (mean of {best.completed} of {best.seeds} seeds)"
    superlative = "best" if direction is Direction.MORE else "best (lowest)"
    text = f"{best.name}: {what} is the {superlative} of {count} cell{'s' if count > 1 else ''}"
    if baseline and best.name != baseline.name:
        text += f" (baseline {reference})"
    if stage.baseline and not baseline:
        text += " (the baseline has no value)"
    without = count - len(results)
    if without:
        text += f"; {without} without a value"
    tied = [r.name for r in results if r.value == best.value and r.name != best.name]
    if tied:
        text += f"; ties with {', '.join(tied)} go to the earlier cell"
    return text + "."


def _texts(left: float, right: float) -> tuple[str, str]:
    """Both numbers with three decimals, or with as many as it takes to tell them apart."""
    for digits in range(3, 10):
        texts = (f"{left:.{digits}f}", f"{right:.{digits}f}")
        if left == right or texts[0] != texts[1]:
            break
    return texts
