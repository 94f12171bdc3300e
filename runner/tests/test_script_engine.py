"""`--engine script`: jobs of the user's template in the queue of a batch system that posestudy knows nothing of."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console
from same_tensors import assert_equal_tensors
from standin_pool import METRIC, STUDY, Standin, until

from posestudy.commands.app import main
from posestudy.errors import InputError, PoseStudyError
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.vocabulary import AttemptEnd, Outcome
from posestudy_runner.context import PoolOptions
from posestudy_runner.display import LineDisplay
from posestudy_runner.engines import Ended, Placement, engine
from posestudy_runner.engines import script as script_engine
from posestudy_runner.engines.job_template import JobTemplate
from posestudy_runner.engines.script import SubmitCommand
from posestudy_runner.pool import Goal
from posestudy_studies.cluster import Cluster
from posestudy_studies.drawn_cats import draw

TESTS = Path(__file__).parent
QUEUE = f"{sys.executable} {TESTS / 'queue_daemon.py'}"
STANDINS = f"""#!/bin/bash
#queue -J {{name}} -n {{cpus}} -W {{time}} -o {{log}}
x=${{HOME}}; awk 'BEGIN {{{{print}}}}'
{sys.executable} {TESTS / "standin_job.py"} {{command}}
"""
STUDY_FILE = """
study: queued
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
  batch_size: 4
  optimizer: {{type: Adam, lr: 1.0e-3}}
  augmentation: {{flip: {{}}, scale_rotation: {{}}}}
  amp: true
stages:
  - {{name: only, design: variants, include_baseline: false, variants: {{only: {{sigma: 1.5}}}}}}
replicates: {{seeds: [3]}}
"""


@pytest.fixture(autouse=True)
def importable_standins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(TESTS))


def template(folder: Path, text: str) -> Path:
    file = folder / "job.sh.in"
    file.write_text(text)
    return file


def placed(standin: Standin, cluster: Cluster, said: io.StringIO, workers: int | None = None) -> Placement:
    study: Any = SimpleNamespace(study=STUDY, cluster=cluster)
    settings: Any = SimpleNamespace(home=standin.home, database_url=f"sqlite:///{standin.home.database}")
    goal = Goal(STUDY, METRIC, "more")
    display = LineDisplay(Console(file=said, width=400), METRIC)
    return Placement(study, settings, standin.ledger, goal, standin.steering, display, PoolOptions(), workers)


def ended(queue: Path, job: int) -> str:
    """The exit code of a job; empty while it runs."""
    file = queue / f"{job}.code"
    return file.read_text().strip() if file.exists() else ""


def printed(queue: Path) -> str:
    """What each job printed, and its exit code."""
    jobs = sorted(int(file.stem) for file in queue.glob("*.out"))
    return "\n".join(f"job {job} ({ended(queue, job)}):\n{(queue / f'{job}.out').read_text()}" for job in jobs)


@pytest.mark.slow
def test_jobs_of_a_queue_finish_a_study_and_a_second_launch_submits_none(
    tmp_path: Path, home: Home, sqlite_ledger: Ledger
) -> None:
    standin = Standin(home, sqlite_ledger, {f"c{n}": {"step_s": 0.05} for n in range(6)})
    file = template(tmp_path, STANDINS)
    cluster = Cluster(template=str(file), submit=f"{QUEUE} {tmp_path / 'queue'} < {{job}}", cpus=2, time=1.5)
    said = io.StringIO()
    assert engine("script")(placed(standin, cluster, said, 2)) is Ended.ELSEWHERE
    assert "job 1 submitted: Job <1> is submitted to queue <course>." in said.getvalue()
    queue = tmp_path / "queue"
    until(lambda: [ended(queue, job) for job in (1, 2)] == ["0", "0"], told=lambda: printed(queue))
    snapshot = sqlite_ledger.snapshot(STUDY)
    assert snapshot.study.state == "closed", printed(queue)
    assert [trial.outcome for trial in snapshot.trials] == [Outcome.COMPLETED] * 6, printed(queue)
    assert str(os.getpid()) not in {attempt.owner.split("/")[2] for attempt in snapshot.attempts}
    script = (home.jobs(STUDY) / "job_2.sh").read_text().splitlines()
    assert script[1] == f"#queue -J standin-2 -n 2 -W 1:30:00 -o {home.jobs(STUDY) / 'job_2.log'}"
    assert script[2] == "x=${HOME}; awk 'BEGIN {print}'"
    kept = json.loads((home.jobs(STUDY) / "job_2.json").read_text())
    assert kept["output"] == "Job <2> is submitted to queue <course>."
    again = io.StringIO()
    assert engine("script")(placed(standin, cluster, again)) is Ended.DONE
    assert "no job is submitted" in again.getvalue()
    assert not (home.jobs(STUDY) / "job_3.sh").exists()


def test_a_refused_job_is_named_and_the_others_stay_submitted(
    tmp_path: Path, home: Home, sqlite_ledger: Ledger
) -> None:
    standin = Standin(home, sqlite_ledger, {f"c{n}": {} for n in range(3)})
    file = template(tmp_path, "echo {number}; true {command}\n")
    cluster = Cluster(template=str(file), submit=f"{QUEUE} {tmp_path / 'queue'} refuse 2 < {{job}}")
    with pytest.raises(PoseStudyError) as refused:
        engine("script")(placed(standin, cluster, io.StringIO()))
    told = str(refused.value)
    assert told.startswith("2 of 3 jobs were submitted")
    assert f"job 2 ({home.jobs(STUDY) / 'job_2.sh'}) was not submitted: " in told
    assert "ended with 3: queue course: over the limit of jobs" in told
    assert [path.name for path in sorted(home.jobs(STUDY).glob("*.json"))] == ["job_1.json", "job_3.json"]
    until(lambda: len(list((tmp_path / "queue").glob("*.code"))) == 2)
    assert (tmp_path / "queue" / "3.out").read_text() == "3\n"
    # Numbers are not given twice, so that no later job writes over what is kept of an earlier one.
    said = io.StringIO()
    cluster = cluster.model_copy(update={"submit": f"{QUEUE} {tmp_path / 'queue'} < {{job}}"})
    engine("script")(placed(standin, cluster, said, 1))
    assert "2 jobs of this study were submitted before" in said.getvalue()
    assert (home.jobs(STUDY) / "job_4.json").is_file()


def test_what_the_batch_system_does_not_hear_of_is_named(tmp_path: Path, home: Home, sqlite_ledger: Ledger) -> None:
    standin = Standin(home, sqlite_ledger, {"a": {}})
    file = template(tmp_path, "#queue -W {minutes} -n {cpus}\ntrue {command}\n")
    asked: dict[str, Any] = {"time": 2, "cpus": 4, "partition": "gpu", "mem_gb": 8, "gres": "gpu:1"}
    cluster = Cluster(template=str(file), submit="true -q {partition} {job}", **asked)
    said = io.StringIO()
    engine("script")(placed(standin, cluster, said))
    told = [line for line in said.getvalue().splitlines() if "not handed on" in line]
    assert [line[line.index("cluster.") :] for line in told] == [
        "cluster.gres is not handed on: neither the template nor cluster.submit has {gres} or {gpus}",
        "cluster.mem_gb is not handed on: neither the template nor cluster.submit has {mem_gb}",
    ]


def test_a_submit_command_that_is_not_there_is_named(tmp_path: Path, home: Home, sqlite_ledger: Ledger) -> None:
    standin = Standin(home, sqlite_ledger, {"a": {}})
    cluster = Cluster(template=str(template(tmp_path, "{command}")), submit="no-such-bsub {job}")
    with pytest.raises(PoseStudyError, match=r"job 1 .* no-such-bsub: no such file or directory"):
        engine("script")(placed(standin, cluster, io.StringIO()))


@pytest.mark.parametrize(
    ("cluster", "named"),
    [
        ({}, "found no cluster.template"),
        ({"submit": None}, "found no cluster.submit"),
        ({"submit": "bsub"}, "with {job} where the job script's path belongs"),
        ({"submit": "cat {job} | bsub"}, r"found '\|' in .* without a shell"),
        ({"submit": "bsub 'x < {job}"}, "no closing quotation"),
        ({"submit": "bsub -q {queue} {job}", "text": "{command}"}, r"cluster.submit:1:9: found \{queue\}, expected"),
        ({"text": "echo hello\n"}, "found no {command} in the template"),
        ({"text": "#!/bin/bash\n#BSUB -n {cpu}\n{command}\n"}, r"job.sh.in:2:10: found \{cpu\}.*did you mean 'cpus'"),
        ({"text": "awk '{print}'\n{command}\n"}, r"job.sh.in:1:6: found \{print\}.*, write \{\{print\}\}"),
        ({"text": "{command}\n# {partition}\n"}, r"job.sh.in:2:3: found \{partition\}.*set `partition` below `clus"),
        ({"database": False}, "found false, expected true with --engine script"),
        ({"setup": ["module load cuda"]}, "expected it where the lines of cluster.setup belong"),
        ({"container": {"image": "x.sif", "runtime": "pyxis"}}, "a plugin of Slurm"),
    ],
)  # fmt: skip
def test_what_is_missing_or_unknown_is_named_and_nothing_is_submitted(
    cluster: dict[str, Any], named: str, tmp_path: Path, home: Home, sqlite_ledger: Ledger
) -> None:
    standin = Standin(home, sqlite_ledger, {"a": {}})
    cluster = dict(cluster)
    file = template(tmp_path, cluster.pop("text", "{command}")) if cluster else None
    given = {"submit": "true {job}", **({"template": str(file)} if file else {}), **cluster}
    with pytest.raises(PoseStudyError, match=named) as refused:
        engine("script")(placed(standin, Cluster(**given), io.StringIO()))
    assert not home.jobs(STUDY).exists()
    assert refused.value.exit_code == 2


def test_the_command_is_whole_in_a_shell_and_holds_no_password(
    tmp_path: Path, home: Home, sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSESTUDY_DATABASE_URL", "postgresql://me:topsecret@db/posestudy")
    monkeypatch.setenv("POSESTUDY_DATABASE_PASSWORD_FILE", "/secrets/the file")
    monkeypatch.setenv("POSESTUDY_IMAGE_CACHE", "/of/the/launcher")
    monkeypatch.setenv("NODE_DISK", "/of the node")
    standin = Standin(home, sqlite_ledger, {"a": {}})
    words = "import json, os, sys; print(json.dumps([sys.argv[1:], dict(os.environ)]))"
    file = template(tmp_path, f"{sys.executable} -c '{words}' {{command}} > {tmp_path}/said\n")
    keys = {"container": {"image": "x.sif"}, "gres": "gpu:v100:2", "local_cache": "$NODE_DISK/cache"}
    cluster = Cluster(template=str(file), submit="sh {job}", **keys)
    engine("script")(placed(standin, cluster, io.StringIO()))
    script = (home.jobs(STUDY) / "job_1.sh").read_text()
    assert "topsecret" not in script
    said = json.loads((tmp_path / "said").read_text())[0]
    assert said[:2] == ["env", "POSESTUDY_IMAGE_CACHE=/of the node/cache"]
    said = said[2:]
    assert said[:6] == [
        "env",
        "POSESTUDY_DATABASE_PASSWORD_FILE=/secrets/the file",
        "apptainer",
        "exec",
        "--nv",
        "x.sif",
    ]
    assert said[6:12] == ["python3", "-m", "posestudy", "--home", str(home.root), "worker"]


def test_a_job_that_starts_in_another_folder_finds_the_files_of_the_launch(
    tmp_path: Path, home: Home, sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "of launch").mkdir()
    monkeypatch.chdir(tmp_path / "of launch")
    for name in ("POSESTUDY_DATABASE_URL", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "sqlite:///a.db")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD_FILE", "word")
    monkeypatch.setenv("POSESTUDY_IMAGE_CACHE", "images")
    monkeypatch.setenv("XDG_CACHE_HOME", "kept")
    monkeypatch.delenv("TORCH_HOME", raising=False)
    standin = Standin(home, sqlite_ledger, {"a": {}})
    words = "import json, os, sys; print(json.dumps(sys.argv[1:]))"
    file = template(tmp_path, f"{sys.executable} -c '{words}' {{command}}\n")
    cluster = Cluster(template=str(file), submit="sh -c 'cd /; sh \"$0\"' {job}")
    engine("script")(placed(standin, cluster, io.StringIO()))
    said = json.loads(json.loads((home.jobs(STUDY) / "job_1.json").read_text())["output"])
    folder = tmp_path / "of launch"
    assert said[:7] == [
        "env",
        f"POSESTUDY_DATABASE_URL=sqlite:///{folder}/a.db",
        f"MLFLOW_TRACKING_URI=sqlite:///{folder}/a.db",
        f"MLFLOW_TRACKING_PASSWORD_FILE={folder}/word",
        f"POSESTUDY_IMAGE_CACHE={folder}/images",
        # Initial weights lie where the launch has put them.
        f"TORCH_HOME={folder}/kept/torch",
        sys.executable,
    ]


def test_what_is_no_path_is_handed_on_as_it_is(
    tmp_path: Path, home: Home, sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSESTUDY_DATABASE_URL", f"sqlite:///{tmp_path}/a.db")
    monkeypatch.setenv("POSESTUDY_IMAGE_CACHE", "off")
    monkeypatch.delenv("TORCH_HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    standin = Standin(home, sqlite_ledger, {"a": {}})
    cluster = Cluster(template=str(template(tmp_path, "{command}")), submit="true {job}")
    engine("script")(placed(standin, cluster, io.StringIO()))
    script = (home.jobs(STUDY) / "job_1.sh").read_text()
    assert f"env POSESTUDY_DATABASE_URL=sqlite:///{tmp_path}/a.db POSESTUDY_IMAGE_CACHE=off {sys.executable}" in script


def test_a_job_whose_launch_ended_while_it_was_submitted_is_told_of(
    tmp_path: Path, home: Home, sqlite_ledger: Ledger
) -> None:
    standin = Standin(home, sqlite_ledger, {"a": {}})
    file = template(tmp_path, "{command}")
    cluster = Cluster(template=str(file), submit="sh -c 'kill -INT $PPID; cat' {job}")
    with pytest.raises(KeyboardInterrupt):
        engine("script")(placed(standin, cluster, io.StringIO()))
    told = io.StringIO()
    engine("script")(placed(standin, Cluster(template=str(file), submit="true {job}"), told))
    assert "whether job 1 came into the queue is not known" in told.getvalue()
    assert "submitted before" not in told.getvalue()
    told = io.StringIO()
    engine("script")(placed(standin, Cluster(template=str(file), submit="true {job}"), told))
    assert "1 job of this study was submitted before" in told.getvalue()


def test_a_submit_command_that_does_not_end_leaves_a_job_in_doubt(
    tmp_path: Path, home: Home, sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    standin = Standin(home, sqlite_ledger, {"a": {}})
    file = template(tmp_path, "{command}")
    hangs = Cluster(template=str(file), submit="sh -c 'exec sleep 60' {job}")
    doubt = pytest.raises(PoseStudyError, match="whether the job is queued is not known")
    with monkeypatch.context() as patched, doubt:
        patched.setattr(script_engine, "SUBMIT_LIMIT_S", 0.5)
        engine("script")(placed(standin, hangs, io.StringIO()))
    told = io.StringIO()
    engine("script")(placed(standin, Cluster(template=str(file), submit="true {job}"), told))
    assert "whether job 1 came into the queue is not known" in told.getvalue()


def test_a_template_of_another_systems_editor_makes_a_script_that_starts_by_itself(
    tmp_path: Path, home: Home, sqlite_ledger: Ledger
) -> None:
    standin = Standin(home, sqlite_ledger, {"a": {}})
    file = tmp_path / "job.sh.in"
    file.write_bytes(b"\xef\xbb\xbf#!/bin/sh\r\necho it runs # {command}\r\n")
    engine("script")(placed(standin, Cluster(template=str(file), submit="env {job}"), io.StringIO()))
    assert json.loads((home.jobs(STUDY) / "job_1.json").read_text())["output"] == "it runs"


def test_gpus_of_a_job_are_held_against_those_of_a_trial(tmp_path: Path, home: Home, sqlite_ledger: Ledger) -> None:
    standin = Standin(home, sqlite_ledger, {"a": {}})
    sqlite_ledger.put_study(STUDY, {"cells": standin.cells, "stages": [{"variants": {"a": {"gpus": 4}}}]}, "")
    keys: dict[str, Any] = {"template": str(template(tmp_path, "{command}")), "submit": "true {job}"}
    with pytest.raises(PoseStudyError, match=r"found gpu:2, expected 4 GPUs or more, .* `gpus: 4`"):
        engine("script")(placed(standin, Cluster(**keys, gres="gpu:2"), io.StringIO()))
    assert not home.jobs(STUDY).exists()
    told = io.StringIO()
    engine("script")(placed(standin, Cluster(**keys, gres="gpu:v100:8"), told))
    assert "cluster.gres asks for 8 GPUs, of which a job uses 4" in told.getvalue()
    for gres in ("gpu:4", "scratch:1", None):
        told = io.StringIO()
        placement = placed(standin, Cluster(**keys, gres=gres), told)
        engine("script")(replace(placement, options=PoolOptions(per_gpu=2)))
        assert "of which a job uses" not in told.getvalue()
        assert "--per-gpu is not heeded by --engine script" in told.getvalue()


def test_a_study_past_its_deadline_gets_no_jobs(tmp_path: Path, home: Home, sqlite_ledger: Ledger) -> None:
    standin = Standin(home, sqlite_ledger, {"a": {}})
    document = {"cells": standin.cells, "budget": {"deadline": "2020-01-01T00:00:00Z"}}
    sqlite_ledger.put_study(STUDY, document, "")
    told = io.StringIO()
    cluster = Cluster(template=str(template(tmp_path, "{command}")), submit="true {job}")
    assert engine("script")(placed(standin, cluster, told)) is Ended.DONE
    assert "the deadline has passed (2020-01-01 00:00 UTC): no further trial starts, and no job" in told.getvalue()
    assert not home.jobs(STUDY).exists()


def test_words_of_a_submit_command_are_no_shell(tmp_path: Path) -> None:
    script = tmp_path / "a b;touch broken.sh"
    script.write_text("it")
    done = SubmitCommand.parse("sh -c 'cat; echo $0' {job} <{job}").run({"job": str(script)})
    assert done.stdout.strip() == f"it{script}"
    assert not (tmp_path / "broken.sh").exists()


def test_placeholders_are_told_from_the_shells_own_braces() -> None:
    text = "a={study} ${study} {STUDY} {a,b} {{study}} { true; } {1..3}"
    told = "a=cats ${study} {STUDY} {a,b} {study} { true; } {1..3}"
    assert JobTemplate("job", text).filled({"study": "cats"}) == told
    with pytest.raises(InputError, match=r"job:1:3: found \{study\}"):
        JobTemplate("job", text).filled({})


@pytest.mark.slow
def test_a_killed_job_of_a_real_trial_ends_with_the_weights_of_an_undisturbed_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(tmp_path / "cats", train=32, val=4, seed=1, size_px=64)
    (tmp_path / "queued.yaml").write_text(STUDY_FILE.format(root=tmp_path / "cats"))
    template(tmp_path, "#!/bin/bash\nexport OMP_NUM_THREADS=1\n{setup}\n{command}\n")
    profile = tmp_path / "course.yaml"
    profile.write_text(
        f'{{template: job.sh.in, setup: [cd "{tmp_path}"], submit: "{QUEUE} {tmp_path / "queue"} < {{job}}"}}'
    )
    home = Home(tmp_path / "home")

    def launch(name: str) -> None:
        options = ["--engine", "script", "--profile", str(profile), "--workers", "1", "--set", f"study={name}"]
        assert main(["--home", str(home.root), "launch", str(tmp_path / "queued.yaml"), "--fresh", *options]) == 0
        assert f"follow with: posestudy --home {home.root} status {name} --watch" in capsys.readouterr().out

    launch("undisturbed")
    launch("killed")
    ledger = Ledger.open(f"sqlite:///{home.database}")
    until(lambda: ledger.snapshot("killed").values or (tmp_path / "queue" / "2.code").exists())
    # Everything of the job at once, as a batch system ends it: shell, worker, forkserver and trial.
    for process in processes_of(tmp_path / "queue" / "2.pid"):
        os.kill(process, signal.SIGKILL)
    launch("killed")
    until(lambda: all((tmp_path / "queue" / f"{job}.code").exists() for job in (1, 3)))
    final = {}
    for name in ("undisturbed", "killed"):
        (trial,) = ledger.snapshot(name).trials
        assert trial.outcome is Outcome.COMPLETED, (tmp_path / "queue" / "3.out").read_text()
        final[name] = home.attempt(name, trial.number, trial.fence)
    ends = [attempt.end for attempt in ledger.snapshot("killed").attempts]
    assert ends == [AttemptEnd.LOST, AttemptEnd.FINISHED]
    ledger.close()
    left, right = (torch.load(paths.checkpoint(3), weights_only=False) for paths in final.values())
    for part in ("state_dict", "optimizer"):
        assert_equal_tensors(left[part], right[part])
    left, right = (torch.load(paths.best_weights, weights_only=True) for paths in final.values())
    assert_equal_tensors(left, right)


def processes_of(pid_file: Path) -> list[int]:
    """The process in the file and all below it, the leader first."""
    import psutil

    leader = psutil.Process(int(pid_file.read_text()))
    return [leader.pid, *(child.pid for child in leader.children(recursive=True))]
