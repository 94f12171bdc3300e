"""Running a study from its model to its last trial: what `launch`, `worker` and the demo share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

import typer

from posestudy import task_journal
from posestudy.errors import InputError, PoseStudyError
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import Json, Snapshot, TrialRecord, WithdrawStages
from posestudy.next_command import next_command
from posestudy.printable import printable
from posestudy.settings import Settings
from posestudy.vocabulary import METRICS, AttemptEnd, Direction, Outcome, TrialState
from posestudy_runner import pricing, weights
from posestudy_runner.components import VARIABLE, left_out
from posestudy_runner.context import PoolOptions, owner_is_dead
from posestudy_runner.display import display_for, duration
from posestudy_runner.engines import Ended, Placement, engine
from posestudy_runner.image_cache import ImageCache
from posestudy_runner.packages import check_packages
from posestudy_runner.pool import Goal
from posestudy_runner.settling import settle
from posestudy_runner.steering import Steering, study_steering
from posestudy_studies import edited
from posestudy_studies.advance import advance
from posestudy_studies.cluster import Cluster
from posestudy_studies.mistakes import show
from posestudy_studies.spec import Budget, Study

Say = Callable[[str], None]
MOST_CHANGES = 10
MOST_HELD = 10
_SHOWN_AS_ZERO = 0.0005


def run_study(
    study: Study,
    source: str,
    settings: Settings,
    *,
    workers: int | None = None,
    retry: Collection[Outcome] = (),
    fresh: bool = False,
    engine_name: str = "local",
    address: str | None = None,
    options: PoolOptions | None = None,
    resume_with: str | None = None,
    say: Say = typer.echo,
) -> int:
    """Check the data, put the study into the ledger and train until it is done. Calling it again resumes.

    Args:
        study: as `posestudy_studies.file.load` gives it.
        source: the text of the study file, kept with the results.
        settings: which home, ledger and MLflow store.
        workers: trials at a time on this machine at most; None for one a device, or as many a GPU as `options` says.
        retry: put trials that ended so back to run.
        fresh: train also what another stage or study of the home has trained already.
        engine_name: who places workers.
        address: of the cluster it connects to, where it is one that does.
        options: how the pool works.
        resume_with: the command to print when the user ends it early.
        say: where summary lines go.

    Returns:
        0 when the study is done or goes on elsewhere, 1 when a trial failed or cells are still open.

    Raises:
        InputError: the data set has problems; nothing was trained.
        MissingPieceError: trials cannot run here.
        PoseStudyError: initial weights are not on this machine and cannot be fetched.
    """
    from posestudy_studies import dataset

    run = engine(engine_name)
    check_environment(settings.home, say)
    problems = dataset.problems(study)
    if problems:
        raise InputError(problems)
    check_packages(study)
    weights.fetch(study, say)
    sealed = dataset.sealed(study.model_copy(update={"reuse": "none"}) if fresh else study)
    ledger = Ledger.open(settings.database_url)
    try:
        known = sealed.study in {study.name for study in ledger.studies()}
        # Before an edit takes trials away from tasks without a database: what they have trained goes on elsewhere.
        for line in task_journal.collect(ledger, settings.home, sealed.study) if known else ():
            say(line)
        for line in put_study(ledger, sealed, source):
            say(line)
        expected = _estimate(ledger, sealed, settings, workers)
        say(beginning(sealed.study, expected))
        if warning := pricing.short_of_disk(expected, settings.home):
            say(warning)
        if retry:
            say(f"{_trials(ledger.retry(sealed.study, set(retry)))} put back to run")
        for line in task_journal.take_back_lost(ledger, settings.home, sealed.study):
            say(line)
        free_dead_leases(ledger, sealed.study)
        if engine_name != "slurm" or (sealed.cluster or Cluster()).database:
            for line in told_of_held(ledger.snapshot(sealed.study, values=False)):
                say(line)
        placement = _placement(sealed, ledger, settings, workers, options or PoolOptions(), study_steering())
        ended = run(replace(placement, address=address))
        snapshot = ledger.snapshot(sealed.study, values=False)
    finally:
        ledger.close()
    for line in summary(snapshot):
        say(line)
    if ended is Ended.ELSEWHERE:
        say(f"follow with: {following(snapshot)}")
        return 0
    if ended is Ended.BY_USER and snapshot.study.state != "closed":
        say(f"resume with: {resume_with or 'the same command'}")
    say(f"report with: {next_command('report', sealed.study, '--out', f'out/{sealed.study}')}")
    return exit_code(snapshot)


def following(snapshot: Snapshot) -> str:
    """The command that shows how a study goes on elsewhere."""
    name = snapshot.study.name
    if any(task_journal.is_held(trial) for trial in snapshot.trials):
        return f"{next_command('sync', name)}; {next_command('status', name)}"
    return next_command("status", name, "--watch")


def told_of_held(snapshot: Snapshot) -> Iterator[str]:
    """What to tell a user whose workers will not get the trials that are held for tasks without a database."""
    name, held = snapshot.study.name, [trial.number for trial in snapshot.trials if task_journal.is_held(trial)]
    if held:
        numbers = ", ".join(map(str, held[:MOST_HELD])) + (", ..." if len(held) > MOST_HELD else "")
        cancel = next_command("cancel", name, "--trial", str(held[0]))
        again = next_command("launch", "STUDY.yaml", "--retry", "cancelled")
        yield (
            f"held for tasks of Slurm that reach no database, and not for other workers: trial {numbers}; "
            f"launch again once `{next_command('sync', name)}` has collected them, or take one back with "
            f"`{cancel}` and `{again}`"
        )


def join_study(name: str, settings: Settings, *, options: PoolOptions | None = None, say: Say = typer.echo) -> int:
    """Work for a launched study with one slot until it is done; returns as `run_study` does.

    Raises:
        NotFoundError: no such study, naming the nearest.
        PoseStudyError: it was imported without a study file.
    """
    ledger = Ledger.open(settings.database_url, create=False)
    try:
        placement = joining(name, settings, ledger, options=options, workers=1, say=say)
        for line in told_of_held(ledger.snapshot(name, values=False)):
            say(line)
        ended = engine("local")(placement)
        snapshot = ledger.snapshot(name, values=False)
    finally:
        ledger.close()
    for line in summary(snapshot):
        say(line)
    if ended is Ended.BY_USER:
        say(f"resume with: {next_command('worker', name)}")
    return exit_code(snapshot)


def joining(
    name: str,
    settings: Settings,
    ledger: Ledger,
    *,
    options: PoolOptions | None = None,
    workers: int | None = None,
    say: Say = typer.echo,
) -> Placement:
    """What a pool on this machine needs to work for a launched study. Raises as `join_study`."""
    document = ledger.study(name).document
    if "baseline" not in document:
        raise PoseStudyError(f"study '{name}' was imported without a study file: nothing of it can be trained")
    study = Study.model_validate(document)
    check_environment(settings.home, say)
    check_packages(study)
    weights.fetch(study, say)
    return _placement(study, ledger, settings, workers, options or PoolOptions(), study_steering())


def check_environment(home: Home, say: Say) -> None:
    """Raises PoseStudyError where a variable of the environment says what no trial understands."""
    if left := left_out():
        say(f"without {', '.join(sorted(left))}, as {VARIABLE} says")
    if why := ImageCache.resolve(home).why_not:
        say(f"decoded images are not kept: {why}")


def _placement(
    study: Study, ledger: Ledger, settings: Settings, workers: int | None, options: PoolOptions, steering: Steering
) -> Placement:
    budget = study.budget or Budget()
    if options.memory_limit_mb is None:
        options = replace(options, memory_limit_mb=budget.memory_mb)
    goal = Goal(
        study.study,
        study.metric,
        METRICS[study.metric].direction.value,
        trial_limit_s=_seconds(budget.trial_hours),
        budget_s=_seconds(budget.gpu_hours),
    )
    display = display_for(study.metric, f"study {study.study}")
    return Placement(study, settings, ledger, goal, steering, display, options, workers)


def _seconds(hours: float | None) -> float | None:
    return None if hours is None else hours * 3600


def _estimate(ledger: Ledger, study: Study, settings: Settings, workers: int | None) -> Json:
    """What the study is still expected to cost; before its first trial it goes into the ledger, to be held against
    the truth."""
    snapshots = [ledger.snapshot(known.name) for known in ledger.studies()]
    mine = next(s for s in snapshots if s.study.name == study.study)
    expected = pricing.estimate(study, settings, snapshot=mine, snapshots=snapshots, workers=workers)
    if mine.study.estimate is None and not mine.trials:
        ledger.put_estimate(study.study, expected)
    return expected


def put_study(ledger: Ledger, study: Study, source: str) -> Iterator[str]:
    """Put the study into the ledger; says what an edited file changes against the one launched before.

    Stages that the file now has otherwise are withdrawn and planned anew; trials whose configuration occurs in them
    again go over, finished or not.

    Raises:
        PoseStudyError: a study of that name was imported without a study file.
    """
    document = study.model_dump(mode="json")
    if study.study not in {known.name for known in ledger.studies()}:
        ledger.put_study(study.study, document, source)
        return
    before = ledger.snapshot(study.study, values=False)
    if "baseline" not in before.study.document:
        raise PoseStudyError(
            f"study '{study.study}' was imported without a study file; launch under another name: --set study=NAME"
        )
    # Keys that an older posestudy did not know have their defaults, and are no change.
    yield from changes(Study.model_validate(before.study.document).model_dump(mode="json"), document)
    first = edited.first_changed(study, before)
    if first is None:
        ledger.put_study(study.study, document, source)
        return
    ledger.put_study(study.study, document, source, withdraw=WithdrawStages(first))
    settle(ledger, study.study, advance)
    kept = {trial.uid for trial in ledger.snapshot(study.study, values=False).trials}
    again = [stage.name for stage in before.stages if stage.ordinal >= first]
    stay = sum(trial.uid in kept for trial in before.trials)
    yield f"planned anew: stage {', '.join(again)}; {_kept(stay, len(before.trials))}"


def _kept(stay: int, before: int) -> str:
    if stay == before:
        return f"all {before} trials are kept" if before > 1 else "its trial is kept"
    return f"{stay} of the {before} trials are kept; the others leave the tables until the file asks for them again"


def changes(before: Json, now: Json) -> Iterator[str]:
    """The differences of two study documents, a line each; a stage that came or went is one."""
    told = list(_differences(before, now))
    for line in told[:MOST_CHANGES]:
        yield f"changed since the last launch: {line}"
    if len(told) > MOST_CHANGES:
        yield f"... and {len(told) - MOST_CHANGES} more changes"


def _differences(before: Json, now: Json) -> Iterator[str]:
    had = {stage["name"]: stage for stage in before.get("stages", [])}
    has = {stage["name"]: stage for stage in now.get("stages", [])}
    # A stage in both is compared under its place in the file as it is now.
    place = {name: str(ordinal) for ordinal, name in enumerate(has)}
    old = _flat(before | {"stages": {place[name]: stage for name, stage in had.items() if name in has}})
    new = _flat(now | {"stages": {place[name]: stage for name, stage in has.items() if name in had}})
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            yield f"{key}: {show(old.get(key))} -> {show(new.get(key))}"
    yield from (f"stage '{name}' is gone" for name in had if name not in has)
    yield from (f"stage '{name}' is new" for name in has if name not in had)
    if [name for name in had if name in has] != [name for name in has if name in had]:
        yield f"the stages come in another order: {', '.join(has)}"


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(value, dict | list) or (isinstance(value, list) and not any(_is_nested(v) for v in value)):
        return {path: value}
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return {key: leaf for name, part in items for key, leaf in _flat(part, f"{path}.{name}".strip(".")).items()}


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict | list)


def free_dead_leases(ledger: Ledger, name: str) -> int:
    """Give back at once the leases of workers of this machine that died, as after a crash; returns how many."""
    freed = 0
    for trial in ledger.snapshot(name, values=False).trials:
        if trial.state is TrialState.RUNNING and owner_is_dead(trial.owner):
            freed += ledger.release(trial.uid, trial.fence, AttemptEnd.LOST, f"the worker {trial.owner} died")
    return freed


def summary(snapshot: Snapshot) -> Sequence[str]:
    """What was done and what is open, a line each."""
    stage_of = {cell.id: cell.stage_id for cell in snapshot.cells}
    lines = []
    for stage in snapshot.stages:
        trials = [t for t in snapshot.trials if stage_of[t.cell_id] == stage.id]
        counts: dict[str, int] = {}
        for trial in trials:
            word = trial.outcome.value if trial.outcome else trial.state.value.lower()
            counts[word] = counts.get(word, 0) + 1
        told = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
        carried = f"; {stage.carried_because}" if stage.carried_because else ""
        lines.append(f"{stage.name}: {_trials(len(trials))} ({told}){carried}")
        lines += [f"{stage.name}: {text}" for text in stage.decisions]
        lines += _nothing_learnt(stage.name, str(snapshot.study.document.get("metric")), trials)
    failed = [t for t in snapshot.trials if t.outcome is Outcome.FAILED]
    for trial in failed:
        why = printable((trial.message or "no message").splitlines()[0])
        words = ("logs", snapshot.study.name, str(trial.number))
        is_told = " ".join(("posestudy", *words)) in why
        lines.append(f"trial {trial.number} failed: {why}{'' if is_told else f' ({next_command(*words)})'}")
    if failed:
        lines.append("launch again with --retry failed to run them again")
    return lines


def _nothing_learnt(stage: str, metric: str, trials: Sequence[TrialRecord]) -> Iterator[str]:
    """Where to look when a stage of several trials brought zeros alone."""
    values = [trial.final_value for trial in trials if trial.outcome is Outcome.COMPLETED]
    known = METRICS.get(metric)
    if known is None or not known.is_share or known.direction is not Direction.MORE or len(values) < 2:
        return
    if all(value is not None and value < _SHOWN_AS_ZERO for value in values):
        yield (
            f'{stage}: {metric} is 0.000 in each of {len(values)} completed trials: see docs/your_data.md, "When every '
            'value is 0.000"'
        )


def beginning(name: str, expected: Json) -> str:
    """What is about to be trained, and how long it may take, by what `costs.estimate` says."""
    if not expected["trials"]:
        return f"study {name}: no known trial is left to train"
    if expected["wall_hours"] is None:
        time = "how long that takes is known after the first"
    else:
        time = f"about {duration(expected['wall_hours'] * 3600)} from start to end"
    return f"study {name}: {_trials(expected['trials'])} to train, {time}; later results may add to them"


def _trials(count: int) -> str:
    return "1 trial" if count == 1 else f"{count} trials"


def exit_code(snapshot: Snapshot) -> int:
    """0 when the study is closed and no trial failed, else 1."""
    failed = any(trial.outcome is Outcome.FAILED for trial in snapshot.trials)
    return 0 if snapshot.study.state == "closed" and not failed else 1
