"""The summary of a study in sentences computed from its results, and what is still open."""

from __future__ import annotations

from posestudy.vocabulary import Metric, Outcome, TrialState
from posestudy_reports import footnotes, words
from posestudy_reports.comparison import NoiseFloor, noise_floor, smallest, spread_near
from posestudy_reports.expectation import expectation
from posestudy_reports.quantities import fixed, only_evaluated
from posestudy_reports.results import CellResult, StageResult, StudyResult


def summary(result: StudyResult, disk_bytes: int | None = None) -> tuple[str, ...]:
    """Sentences for the head of a report, each true of the ledger's rows; at least one."""
    trials = result.snapshot.trials
    if not trials:
        return ("No trial has been planned yet.",)
    done = [t for t in trials if t.state is TrialState.DONE]
    kinds = [(o, sum(t.outcome is o for t in done)) for o in Outcome]
    ended = words.listing([f"{n} {words.OUTCOMES[o]}" for o, n in kinds if n])
    time = sum(t.duration_s or 0.0 for t in trials if t.source is None and not only_evaluated(t))
    first = f"The study has {words.count(len(trials), 'trial')} in {words.count(len(result.stages), 'stage')}"
    first += f"; of the {len(done)} that have ended, {ended}" if done else "; none has ended"
    first += f". Training took {words.duration(time)} in all, added up over trials." if time else "."
    carried = [_carry(result, s) for s in result.stages if s.stage.carried]
    return (first, *_origins(result), *expectation(result, disk_bytes), *_best(result), *carried, *_noise(result))


def _origins(result: StudyResult) -> tuple[str, ...]:
    """How many results were not trained for this study."""
    kinds = [str(t.source.get("kind")) for t in result.snapshot.trials if t.source]
    counts = [f"{kinds.count(kind)} {kind}" for kind in ("reused", "imported") if kind in kinds]
    found = [f"Not trained for this study but {words.listing(counts)}."] if counts else []
    looked = sum(t.source is None and only_evaluated(t) for t in result.snapshot.trials)
    if looked:
        found.append(f"{words.count(looked, 'trial')} only evaluated weights that were there.")
    return tuple(found)


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
    when = f"epoch {spread.epochs[1]}" if spread.epochs[1] else "weights as given"
    text = f"at {result.metric.short} {words.score(spread.mean, result.metric)} ({when}"
    if spread.count > 1:
        low, high = words.score(spread.low, result.metric), words.score(spread.high, result.metric)
        return f"{text}, mean of {spread.count} seeds, {low}{words.DASH}{high})"
    return f"{text}, one seed)"


def _carry(result: StudyResult, stage: StageResult) -> str:
    carried, better = stage.named(stage.stage.carried), result.contradicting(stage)
    label = carried.label if carried else stage.stage.carried or ""
    text = f"Stage {words.quoted(stage.stage.name)} carried {words.quoted(label)}"
    text = f"{text}: {stage.reason}." if stage.reason else f"{text}."
    return f"{text} {footnotes.contradiction(result.metric, carried, better)}" if carried and better else text


def _noise(result: StudyResult) -> tuple[str, ...]:
    """The smallest difference the study can resolve, and whether the best cell's gain is one."""
    floor, baseline = noise_floor(result), result.stages[0].baseline if result.stages else None
    best = result.best[1] if result.best else None
    pair = (best, baseline) if best and baseline and best is not baseline and baseline.final else None
    pair = None if pair and fixed(*pair) else pair
    if floor is None:
        text = "With one seed a cell, a difference as small as that between two seeds says nothing."
        return (text,) if pair else ()
    return (_floor(floor, result.metric), *([_gain(result, *pair)] if pair else []))


def _floor(floor: NoiseFloor, metric: Metric) -> str:
    whose = f"the {floor.baseline_seeds} seeds of the first baseline"
    if not floor.baseline_seeds:
        whose = "the seeds of its cells"
    spread, most = (floor.sd, floor.df), floor.replicates
    text = (
        f"Over {whose} {metric.short} has a standard deviation of {words.precise(floor.sd, metric)}: the smallest "
        f"difference that can be resolved there is {words.precise(smallest(spread, 1, 1), metric)} between single seeds"
    )
    if most > 1:
        text += f" and {words.precise(smallest(spread, most, most), metric)} with {most} seeds a cell"
    return f"{text} (95 %, one comparison)."


def _gain(result: StudyResult, best: CellResult, baseline: CellResult) -> str:
    """The best cell against the first baseline, by seeds of cells as good as it; that is no row of any table."""
    spread = spread_near(result, best, baseline)
    if spread is None:
        return (
            "No cell near the best one was trained with several seeds, so what seeds make of its difference from the "
            "first baseline is not known."
        )
    seeds = len(best.finals), len(baseline.finals)
    least = smallest(spread, *seeds)
    gain = best.final.mean - baseline.final.mean if best.final and baseline.final else 0.0
    return (
        f"Taken alone, the best cell differs from the first baseline by {'more' if abs(gain) > least else 'not more'} "
        f"than the {words.precise(least, result.metric)} that {seeds[0]} and {seeds[1]} seeds can resolve; the tables "
        "compare all their rows at once and so ask for more."
    )
