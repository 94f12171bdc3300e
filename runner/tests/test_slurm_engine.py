"""`--engine slurm` on a real Slurm: arrays of workers that lose launcher, time, node and job."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import slurm_standin
import torch
from same_tensors import assert_equal_tensors
from slurm_cluster import CPUS, Slurm, slurm
from standin_pool import until as until_soon

from posestudy import journal
from posestudy.commands.app import main
from posestudy.errors import MissingPieceError, PoseStudyError
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import Snapshot
from posestudy.task_journal import LEASE_S, OWNER, collect, read
from posestudy.vocabulary import AttemptEnd, Direction, Outcome, TrialState
from posestudy_runner import image_cache
from posestudy_runner.context import PoolOptions
from posestudy_runner.engines import slurm_queue
from posestudy_runner.engines.jobs import use_disk_of_node
from posestudy_runner.engines.slurm import parameters
from posestudy_runner.engines.slurm_task import Task, work
from posestudy_runner.launching import put_study
from posestudy_runner.order import TrialOrder
from posestudy_runner.settling import settle
from posestudy_studies import dataset
from posestudy_studies.advance import advance
from posestudy_studies.cluster import Cluster, Container
from posestudy_studies.drawn_cats import draw
from posestudy_studies.file import load

__all__ = ["slurm"]

TESTS = Path(__file__).parent
NOBODY = "http://127.0.0.1:9"
"""No MLflow: what is sent there is not what these tests are about."""
STUDY = """
study: {name}
dataset:
  keypoints: cats
  root: {root}
  train: {{annotations: annotations/train.json, images: images}}
  val: {{annotations: annotations/val.json, images: images}}
baseline:
  model: resnet_tiny
  input_size: [64, 64]
  epochs: 3
  validate_every: 3
  batch_size: 2
  optimizer: {{type: Adam, lr: 1.0e-3}}
  augmentation: {{flip: {{}}, scale_rotation: {{}}}}
stages:
  - {{name: only, design: variants, include_baseline: false, variants: {variants}}}
replicates: {{seeds: [3]}}
cluster: {{partition: low, cpus: 1, {cluster}}}
"""


@pytest.fixture(autouse=True)
def importable_standins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOBODY)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def cats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cats")
    draw(root, train=8, val=4, seed=1, size_px=64)
    return root


@pytest.fixture
def at_slurm(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    """The cluster, with its commands on the path of this process."""
    for name in ("PATH", "SLURM_CONF"):
        monkeypatch.setenv(name, slurm.environment[name])
    return slurm


def until(condition: Callable[[], Any], limit_s: float = 400.0) -> Any:
    """As `until` of other tests, with the patience that processes of Slurm's need on a busy machine."""
    return until_soon(condition, limit_s)


def written(folder: Path, name: str, root: Path, *cells: str, cluster: str) -> Path:
    variants = "{" + ", ".join(f"{cell}: {{sigma: {1.5 + n / 10}}}" for n, cell in enumerate(cells)) + "}"
    file = folder / f"{name}.yaml"
    file.write_text(STUDY.format(name=name, root=root, variants=variants, cluster=cluster))
    return file


def snapshot(url: str, study: str) -> Snapshot:
    ledger = Ledger.open(url, create=False)
    try:
        return ledger.snapshot(study)
    finally:
        ledger.close()


def closed(url: str, study: str) -> Snapshot | None:
    found = snapshot(url, study)
    return found if found.study.state == "closed" else None


def attempts(found: Snapshot, number: int) -> list[AttemptEnd | None]:
    (trial,) = (trial for trial in found.trials if trial.number == number)
    return [a.end for a in sorted(found.attempts, key=lambda a: a.fence) if a.trial_uid == trial.uid]


def epochs_of(found: Snapshot) -> list[tuple[int, int]]:
    """(trial, epoch) of every value: the same twice would be a result twice."""
    numbers = {trial.uid: trial.number for trial in found.trials}
    return sorted((numbers[value.trial_uid], value.epoch) for value in found.values)


def epochs_left(url: str, study: str) -> dict[int, int]:
    """The epoch that each trial has reached, by its number."""
    return {trial.number: trial.ckpt_epoch for trial in snapshot(url, study).trials}


def urgent_job(cluster: Slurm) -> str:
    """Submit a job that others must give way to; its number."""
    asked = ("--partition=high", f"--cpus-per-task={CPUS}", "--output=/dev/null", "--wrap=sleep 600")
    return cluster.call("sbatch", "--parsable", *asked).strip()


def empty(cluster: Slurm) -> None:
    until(lambda: not cluster.queue())


@pytest.mark.slow
@pytest.mark.postgres
def test_an_array_needs_no_launcher_and_a_launch_submits_what_is_missing(
    at_slurm: Slurm, cats: Path, home: Home, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSESTUDY_DATABASE_URL", postgres_url)
    cells = ("slow1", "quick1", "quick2", "quick3")
    file = written(tmp_path, "arrayed", cats, *cells, cluster="array: 4, array_parallelism: 2, signal_s: 30")
    script = [sys.executable, str(TESTS / "slurm_standin.py"), str(file), str(home.root)]
    launcher = subprocess.Popen(script, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    until(at_slurm.queue)
    os.killpg(launcher.pid, signal.SIGKILL)
    launcher.communicate()
    until(lambda: sum(state == "RUNNING" for state in at_slurm.queue().values()) == 2)
    assert slurm_standin.launch(file, home.root) == 0
    assert len({name.partition("_")[0] for name in at_slurm.queue()}) == 1, "the second launch submitted more"
    assert slurm_standin.launch(file, home.root, workers=5) == 0
    assert len({name.partition("_")[0] for name in at_slurm.queue()}) == 2
    found = until(lambda: closed(postgres_url, "arrayed"))
    empty(at_slurm)
    assert [trial.outcome for trial in found.trials] == [Outcome.COMPLETED] * 4
    assert epochs_of(found) == [(number, epoch) for number in range(1, 5) for epoch in (1, 2, 3)]
    logs = [path.read_text() for path in home.jobs("arrayed").glob("slurm/*_log.out")]
    assert len(logs) == 5
    assert sum("loading the training packages" in log for log in logs) < 5, "stale tasks start no pool"
    password = postgres_url.split(":")[2].split("@")[0]
    for path in (path for path in home.root.rglob("*") if path.is_file()):
        assert password.encode() not in path.read_bytes(), path
    assert slurm_standin.launch(file, home.root) == 0
    assert not at_slurm.queue()


@pytest.mark.slow
def test_cancelled_and_preempted_tasks_give_their_cells_back(
    at_slurm: Slurm, cats: Path, home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{home.database}"
    file = written(tmp_path, "disturbed", cats, "slow1", "slow2", cluster="signal_s: 30")
    file.write_text(file.read_text().replace("partition: low", "partition: graceful"))
    assert slurm_standin.launch(file, home.root) == 0
    assert "only jobs on this very machine" in " ".join(capfd.readouterr().out.split())
    until(lambda: all(epoch >= 1 for epoch in epochs_left(url, "disturbed").values()))
    (cancelled, stays) = sorted(at_slurm.queue(), reverse=True)
    at_slurm.call("scancel", cancelled)
    until(lambda: list(at_slurm.queue()) == [stays])
    owners = [trial.owner for trial in snapshot(url, "disturbed").trials if trial.state is TrialState.RUNNING]
    assert len(owners) == 1, "the lease of the cancelled task was not given back"
    urgent = urgent_job(at_slurm)
    until(lambda: at_slurm.queue() == {urgent: "RUNNING", stays: "PENDING"})
    assert not [trial for trial in snapshot(url, "disturbed").trials if trial.state is TrialState.RUNNING]
    at_slurm.call("scancel", urgent)
    found = until(lambda: closed(url, "disturbed"))
    empty(at_slurm)
    logs = [path.read_text() for path in home.jobs("disturbed").glob("slurm/*_log.out")]
    assert sum("went back into the queue" in log for log in logs) == 1, "it was not the task that used its grace"
    assert [trial.outcome for trial in found.trials] == [Outcome.COMPLETED] * 2
    assert epochs_of(found) == [(number, epoch) for number in (1, 2) for epoch in (1, 2, 3)]
    told = {attempt.why for attempt in found.attempts if attempt.end is AttemptEnd.PREEMPTED}
    assert told == {"Slurm sent SIGTERM"}, "a trial was signalled beside its worker, and its data loaders with it"
    ends = [attempts(found, 1), attempts(found, 2)]
    assert all(set(end[:-1]) == {AttemptEnd.PREEMPTED} and end[-1] is AttemptEnd.FINISHED for end in ends), ends


@pytest.mark.slow
def test_a_real_trial_that_meets_the_time_limit_ends_as_an_undisturbed_one(
    at_slurm: Slurm, cats: Path, home: Home, tmp_path: Path
) -> None:
    options = PoolOptions(target="slurm_standin:train_until_stopped", poll_s=0.2)
    url = f"sqlite:///{home.database}"
    limited = written(tmp_path, "limited", cats, "only", cluster="time: 1, signal_s: 600")
    undisturbed = written(tmp_path, "undisturbed", cats, "only", cluster="time: 1")
    undisturbed.write_text(undisturbed.read_text() + "reuse: none\n")
    for file in (limited, undisturbed):
        assert slurm_standin.launch(file, home.root, options=options) == 0
    until(lambda: epochs_left(url, "limited") == {1: 1})
    job = min(at_slurm.queue(), key=int)
    # Five minutes from the start are left of the hour: time to save, says Slurm when it next looks at its jobs.
    at_slurm.call("scontrol", "update", f"JobId={job}", "TimeLimit=5")
    until(lambda: at_slurm.queue().get(job) == "PENDING")
    at_slurm.call("scontrol", "update", f"JobId={job}", "TimeLimit=60")
    found = until(lambda: closed(url, "limited"))
    until(lambda: closed(url, "undisturbed"))
    empty(at_slurm)
    assert attempts(found, 1) == [AttemptEnd.PREEMPTED, AttemptEnd.FINISHED]
    assert epochs_of(found) == [(1, 1), (1, 2), (1, 3)]
    (stopped,) = (frame for frame in journal.read(home.attempt("limited", 1, 1).journal) if frame["type"] == "end")
    assert stopped["checkpoint"]["path"].endswith("preempted.pth"), "it was not saved within an epoch"
    assert stopped["checkpoint"]["epoch"] == 1
    saved = [home.attempt(study, 1, fence).checkpoint(3) for study, fence in (("limited", 2), ("undisturbed", 1))]
    first, second = (torch.load(path, map_location="cpu", weights_only=False) for path in saved)
    for part in ("state_dict", "optimizer"):
        assert_equal_tensors(first[part], second[part])


@pytest.mark.slow
def test_tasks_that_reach_no_database_are_collected(
    at_slurm: Slurm, cats: Path, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, away = tmp_path / "ledger.db", tmp_path / "away.db"
    url = f"sqlite:///{there}"
    monkeypatch.setenv("POSESTUDY_DATABASE_URL", url)
    file = written(tmp_path, "alone", cats, "slow1", "quick1", cluster="database: false, signal_s: 30")
    assert slurm_standin.launch(file, home.root) == 0
    assert slurm_standin.launch(file, home.root) == 0
    slow, quick = sorted(at_slurm.queue())
    for suffix in ("", "-wal", "-shm"):
        if (tmp_path / f"ledger.db{suffix}").exists():
            shutil.move(f"{there}{suffix}", f"{away}{suffix}")
    until(lambda: home.attempt("alone", 1, 1).checkpoint(1).exists() and quick not in at_slurm.queue())
    assert not there.exists(), "a task made itself a ledger"
    shutil.copy(away, there)
    ledger = Ledger.open(url)
    first = list(collect(ledger, home))
    assert first[-1] == "collected of 'alone': trial 2 completed"
    before = ledger.snapshot("alone")
    again = list(collect(ledger, home))
    assert again in ([], *([f"collected of 'alone': trial 1 up to epoch {epoch}"] for epoch in (1, 2)))
    assert {v for v in epochs_of(before) if v[0] == 2} == {(2, 1), (2, 2), (2, 3)}
    ledger.close()
    urgent = urgent_job(at_slurm)
    until(lambda: at_slurm.queue() == {urgent: "RUNNING", slow: "PENDING"})
    at_slurm.call("scancel", urgent, slow)
    empty(at_slurm)
    assert slurm_standin.launch(file, home.root) == 0
    assert len(at_slurm.queue()) == 1, "the trial whose task is gone was not submitted again"
    empty(at_slurm)
    assert main(["--home", str(home.root), "sync", "alone"]) == 1, "MLflow is away"
    found = snapshot(url, "alone")
    assert epochs_of(found) == [(number, epoch) for number in (1, 2) for epoch in (1, 2, 3)]
    assert [trial.outcome for trial in found.trials] == [Outcome.COMPLETED] * 2
    assert attempts(found, 1) == [AttemptEnd.PREEMPTED, AttemptEnd.FINISHED]
    assert [int(paths.folder.name) for paths in home.attempts("alone", 1)] == [1001, 1]
    slurm_standin.launch(file, home.root)
    assert closed(url, "alone")
    assert not at_slurm.queue()


CONTAINER = """#!/bin/sh
# A container in so far as nothing of Slurm is in it: `apptainer exec IMAGE COMMAND ...`.
shift 2
PATH={inside} exec "$@"
"""


@pytest.mark.slow
@pytest.mark.parametrize("database", ["true", "false"])
def test_a_task_in_a_container_goes_back_into_the_queue(
    at_slurm: Slurm, cats: Path, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    programs, inside = tmp_path / "programs", tmp_path / "inside"
    for folder in (programs, inside):
        folder.mkdir()
    (inside / "python").symlink_to(sys.executable)
    runtime = programs / "apptainer"
    runtime.write_text(CONTAINER.format(inside=inside))
    runtime.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    container = f"container: {{image: pose.sif, python: {sys.executable}}}"
    file = written(tmp_path, "boxed", cats, "slow1", cluster=f"database: {database}, signal_s: 30, {container}")
    assert slurm_standin.launch(file, home.root) == 0
    until(lambda: home.attempt("boxed", 1, 1).checkpoint(1).exists())
    (job,) = at_slurm.queue()
    at_slurm.call("scancel", "--signal=USR1", job)
    until(lambda: at_slurm.queue().get(job) == "PENDING")
    empty(at_slurm)
    assert main(["--home", str(home.root), "sync", "boxed"]) == 1, "MLflow is away"
    found = snapshot(f"sqlite:///{home.database}", "boxed")
    assert attempts(found, 1) == [AttemptEnd.PREEMPTED, AttemptEnd.FINISHED]
    assert [trial.outcome for trial in found.trials] == [Outcome.COMPLETED]


@pytest.mark.slow
def test_a_launch_within_a_job_submits_tasks_of_their_own(
    at_slurm: Slurm, cats: Path, home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """As from an interactive session on a node: its variables are about a job of three tasks on three cores."""
    file = written(tmp_path, "nested", cats, "quick1", cluster="signal_s: 30")
    command = shlex.join([sys.executable, str(TESTS / "slurm_standin.py"), str(file), str(home.root)])
    asked = ["--partition=low", "--array=5", "--ntasks=3", f"--output={tmp_path}/nested.out", f"--wrap={command}"]
    subprocess.run(["sbatch", *asked], check=True)
    said = tmp_path / "nested.out"
    until(lambda: said.exists() and "follow with" in said.read_text())
    found = until(lambda: closed(f"sqlite:///{home.database}", "nested"))
    empty(at_slurm)
    assert [trial.outcome for trial in found.trials] == [Outcome.COMPLETED]


@pytest.mark.slow
def test_an_edit_and_a_cancel_take_trials_back_from_tasks_without_a_database(
    at_slurm: Slurm, cats: Path, home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, "edited", cats, "lasting1", "lasting2", cluster="database: false, signal_s: 30")
    # Long enough that one of the two may start much later than the other.
    file.write_text(file.read_text().replace("epochs: 3", "epochs: 12"))
    assert slurm_standin.launch(file, home.root) == 0
    tasks = sorted(at_slurm.queue())
    journals = [home.task_journal("edited", number, 1) for number in (1, 2)]
    until(lambda: all(any(frame["call"] == "record_epoch" for frame in read(path)) for path in journals))
    file.write_text(file.read_text().replace("lasting2: {sigma: 1.6}", "lasting3: {sigma: 1.7}"))
    capfd.readouterr()
    assert slurm_standin.launch(file, home.root) == 0
    said = " ".join(capfd.readouterr().out.split())
    for number, task in enumerate(tasks, 1):
        assert f"trial {number} of 'edited' is taken back from task {task} of Slurm" in said
    assert main(["--home", str(home.root), "cancel", "edited", "--trial", "3"]) == 0
    empty(at_slurm)
    main(["--home", str(home.root), "sync", "edited"])
    found = snapshot(f"sqlite:///{home.database}", "edited")
    assert {trial.number: trial.outcome for trial in found.trials} == {1: Outcome.COMPLETED, 3: Outcome.CANCELLED}
    first, *_, last = home.attempts("edited", 1)[::-1]
    assert int((last.folder / "from_epoch").read_text()) >= 1, "what the first task had trained was trained again"
    assert not first.checkpoint(12).exists(), "the first task trained on"


@pytest.mark.slow
def test_a_task_without_a_database_trains_no_weights_that_are_there(
    at_slurm: Slurm, cats: Path, home: Home, tmp_path: Path
) -> None:
    file = written(tmp_path, "seen_twice", cats, "quick1", cluster="database: false, signal_s: 30")
    look = "{name: look, design: variants, include_baseline: false, variants: {again: {evaluation.flip_test: false}}}"
    file.write_text(file.read_text().replace("replicates:", f"  - {look}\nreplicates:"))
    for _ in range(2):
        assert slurm_standin.launch(file, home.root) == 0
        empty(at_slurm)
    trained, asked = (TrialOrder.read(home.attempt("seen_twice", number, 1).order) for number in (1, 2))
    assert trained.evaluate is None
    assert asked.evaluate is not None
    assert asked.evaluate["checkpoint"]["path"] == str(home.attempt("seen_twice", 1, 1).checkpoint(3))


@pytest.mark.parametrize("database", ["true", "false"])
def test_a_study_past_its_deadline_gets_no_tasks(
    cats: Path, home: Home, tmp_path: Path, at_slurm: Slurm, capfd: pytest.CaptureFixture[str], database: str
) -> None:
    file = written(tmp_path, "late", cats, "only", cluster=f"database: {database}")
    file.write_text(file.read_text() + "budget: {deadline: 2020-01-01T00:00:00Z}\n")
    assert slurm_standin.launch(file, home.root) == 1
    assert "the deadline has passed (2020-01-01 00:00 UTC): no further trial starts" in capfd.readouterr().out
    assert not at_slurm.queue()
    (trial,) = snapshot(f"sqlite:///{home.database}", "late").trials
    assert trial.state is TrialState.WAITING


def test_a_refused_job_holds_no_trial(cats: Path, home: Home, tmp_path: Path, at_slurm: Slurm) -> None:
    file = written(tmp_path, "refused", cats, "only", cluster="database: false")
    file.write_text(file.read_text().replace("partition: low", "partition: none"))
    with pytest.raises(PoseStudyError, match="sbatch refused the job"):
        slurm_standin.launch(file, home.root)
    (trial,) = snapshot(f"sqlite:///{home.database}", "refused").trials
    assert (trial.state, trial.owner) == (TrialState.WAITING, None)


IMPATIENT = """#!/bin/sh
# A Slurm of arrays of one task, which takes {most} of them: of `scontrol show config` and `sbatch` the rest is true.
case "$(basename "$0") $*" in
"scontrol show config") {config};;
sbatch*) echo >> {folder}/asked; [ $(wc -l < {folder}/asked) -le {most} ] || {{ echo "no more" >&2; exit 1; }};;
esac
PATH={path} exec "$(basename "$0")" "$@"
"""


@pytest.mark.parametrize(
    ("config", "most", "error"),
    [("echo MaxArraySize = 1; exit", 1, "sbatch refused the job"), ("exit 3", 9, "show config` ended with 3")],
)
def test_what_was_submitted_before_a_refusal_is_told_and_the_rest_is_not_held(
    cats: Path, home: Home, tmp_path: Path, at_slurm: Slurm, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str], config: str, most: int, error: str,
) -> None:  # fmt: skip
    programs = tmp_path / "programs"
    programs.mkdir()
    script = IMPATIENT.format(most=most, config=config, folder=tmp_path, path=shlex.quote(os.environ["PATH"]))
    for name in ("sbatch", "scontrol"):
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    file = written(tmp_path, "halfway", cats, "one", "two", cluster="database: false, options: [--hold]")
    with pytest.raises(PoseStudyError, match=error):
        slurm_standin.launch(file, home.root)
    states = [trial.state for trial in snapshot(f"sqlite:///{home.database}", "halfway").trials]
    jobs = [name.partition("_")[0] for name in at_slurm.queue()]
    said = " ".join(capfd.readouterr().out.split())
    if jobs:
        at_slurm.call("scancel", *jobs)
        empty(at_slurm)
    if most == 1:
        assert states == [TrialState.RUNNING, TrialState.WAITING]
        assert f"submitted job {jobs[0]} before this went wrong, and no more" in said
    else:
        assert (states, jobs) == ([TrialState.WAITING] * 2, [])


@pytest.mark.parametrize(("code", "asks"), [(0, 0), (1, 0), (75, 1)])
def test_a_job_ends_as_its_task_did(tmp_path: Path, code: int, asks: int) -> None:
    scontrol, asked = tmp_path / "scontrol", tmp_path / "asked"
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {asked}\n')
    scontrol.chmod(0o755)
    placement = SimpleNamespace(study=SimpleNamespace(study="s"), workers=None)
    (line,) = parameters(placement, Cluster())["teardown"]
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_ID": "8", "SLURM_ARRAY_JOB_ID": "7"}
    script = f"(exit {code})\n\n# teardown\n{line}"
    done = subprocess.run(["bash", "-c", script], env={**environment, "SLURM_ARRAY_TASK_ID": "3"}, check=False)
    assert done.returncode == code
    assert (asked.read_text().splitlines() if asked.exists() else []) == ["requeue 7_3"] * asks


def test_another_engine_tells_of_trials_that_are_held(
    cats: Path, home: Home, tmp_path: Path, at_slurm: Slurm, capfd: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, "switched", cats, "only", cluster="database: false, options: [--hold]")
    assert slurm_standin.launch(file, home.root) == 0
    assert "follow with: posestudy sync switched; posestudy status switched" in capfd.readouterr().out
    file.write_text(file.read_text().replace("database: false", "database: true"))
    assert slurm_standin.launch(file, home.root) == 0
    assert "and not for other workers: trial 1; launch again once `posestudy sync" in capfd.readouterr().out
    for job in {name.partition("_")[0] for name in at_slurm.queue()}:
        at_slurm.call("scancel", job)
    empty(at_slurm)


@pytest.mark.slow
def test_more_tasks_than_an_array_may_have_are_several_arrays(
    cats: Path, home: Home, tmp_path: Path, at_slurm: Slurm, capfd: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, "many", cats, "only", cluster="array: 1003, array_parallelism: 4, options: [--hold]")
    assert slurm_standin.launch(file, home.root) == 0
    jobs = sorted({name.partition("_")[0] for name in at_slurm.queue()}, key=int)
    try:
        assert len(jobs) == 2
        assert len(at_slurm.queue()) == 1003
        said = " ".join(capfd.readouterr().out.split())
        assert f"submitted jobs {', '.join(jobs)} with 1003 tasks" in said
        assert f"squeue --job {','.join(jobs)}; take it back with: scancel {' '.join(jobs)}" in said
        assert slurm_standin.launch(file, home.root) == 0
        assert len(at_slurm.queue()) == 1003
        assert "ArrayTaskThrottle=2" in at_slurm.call("scontrol", "show", "job", jobs[0])
    finally:
        at_slurm.call("scancel", *jobs)
    empty(at_slurm)


def test_a_search_needs_a_database_that_tasks_reach(cats: Path, home: Home, tmp_path: Path, at_slurm: Slurm) -> None:
    file = written(tmp_path, "searching", cats, "only", cluster="database: false")
    design = "{name: find, design: search, space: {optimizer.lr: {log: [1.0e-4, 1.0e-2]}}, cells: 2}"
    file.write_text(file.read_text().replace("replicates:", f"  - {design}\nreplicates:"))
    with pytest.raises(PoseStudyError, match=r"stage 'find': found design search with"):
        slurm_standin.launch(file, home.root)


@pytest.mark.slow
def test_slurm_is_asked_for_what_the_study_says(
    at_slurm: Slurm, cats: Path, home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = (
        "time: '1-02:00:00', signal_s: 300, mem_gb: 1.5, job_name: poses, array: 3, array_parallelism: 2, "
        "options: [--hold, --comment=cats], setup: ['module load cuda', 'export A=\"b c\"'], "
        "container: {image: /images/pose.sif, mounts: ['/data:/data:ro'], python: python3.11}"
    )
    file = written(tmp_path, "asking", cats, "quick1", cluster=asked)
    assert slurm_standin.launch(file, home.root) == 0
    (job,) = {name.partition("_")[0] for name in at_slurm.queue()}
    shown = at_slurm.call("scontrol", "--oneliner", "show", "job", f"{job}_2")
    for words in (
        "JobName=poses", "TimeLimit=1-02:00:00", "MinMemoryNode=1.50G", "CPUs/Task=1", "Requeue=1", "Partition=low",
        "ArrayTaskThrottle=2", "Reason=JobHeldUser", "Comment=cats",
    ):  # fmt: skip
        assert words in shown
    script = (home.jobs("asking") / "slurm" / f"{job}_submission.sh").read_text()
    assert "#SBATCH --signal=USR1@300\n" in script
    assert 'module load cuda\nexport A="b c"\n' in script
    assert " --cpus-per-task=1 apptainer exec --bind /data:/data:ro /images/pose.sif python3.11 -u -m subm" in script
    capfd.readouterr()
    assert slurm_standin.launch(file, home.root) == 0
    said = " ".join(capfd.readouterr().out.split())
    assert "in the queue already: 0 running and 3 waiting tasks of this study" in said
    assert f"Slurm holds {job}_0, {job}_1, {job}_2: release them with `scontrol release {job}_0`" in said
    at_slurm.call("scancel", job)
    empty(at_slurm)
    file.write_text(file.read_text().replace("partition: low", "partition: none"))
    with pytest.raises(PoseStudyError, match=r"sbatch refused the job: .*invalid partition"):
        slurm_standin.launch(file, home.root)


def test_pyxis_starts_the_image_by_options_of_the_step() -> None:
    image = Container(image="docker://pose", mounts=["/a:/a", "/b:/c"], runtime="pyxis")
    placement = SimpleNamespace(study=SimpleNamespace(study="s"), workers=None)
    asked = parameters(placement, Cluster(cpus=4, container=image))
    assert asked["srun_args"] == [
        "--cpus-per-task=4", "--container-image=docker://pose", "--container-mounts=/a:/a,/b:/c",
    ]  # fmt: skip
    for option in ("-q x", "-- ", "--=3"):
        with pytest.raises(PoseStudyError, match=f"found '{option}', expected an option of sbatch"):
            parameters(placement, Cluster(options=[option]))
    more = parameters(placement, Cluster(options=["--exclude node_7", "--comment=a_b c", "--hold"]))
    told = more["additional_parameters"]
    assert (told["exclude"], told["comment"], told["hold"]) == ("node_7", "a_b c", True)


@pytest.mark.parametrize("option", ["--ntasks=2", "--no-requeue", "--array 0-3", "--output=/x", "--ntasks_per_node=2"])
def test_options_that_would_double_or_lose_a_task_are_refused(option: str) -> None:
    placement = SimpleNamespace(study=SimpleNamespace(study="s"), workers=None)
    with pytest.raises(PoseStudyError, match=f"cluster.options: found '{option}', which is not left to the user"):
        parameters(placement, Cluster(options=[option]))


def test_workers_of_a_launch_go_before_the_file() -> None:
    placement = SimpleNamespace(study=SimpleNamespace(study="s"), workers=3)
    assert parameters(placement, Cluster(database=False, array_parallelism=8))["array_parallelism"] == 3
    assert parameters(placement, Cluster(mem_gb=0.0001))["mem"] == "1M", "0 is all that the node has"


def test_decoded_images_lie_on_a_disk_of_the_node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said: list[str] = []
    monkeypatch.setenv(image_cache.FOLDER_VARIABLE, "before")
    monkeypatch.setenv("NODE_DISK", str(tmp_path))
    use_disk_of_node(Cluster(local_cache="$NO_DISK/poses"), said.append)
    assert os.environ[image_cache.FOLDER_VARIABLE] == "before"
    assert said == ["cluster.local_cache: found $NO_DISK/poses, but this node does not have all of its variables"]
    use_disk_of_node(Cluster(local_cache="$NODE_DISK/poses"), said.append)
    assert image_cache.ImageCache.resolve(Home(tmp_path / "home")).folder == tmp_path / "poses"


def test_a_task_with_another_ledger_than_the_launcher_says_so(
    home: Home, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("POSESTUDY_DATABASE_URL", raising=False)
    with pytest.raises(SystemExit) as ended:
        work(Task("any", str(home.root), "postgresql+psycopg://me:***@login/poses"))
    assert ended.value.code == 2
    assert f"finds the ledger sqlite:///{home.database}, expected postgresql+psycopg://me:***" in capfd.readouterr().err
    assert not home.database.exists()


def test_a_task_moves_a_study_on_that_was_left_between_two_stages(
    cats: Path, home: Home, sqlite_ledger: Ledger, tmp_path: Path
) -> None:
    """The task that finished the last trial of a stage met its time limit before it opened the next stage."""
    file = written(tmp_path, "between", cats, "quick1", cluster="time: 1")
    second = "{name: second, design: variants, include_baseline: false, variants: {quick2: {batch_size: 4}}}"
    file.write_text(file.read_text().replace("replicates:", f"  - {second}\nreplicates:"))
    study = dataset.sealed(load(file))
    assert not list(put_study(sqlite_ledger, study, ""))
    settle(sqlite_ledger, "between", advance)
    claim = sqlite_ledger.claim("between", "before", 60.0)
    assert claim is not None
    uid, fence = claim.trial.uid, claim.trial.fence
    ending = {"metric": "coco/AP", "direction": Direction.MORE, "peak_memory_mb": None}
    assert sqlite_ledger.finish(uid, fence, Outcome.COMPLETED, None, **ending)
    options = {"target": slurm_standin.OPTIONS.target, "preload": slurm_standin.OPTIONS.preload, "poll_s": 0.2}
    work(Task("between", str(home.root), f"sqlite:///{home.database}", options))
    found = sqlite_ledger.snapshot("between")
    assert [(trial.number, trial.outcome) for trial in found.trials] == [(n, Outcome.COMPLETED) for n in (1, 2)]
    assert found.study.state == "closed"


def test_a_task_without_a_database_begins_nothing_after_the_deadline(
    cats: Path, home: Home, sqlite_ledger: Ledger, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, "late", cats, "quick1", cluster="database: false")
    file.write_text(file.read_text() + "budget: {deadline: '2120-01-01T00:00:00Z'}\n")
    assert not list(put_study(sqlite_ledger, dataset.sealed(load(file)), ""))
    settle(sqlite_ledger, "late", advance)
    claim = sqlite_ledger.claim("late", f"{OWNER}login", LEASE_S)
    assert claim is not None
    late = {**claim.study.document, "budget": {"deadline": "2020-01-01T00:00:00Z"}}
    options = {"target": slurm_standin.OPTIONS.target, "preload": slurm_standin.OPTIONS.preload, "poll_s": 0.2}
    for document in (late, claim.study.document):
        given = replace(claim, study=replace(claim.study, document=document))
        work(Task("late", str(home.root), "", options, given))
        list(collect(sqlite_ledger, home))
        trained = bool(sqlite_ledger.snapshot("late").attempts[0].end)
        assert trained is (document is not late)
        assert ("no further trial starts" in capfd.readouterr().out) is (document is late)


def test_an_sqlite_ledger_on_a_network_file_system_is_refused(
    cats: Path, home: Home, tmp_path: Path, at_slurm: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"server:/x {home.root} nfs4 rw 0 0\n")
    monkeypatch.setattr(image_cache, "_MOUNTS", mounts)
    file = written(tmp_path, "on_nfs", cats, "quick1", cluster="time: 1")
    with pytest.raises(PoseStudyError, match=r"is an SQLite file on a network file system \(nfs4\)"):
        slurm_standin.launch(file, home.root)
    assert not at_slurm.queue()


def test_a_mistake_in_a_profile_ends_a_launch(
    cats: Path, home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, profile = written(tmp_path, "profiled", cats, "only", cluster="time: 1"), tmp_path / "site.yaml"
    profile.write_text("qos: long\ntimes: 2\n")
    command = ["--home", str(home.root), "launch", str(file), "--engine", "slurm", "--profile", str(profile)]
    assert main(command) == 2
    assert f"{profile}:2:1: times: found unknown key 'times'" in capsys.readouterr().err
    assert not home.root.exists()


def test_without_slurm_or_submitit_it_says_what_is_missing(
    cats: Path, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, "nowhere", cats, "only", cluster="time: 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPieceError, match="found no sbatch, srun, squeue, scontrol on the path"):
        slurm_standin.launch(file, home.root)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(MissingPieceError, match=r"pip install 'posestudy\[slurm\]'"):
        slurm_standin.launch(file, home.root)


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"SLURM_JOB_ID": "7"}, "7"),
        ({"SLURM_JOB_ID": "7", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}, "7_3"),
        ({}, ""),
    ],
)
def test_a_task_names_itself_and_never_its_whole_array(environment: dict[str, str], name: str) -> None:
    assert slurm_queue.own_name(environment) == name
