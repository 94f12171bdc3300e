"""What two ranks train over gloo, in bfloat16 and with accumulated gradients: stopped or killed it goes on bit for bit,
and stock MMPose trains the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rank_attempts import AFTER_KILL, AFTER_STOP, ALONE, KILLED, STOCK, STOPPED, UNDISTURBED
from same_tensors import assert_equal_tensors

from posestudy import journal
from posestudy.home import AttemptPaths, Home
from posestudy_runner import trial
from posestudy_studies.drawn_cats import draw

pytestmark = pytest.mark.slow

YAML = """
study: ranks
dataset:
  keypoints: cats
  root: cats
  train: {annotations: annotations/train.json, images: images}
  val: {annotations: annotations/val.json, images: images}
baseline:
  model: resnet_tiny
  input_size: [64, 64]
  sigma: 2.0
  epochs: 3
  batch_size: 2
  gpus: 2
  lr_scaling: {base_batch_size: 4}
  optimizer: {type: SGD, lr: 0.05, momentum: 0.9}
  augmentation: {flip: {}, scale_rotation: {}}
  amp: true
  accumulate: 2
stages:
  - {name: only, design: variants, variants: {more: {sigma: 3.0}}}
data_path: fast
"""
TIMED = ("epoch_time_s", "iteration_time_s", "data_time_s", "validation_time_s", "memory_mb", "cpu_percent")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("ranks")
    draw(folder / "cats", train=10, val=5, seed=1, size_px=64)
    (folder / "ranks.yaml").write_text(YAML)
    home = Home(folder / "home")
    tests = Path(__file__).parent
    run(folder, str(tests / "rank_attempts.py"), "ranks.yaml", str(home.root), PYTHONPATH=str(tests))
    return home


def run(folder: Path, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout


def paths(home: Home, fence: int) -> AttemptPaths:
    return home.attempt("ranks", 1, fence)


def frames(home: Home, fence: int, kind: str = "epoch") -> list[dict[str, Any]]:
    return [frame for frame in journal.read(paths(home, fence).journal) if frame["type"] == kind]


def values(home: Home, *fences: int) -> dict[int, dict[str, float]]:
    told = [frame for fence in fences for frame in frames(home, fence)]
    return {f["epoch"]: {k: v for k, v in f["metrics"].items() if k not in TIMED} for f in told}


def load(path: Path) -> dict[str, Any]:
    return torch.load(path, map_location="cpu", weights_only=True)


def predicted(file: Path) -> tuple[list[int], np.ndarray]:
    """The image of each instance, and its keypoints."""
    found = json.loads(file.read_text())
    return [one["image_id"] for one in found], np.array([one["keypoints"] for one in found])


def test_two_ranks_learn(home: Home) -> None:
    told = values(home, UNDISTURBED)
    assert sorted(told) == [1, 2, 3]
    assert told[3]["loss"] < told[1]["loss"]
    # Eight samples an update, where the rate was chosen for four.
    assert {row["lr"] for row in told.values()} == {0.1}
    (end,) = frames(home, UNDISTURBED, "end")
    assert end["outcome"] == "completed"


@pytest.mark.parametrize("fences", [(KILLED, AFTER_KILL), (STOPPED, AFTER_STOP)])
def test_a_resumed_trial_of_two_ranks_is_an_undisturbed_one(home: Home, fences: tuple[int, int]) -> None:
    assert values(home, *fences) == values(home, UNDISTURBED)
    final, expected = (load(paths(home, fence).checkpoint(3)) for fence in (fences[-1], UNDISTURBED))
    assert_equal_tensors(final["state_dict"], expected["state_dict"])
    assert_equal_tensors(final["optimizer"], expected["optimizer"])


def test_a_killed_rank_ends_the_attempt_and_the_log_names_it(home: Home) -> None:
    assert sorted(values(home, KILLED)) == [1]
    assert frames(home, KILLED, "end") == []
    assert paths(home, KILLED).log.read_text().splitlines()[-1] == "rank 1 of 2 died: signal 9"


def test_a_signal_to_all_ranks_saves_the_middle_of_the_epoch(home: Home) -> None:
    (end,) = frames(home, STOPPED, "end")
    assert (end["outcome"], end["message"]) == (None, "signal SIGTERM")
    assert load(paths(home, STOPPED).preempted)["meta"]["posestudy_position"]["iteration"] == 2


def test_one_process_finds_the_same_keypoints_by_the_weights_of_two(home: Home) -> None:
    (images, both), (in_order, alone) = (predicted(paths(home, fence).predictions) for fence in (UNDISTURBED, ALONE))
    assert images == in_order
    assert len(set(images)) == 5
    # Batches of other samples round otherwise.
    assert np.abs(both - alone).max() < 1e-3
    name = "coco/AP"
    assert values(home, ALONE)[3][name] == pytest.approx(values(home, UNDISTURBED)[3][name], abs=1e-9)


def test_stock_mmpose_trains_the_same_in_two_ranks_by_the_written_config(home: Home, tmp_path: Path) -> None:
    script = Path(__file__).with_name("stock_ranks.py")
    run(tmp_path, str(script), str(paths(home, STOCK).config), GLOO_SOCKET_IFNAME="lo")
    first, second = (load(tmp_path / f"rank_{rank}.pth") for rank in (0, 1))
    # After a validation both ranks have the running statistics of the first.
    assert_equal_tensors(dict(first), dict(second))
    assert_equal_tensors(dict(first), dict(load(paths(home, STOCK).checkpoint(3))["state_dict"]))


def test_the_plugin_is_loaded() -> None:
    """Which lets torch read training checkpoints."""
    assert trial.plugin is not None
