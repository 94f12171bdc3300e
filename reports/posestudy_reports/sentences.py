"""The summary of a study in sentences computed from its results, and what is still open."""

from __future__ import annotations

from posestudy.vocabulary import Outcome, TrialState
from posestudy_reports import words
from posestudy_reports.results import CellResult, StageResult, StudyResult


def summary(result: StudyResult) -> tuple[str, ...]:
    """Sentences for the head of a report, each true of the ledger's rows; at least one."""
    trials = result.snapshot.trials
    if not trials:
        return ("No trial has been planned yet.",)
    done = [t for t in trials if t.state is TrialState.DONE]
    kinds = [(o, sum(t.outcome is o for t in done)) for o in Outcome]
    ended = words.listing([f"{n} {words.OUTCOMES[o]}" for o, n in kinds if n])
    time = sum(t.duration_s or 0.0 for t in trials)
    first = f"The study has {words.count(len(trials), 'trial')} in {words.count(len(result.stages), 'stage')}"
    first += f"; of the {len(done)} that have ended, {ended}" if done else "; none has ended"
    first += f". Training took {words.duration(time)} in all, added up over trials." if time else "."
    return (first, *_best(result), *(_carry(s) for s in result.stages if s.stage.carried), *_seeds(result))


def still_open(result: StudyResult) -> tuple[str, ...]:
    """What is missing for the study to be complete, a sentence each; empty where nothing is."""
    trials = result.snapshot.trials
    found = []
    running = [t.number for t in trials if t.state is TrialState.RUNNING]
    waiting = [t.number for t in trials if t.state is TrialState.WAITING]
    if running:
        found.append(f"{_numbered(running)} running.")
    if waiting:
        found.append(f"{_numbered(waiting)} waiting for a worker.")
    if result.snapshot.study.state != "closed":
        stages = [s.stage.name for s in result.stages if s.stage.state == "open"]
        if stages:
            found.append(f"Stage {words.listing(stages)} has not chosen what it carries.")
        if result.unopened:
            plural = "Stages" if len(result.unopened) > 1 else "Stage"
            found.append(f"{plural} {words.listing(result.unopened)} not opened yet.")
    failed = [t.number for t in trials if t.outcome is Outcome.FAILED]
    if failed:
        found.append(f"{_numbered(failed)} failed and counted as no result; launch again with --retry failed.")
    return tuple(found)


def _numbered(numbers: list[int]) -> str:
    return f"Trial{'s' if len(numbers) > 1 else ''} {words.listing([str(n) for n in numbers])}"


def _best(result: StudyResult) -> tuple[str, ...]:
    if result.best is None:
        return ()
    stage, cell = result.best
    so_far = "" if result.snapshot.study.state == "closed" else " so far"
    place = f"{words.quoted(cell.label)} of stage {words.quoted(stage.stage.name)}"
    text = f"The best cell{so_far} is {place}, {_value(result, cell)}"
    origin = result.stages[0]
    if origin.baseline and origin.baseline.final and cell.final and cell is not origin.baseline:
        gain = words.difference(cell.final.mean - origin.baseline.final.mean, result.metric)
        text += f": {gain} against the baseline of the first stage, {_value(result, origin.baseline)}"
    return (text + ".",)


def _value(result: StudyResult, cell: CellResult) -> str:
    """`at AP 0.459 (24 epochs, mean of 3 seeds, 0.451-0.466)`."""
    spread = cell.final
    if spread is None:
        return "without a number"
    text = f"at {result.metric.short} {words.score(spread.mean, result.metric)} (epoch {spread.epochs[1]}"
    if spread.count > 1:
        low, high = words.score(spread.low, result.metric), words.score(spread.high, result.metric)
        return f"{text}, mean of {spread.count} seeds, {low}{words.DASH}{high})"
    return f"{text}, one seed)"


def _carry(stage: StageResult) -> str:
    carried = stage.named(stage.stage.carried)
    label = carried.label if carried else stage.stage.carried or ""
    text = f"Stage {words.quoted(stage.stage.name)} carried {words.quoted(label)}"
    return f"{text}: {stage.reason}." if stage.reason else f"{text}."


def _seeds(result: StudyResult) -> tuple[str, ...]:
    """How far the differences can be trusted: against the range of the seeds, where there is one."""
    if result.best is None:
        return ()
    _, best = result.best
    baseline = result.stages[0].baseline
    if baseline is None or baseline is best or best.final is None or baseline.final is None:
        return ()
    ranges = [c.final.high - c.final.low for s in result.stages for c in s.cells if c.final and c.final.count > 1]
    if not ranges:
        return ("With one seed a cell, a difference as small as that between two seeds says nothing.",)
    gain = abs(best.final.mean - baseline.final.mean)
    relation = "more than" if gain > max(ranges) else "not more than"
    size = words.score(max(ranges), result.metric)
    return (
        f"The best cell differs from the baseline by {relation} the largest range of the seeds of one cell ({size}).",
    )
