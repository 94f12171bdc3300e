"""Real MMPose trials on a few drawn images: killed, interrupted and resumed ones end as undisturbed ones do."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from rich.console import Console
from same_tensors import assert_equal_tensors
from standin_pool import in_background, until

from posestudy.home import AttemptPaths, Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import TrialRecord
from posestudy.vocabulary import Outcome, TrialState
from posestudy_runner.context import PoolOptions
from posestudy_runner.display import LineDisplay
from posestudy_runner.pool import Goal, Pool
from posestudy_runner.steering import study_steering
from posestudy_studies.dataset import sealed
from posestudy_studies.drawn_cats import draw
from posestudy_studies.file import load

pytestmark = pytest.mark.slow

EPOCHS = 3
NAME = "tiny"
YAML = """
study: tiny
dataset:
  keypoints: cats
  root: {root}
  train: {{annotations: annotations/train.json, images: images}}
  val: {{annotations: annotations/val.json, images: images}}
baseline:
  model: resnet_tiny
  input_size: [64, 64]
  sigma: 1.0
  epochs: 3
  validate_every: 2
  batch_size: 4
  optimizer: {{type: Adam, lr: 1.0e-3}}
  schedule: {{warmup_iters: 3, milestones: [2]}}
  augmentation: {{flip: {{}}, scale_rotation: {{}}}}
  amp: true
stages:
  - name: only
    design: variants
    include_baseline: false
    variants: {variants}
replicates: {{seeds: [3]}}
"""


@pytest.fixture(autouse=True)
def importable_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cats")
    draw(root, train=64, val=4, seed=1, size_px=64)
    return root


@dataclass
class Run:
    """One study in one home."""

    home: Home
    ledger: Ledger
    file: Path
    output: io.StringIO

    def pool(self, *, limit_s: float | None = None, **options: Any) -> Pool:
        chosen = {"target": "real_trial:main", "poll_s": 0.2, "lease_s": 20.0, "projects": False, **options}
        display = LineDisplay(Console(file=self.output, width=400), "coco/AP")
        goal = Goal(NAME, "coco/AP", "more", limit_s)
        return Pool(self.ledger, self.home, goal, study_steering(), display, PoolOptions(**chosen))

    def trials(self) -> list[TrialRecord]:
        return list(self.ledger.snapshot(NAME).trials)

    def epochs(self) -> set[int]:
        return {value.epoch for value in self.ledger.snapshot(NAME).values}

    def last_attempt(self) -> AttemptPaths:
        (trial,) = self.trials()
        return self.home.attempt(NAME, trial.number, trial.fence)

    def result(self) -> tuple[dict[str, Any], dict[str, Any], dict[int, dict[str, float]]]:
        """Final checkpoint, best weights, and metrics that do not depend on the clock."""
        paths = self.last_attempt()
        final = torch.load(paths.checkpoint(EPOCHS), weights_only=False)
        best = torch.load(paths.best_weights, weights_only=True)
        timed = re.compile(r".*_time_s|memory_mb|cpu_percent")
        values = {
            value.epoch: {k: v for k, v in value.metrics.items() if not timed.fullmatch(k)}
            for value in self.ledger.snapshot(NAME).values
        }
        return final, best, values


def study(folder: Path, data: Path, variants: str = "{only: {sigma: 1.5}}", *, put: bool = True) -> Run:
    file = folder / "tiny.yaml"
    file.write_text(YAML.format(root=data, variants=variants))
    home = Home.resolve(folder / "home")
    ledger = Ledger.open(f"sqlite:///{home.database}")
    if put:
        ledger.put_study(NAME, sealed(load(file)).model_dump(mode="json"), file.read_text())
    return Run(home, ledger, file, io.StringIO())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        run = study(tmp_path_factory.mktemp("undisturbed"), data)
        run.pool().run(1)
    assert [t.outcome for t in run.trials()] == [Outcome.COMPLETED], run.trials()[0].message
    return run


def assert_equal_results(left: Run, right: Run) -> None:
    final, best, values = left.result()
    other_final, other_best, other_values = right.result()
    assert_equal_tensors(final["state_dict"], other_final["state_dict"])
    assert_equal_tensors(final["optimizer"], other_final["optimizer"])
    assert_equal_tensors(best, other_best)
    assert final["meta"]["epoch"] == other_final["meta"]["epoch"] == EPOCHS
    assert values == other_values


def test_a_trial_leaves_its_files_and_numbers(undisturbed: Run) -> None:
    (trial,) = undisturbed.trials()
    paths = undisturbed.last_attempt()
    assert undisturbed.epochs() == {1, 2, 3}
    values = {v.epoch: v.metrics for v in undisturbed.ledger.snapshot(NAME).values}
    assert {"loss", "acc_pose", "lr", "epoch_time_s", "data_time_s", "memory_mb", "cpu_percent"} <= values[1].keys()
    assert values[1]["cpu_percent"] > 1
    assert "coco/AP" not in values[1]
    assert {"coco/AP", "coco/AP50", "coco/AR"} <= values[2].keys()
    assert "coco/AP" in values[3]
    assert trial.provenance["torch"] == torch.__version__
    assert (trial.provenance["device"], trial.provenance["amp_dtype"]) == ("cpu", "bfloat16")
    assert trial.peak_memory_mb > 100
    assert paths.config.exists()
    assert paths.predictions.exists()
    assert "Epoch(train)" in paths.log.read_text()
    pictures = sorted(paths.drawings.glob("*.png"))
    assert len(pictures) == 4
    assert min(cv2.imread(str(pictures[0])).shape[:2]) >= 200
    best = torch.load(paths.best_weights, weights_only=True)
    assert all(isinstance(tensor, torch.Tensor) for tensor in best.values())


def test_a_killed_trial_ends_as_an_undisturbed_one(tmp_path: Path, data: Path, undisturbed: Run) -> None:
    run = study(tmp_path, data)
    thread = in_background(run.pool())
    until(lambda: 1 in run.epochs())
    os.kill(int((run.home.attempt(NAME, 1, 1).folder / "pid").read_text()), signal.SIGKILL)
    thread.join(400)
    (trial,) = run.trials()
    assert (trial.outcome, trial.fence) == (Outcome.COMPLETED, 2)
    assert_equal_results(run, undisturbed)


def test_a_damaged_checkpoint_is_not_resumed_from(tmp_path: Path, data: Path, undisturbed: Run) -> None:
    run = study(tmp_path, data)
    pool = run.pool()
    thread = in_background(pool)
    until(lambda: 2 in run.epochs())
    pool.stop.now("the test kills")
    thread.join(400)
    (trial,) = run.trials()
    assert trial.state is TrialState.WAITING
    with open(trial.ckpt_path, "r+b") as file:
        file.seek(1000)
        file.write(b"damage")
    run.pool().run(1)
    assert "is damaged" in run.last_attempt().log.read_text()
    assert_equal_results(run, undisturbed)


def test_spawn_gives_the_same_as_forkserver(tmp_path: Path, data: Path, undisturbed: Run) -> None:
    run = study(tmp_path, data)
    run.pool(start="spawn").run(1)
    assert_equal_results(run, undisturbed)


def test_ctrl_c_and_launch_again_ends_as_an_undisturbed_one(tmp_path: Path, data: Path, undisturbed: Run) -> None:
    run = study(tmp_path, data, put=False)
    program = "from posestudy.commands.app import run; run()"
    arguments = ["--home", str(run.home.root), "launch", str(run.file), "--workers", "1"]
    command = [sys.executable, "-c", program, *arguments]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path)
    until(lambda: first.poll() is not None or (run.ledger.studies() and 1 in run.epochs()))
    first.send_signal(signal.SIGINT)
    output, _ = first.communicate(timeout=400)
    assert first.returncode == 1, output
    assert "resume with: posestudy" in output
    assert run.trials()[0].state is TrialState.WAITING
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    second = subprocess.run(command, cwd=tmp_path, timeout=400, **output)
    assert second.returncode == 0, second.stdout
    assert f"posestudy --home {run.home.root} report tiny --out" in second.stdout
    assert_equal_results(run, undisturbed)


def test_what_the_home_has_trained_is_not_trained_again_but_with_fresh(
    tmp_path: Path, data: Path, undisturbed: Run
) -> None:
    run = study(tmp_path, data, put=False)
    run.ledger.close()
    shutil.copytree(undisturbed.home.root, run.home.root, dirs_exist_ok=True)
    program = "from posestudy.commands.app import run; run()"
    launch = [sys.executable, "-c", program, "--home", str(run.home.root), "launch", str(run.file), "--workers", "1"]
    output: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    for options in (["--set", "study=again"], ["--set", "study=anew", "--fresh"]):
        done = subprocess.run([*launch, *options], cwd=tmp_path, timeout=400, **output)
        assert done.returncode == 0, done.stdout
    (origin,), (again,), (anew,) = (run.ledger.snapshot(name).trials for name in (NAME, "again", "anew"))
    assert (again.source or {})["uid"] == origin.uid
    assert anew.source is None
    # Reused is the very result, trained anew on one machine is the same number.
    assert again.final_value == anew.final_value == origin.final_value
    assert not run.home.attempts("again", again.number)
    assert run.home.attempt("anew", anew.number, anew.fence).matches.is_file()


def test_every_outcome_is_recognised_and_the_pool_goes_on(tmp_path: Path, data: Path) -> None:
    (tmp_path / "torn.pth").write_bytes(b"PK\x03\x04 these are no weights")
    variants = (
        "{diverges: {optimizer.lr: 1.0e+10}, eats: {input_size: [4096, 4096]}, "
        "breaks: {init: torn.pth}, works: {sigma: 1.5}}"
    )
    run = study(tmp_path, data, variants)
    run.pool(memory_limit_mb=3000).run(1)
    told = [(t.outcome, (t.message or "").splitlines()[:1]) for t in run.trials()]
    outcomes = [outcome for outcome, _ in told]
    assert outcomes == [Outcome.DIVERGED, Outcome.OUT_OF_MEMORY, Outcome.FAILED, Outcome.COMPLETED], told
    assert "the loss was" in run.trials()[0].message
    assert "Error" in run.trials()[2].message


def test_a_trial_that_takes_too_long_is_timed_out(tmp_path: Path, data: Path) -> None:
    run = study(tmp_path, data)
    run.pool(limit_s=0.01).run(1)
    (trial,) = run.trials()
    assert trial.outcome is Outcome.TIMED_OUT
    assert "budget.trial_hours" in trial.message
