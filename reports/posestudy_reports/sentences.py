"""The summary of a study in sentences computed from its results, and what is still open."""

from __future__ import annotations

from posestudy.vocabulary import Metric, Outcome, TrialState
from posestudy_reports import cell_numbers, decided, test_use, words
from posestudy_reports.addressed import Number, Text, said
from posestudy_reports.carry_reason import carry_reason, contradiction
from posestudy_reports.comparison import NoiseFloor, noise_floor, smallest, spread_near
from posestudy_reports.expectation import expectation
from posestudy_reports.quantities import fixed, only_evaluated
from posestudy_reports.results import CellResult, StageResult, StudyResult
from posestudy_studies.resolution import Spread


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
    first += f"; of the {len(done)} that have ended, {ended}." if done else "; none has ended."
    if time:
        took = Number("study/duration", words.duration(time), time, "sum of durations, from the ledger", ())
        first = said("{first} Training took {took} in all, added up over trials.", first=first, took=took)
    carried = [
        text
        for s in result.stages
        for text in (*((_carry(result, s),) if s.stage.carried else ()), *decided.decisions(s))
    ]
    about = (*_origins(result), *_contested(result), *expectation(result, disk_bytes))
    used = test_use.sentence(result)
    return (first, *about, *_best(result), *carried, *_noise(result), *([used] if used else []))


def _contested(result: StudyResult) -> tuple[str, ...]:
    """Which results are left out since their own files speak against them."""
    found = {n: why for stage in result.stages for cell in stage.cells for n, why in cell.contradicted.items()}
    return tuple(f"Trial {number} is left out of everything: {why}." for number, why in sorted(found.items()))


def _origins(result: StudyResult) -> tuple[str, ...]:
    """How many results were not trained for this study."""
    kinds = [str(t.source.get("kind")) for t in result.snapshot.trials if t.source]
    had = [(kinds.count(kind), kind) for kind in ("reused", "imported") if kind in kinds]
    counts = [f"{number} {'was' if number == 1 else 'were'} {kind}" for number, kind in had]
    found = [f"Of the trials, {words.listing(counts)} rather than trained."] if counts else []
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
    paused = [t.number for t in trials if t.state is TrialState.PAUSED]
    if running:
        found.append(f"{_numbered(running)} running.")
    if waiting:
        found.append(f"{_numbered(waiting)} waiting for a worker.")
    if paused:
        found.append(f"{_numbered(paused)} paused for better ones.")
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
    text = said("The best cell{so_far} is {place}, ", so_far=so_far, place=place)
    origin = result.stages[0]
    first = origin.baseline
    if first is None or first.final is None or cell.final is None or cell is first:
        return (Text(text, _value(result, stage, cell), "."),)
    gained = cell.final.mean - first.final.mean
    uids = tuple(t.uid for t in (*cell.completed, *first.completed))
    formula = f"mean final {result.metric.name} of the best cell minus that of the first baseline"
    gain = Number("study/gain", words.difference(gained, result.metric), gained, formula, uids)
    than = _value(result, origin, first)
    against = said(": {gain} against the baseline of the first stage, {than}.", gain=gain, than=than)
    return (Text(text, _value(result, stage, cell), against),)


def _value(result: StudyResult, stage: StageResult, cell: CellResult) -> str:
    """`at AP 0.459 (24 epochs, mean of 3 seeds, 0.451-0.466)`."""
    mean, low, high = (cell_numbers.final(result, stage, cell, end) for end in cell_numbers.ENDS)
    spread = cell.final
    if spread is None or mean is None or low is None or high is None:
        return "without a number"
    when = f"epoch {spread.epochs[1]}" if spread.epochs[1] else "weights as given"
    seeds = said("mean of {n} seeds, {low}\u2013{high}", n=spread.count, low=low, high=high)
    return said(
        "at {metric} {mean} ({when}, {seeds})",
        metric=result.metric.short, mean=mean, when=when, seeds=seeds if spread.count > 1 else "one seed",
    )  # fmt: skip


def _carry(result: StudyResult, stage: StageResult) -> str:
    carried, better = stage.named(stage.stage.carried), result.contradicting(stage)
    label = carried.label if carried else stage.stage.carried or ""
    text = f"Stage {words.quoted(stage.stage.name)} carried {words.quoted(label)}"
    reason = carry_reason(result, stage)
    told = Text(text, ": ", reason, ".") if reason else Text(text, ".")
    return Text(told, " ", contradiction(result, stage, carried, better)) if carried and better else told


def _noise(result: StudyResult) -> tuple[str, ...]:
    """The smallest difference the study can resolve, and whether the best cell's gain is one."""
    floor, baseline = noise_floor(result), result.stages[0].baseline if result.stages else None
    best = result.best[1] if result.best else None
    pair = (best, baseline) if best and baseline and best is not baseline and baseline.final else None
    pair = None if pair and fixed(*pair) else pair
    if floor is None:
        text = "With one seed a cell, a difference as small as that between two seeds says nothing."
        return (text,) if pair else ()
    of_all = tuple(t.uid for stage in result.stages for cell in stage.cells for t in cell.completed)
    uids = tuple(t.uid for t in baseline.completed) if floor.baseline_seeds and baseline else of_all
    return (_floor(floor, result.metric, uids), *([_gain(result, *pair, of_all)] if pair else []))


def _floor(floor: NoiseFloor, metric: Metric, uids: tuple[str, ...]) -> str:
    whose = f"the {floor.baseline_seeds} seeds of the first baseline"
    if not floor.baseline_seeds:
        whose = "the seeds of its cells"
    spread, most = (floor.sd, floor.df), floor.replicates
    text = said(
        "Over {whose} {metric} has a standard deviation of {sd}: the smallest difference that can be resolved there is "
        "{single} between single seeds",
        whose=whose,
        metric=metric.short,
        sd=_precise("study/seed_sd", floor.sd, metric, f"standard deviation over {whose}", uids),
        single=_least("study/resolvable/single", spread, (1, 1), metric, whose, uids),
    )
    if most > 1:
        least = _least("study/resolvable/all", spread, (most, most), metric, whose, uids)
        text = said("{text} and {least} with {most} seeds a cell", text=text, least=least, most=most)
    return Text(text, " (95 %, one comparison).")


def _gain(result: StudyResult, best: CellResult, baseline: CellResult, uids: tuple[str, ...]) -> str:
    """The best cell against the first baseline, by seeds of cells as good as it; that is no row of any table."""
    spread = spread_near(result, best, baseline)
    if spread is None:
        return (
            "No cell near the best one was trained with several seeds, so what seeds make of its difference from the "
            "first baseline is not known."
        )
    seeds = len(best.finals), len(baseline.finals)
    gain = best.final.mean - baseline.final.mean if best.final and baseline.final else 0.0
    whose = "the seeds of cells about as good"
    least = _least("study/resolvable/best", spread, seeds, result.metric, whose, uids)
    return said(
        "Taken alone, the best cell differs from the first baseline by {more} than the {least} that {left} and {right} "
        "seeds can resolve with the standard deviation of cells about as good, {sd}; the tables compare all their rows "
        "at once and so ask for more.",
        more="more" if abs(gain) > least.value else "not more",
        least=least,
        left=seeds[0],
        right=seeds[1],
        sd=_precise("study/seed_sd_near_best", spread[0], result.metric, f"standard deviation over {whose}", uids),
    )


def _least(
    address: str, spread: Spread, seeds: tuple[int, int], metric: Metric, whose: str, uids: tuple[str, ...]
) -> Number:
    value = smallest(spread, *seeds)
    formula = f"smallest difference that {seeds[0]} and {seeds[1]} seeds resolve at 95 %, by {whose}"
    return _precise(address, value, metric, formula, uids)


def _precise(address: str, value: float, metric: Metric, formula: str, uids: tuple[str, ...]) -> Number:
    return Number(address, words.precise(value, metric), value, formula, uids)
