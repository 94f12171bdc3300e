"""Wherever a trial was stopped, its epochs and its weights are those of one that never was: mixed precision, averaged
weights, warm-up, milestones, accumulated gradients and another number of data loaders together."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from exact_attempts import AFTER, KILLED, LAST, UNDISTURBED, VALIDATING, WITHIN
from same_tensors import assert_equal_tensors

from posestudy import journal
from posestudy.home import AttemptPaths, Home
from posestudy_runner.components import VARIABLE
from posestudy_studies.drawn_cats import draw

pytestmark = pytest.mark.slow

YAML = """
study: exact
dataset:
  keypoints: cats
  root: cats
  train: {annotations: annotations/train.json, images: images}
  val: {annotations: annotations/val.json, images: images}
baseline:
  model: {config: averaged.py, brings: [custom_hooks]}
  input_size: [64, 64]
  sigma: 1.5
  epochs: 3
  validate_every: 2
  batch_size: 2
  accumulate: 2
  optimizer: {type: Adam, lr: 1.0e-3}
  schedule: {warmup_iters: 4, milestones: [2]}
  augmentation: {flip: {}, scale_rotation: {}}
  amp: true
stages:
  - {name: only, design: variants, variants: {more: {sigma: 2.0}}}
"""
NETWORK = """
codec = dict(type="MSRAHeatmap", input_size=(64, 64), heatmap_size=(16, 16), sigma=1.5)
model = dict(
    type="TopdownPoseEstimator",
    data_preprocessor=dict(
        type="PoseDataPreprocessor", mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True
    ),
    backbone=dict(type="ResNet", depth=18, stem_channels=8, base_channels=8),
    head=dict(
        type="HeatmapHead", in_channels=64, out_channels=17, deconv_out_channels=(8, 8, 8),
        deconv_kernel_sizes=(4, 4, 4), loss=dict(type="KeypointMSELoss", use_target_weight=True), decoder=codec
    ),
    test_cfg=dict(flip_test=False),
)
custom_hooks = [dict(type="EMAHook", ema_type="ExponentialMovingAverage", momentum=0.1)]
"""
TIMED = ("epoch_time_s", "iteration_time_s", "data_time_s", "validation_time_s", "memory_mb", "cpu_percent")


@pytest.fixture(scope="module", params=[("fast", "loaders"), ("fast", ""), ("stock", "")], ids="-".join)
def home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Attempts by either data path; without the component `loaders` their numbers of loading processes differ."""
    data_path, without = request.param
    folder = tmp_path_factory.mktemp("exact")
    draw(folder / "cats", train=10, val=4, seed=1, size_px=64)
    (folder / "averaged.py").write_text(NETWORK)
    (folder / "exact.yaml").write_text(f"{YAML}data_path: {data_path}\n")
    home = Home(folder / "home")
    script = Path(__file__).with_name("exact_attempts.py")
    command = [sys.executable, str(script), str(folder / "exact.yaml"), str(home.root)]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, VARIABLE: without},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    return home


def paths(home: Home, fence: int) -> AttemptPaths:
    return home.attempt("exact", 1, fence)


def frames(home: Home, fence: int, kind: str = "epoch") -> list[dict[str, Any]]:
    return [frame for frame in journal.read(paths(home, fence).journal) if frame["type"] == kind]


def values(home: Home, *fences: int) -> dict[int, dict[str, float]]:
    """What the attempts measured, without what depends on the clock."""
    told = [frame for fence in fences for frame in frames(home, fence)]
    epochs = [frame["epoch"] for frame in told]
    assert len(set(epochs)) == len(epochs), "an epoch was told twice"
    return {f["epoch"]: {k: v for k, v in f["metrics"].items() if k not in TIMED} for f in told}


def load(path: Path) -> dict[str, Any]:
    return torch.load(path, map_location="cpu", weights_only=False)


@pytest.mark.parametrize("fences", [(UNDISTURBED, KILLED), (AFTER, WITHIN, VALIDATING, LAST)])
def test_a_resumed_trial_is_an_undisturbed_one(home: Home, fences: tuple[int, ...]) -> None:
    undisturbed = values(home, UNDISTURBED)
    if fences[0] == UNDISTURBED:
        assert values(home, KILLED) == {epoch: undisturbed[epoch] for epoch in (2, 3)}
    else:
        assert values(home, *fences) == undisturbed
    final, expected = (load(paths(home, fence).checkpoint(3)) for fence in (fences[-1], UNDISTURBED))
    for part in ("state_dict", "ema_state_dict", "optimizer", "param_schedulers"):
        assert_equal_tensors(final[part], expected[part])
    assert (final["meta"]["epoch"], final["meta"]["iter"]) == (3, 21)
    best, right = (load(paths(home, fence).best_weights) for fence in (fences[-1], UNDISTURBED))
    assert_equal_tensors(best, right)


def test_the_undisturbed_one_does_all_that_could_go_wrong(home: Home) -> None:
    told = values(home, UNDISTURBED)
    assert [sorted(told), len({told[e]["lr"] for e in told})] == [[1, 2, 3], 3]
    final = load(paths(home, UNDISTURBED).checkpoint(3))
    weights, averages = final["ema_state_dict"], final["state_dict"]
    assert any(not torch.equal(averages[k], weights[f"module.{k}"]) for k in averages)
    # The best weights are those that were evaluated: the averaged ones.
    best = final["meta"]["posestudy_best"]["epoch"]
    of_that_epoch = load(paths(home, UNDISTURBED).checkpoint(best))["state_dict"]
    assert_equal_tensors(dict(load(paths(home, UNDISTURBED).best_weights)), dict(of_that_epoch))


def test_a_stop_is_saved_where_it_was_and_told(home: Home) -> None:
    where = []
    for fence in (AFTER, WITHIN, VALIDATING):
        (end,) = frames(home, fence, "end")
        assert end["outcome"] is None
        assert Path(end["checkpoint"]["path"]) == paths(home, fence).preempted
        assert end["duration_s"] > 0 or fence == AFTER
        meta = load(paths(home, fence).preempted)["meta"]
        position = meta["posestudy_position"]
        where.append((end["checkpoint"]["epoch"], meta["iter"], position["iteration"], position["validates"]))
    # Accumulated gradients are in no checkpoint: it was asked to stop after the first update of two iterations.
    assert where == [(1, 7, 0, False), (1, 9, 2, False), (1, 14, 0, True)]


def test_with_an_interval_only_the_end_has_a_checkpoint(home: Home) -> None:
    told = [(f["epoch"], f["checkpoint"] is not None) for fence in (AFTER, LAST) for f in frames(home, fence)]
    assert told == [(1, False), (2, False), (3, True)]
    assert not list(paths(home, AFTER).folder.glob("epoch_*"))
    assert all(frame["checkpoint"] for frame in frames(home, UNDISTURBED))
    # The best weights of epoch 2 would be needed after a fall back to its checkpoint.
    assert not list(paths(home, LAST).folder.glob("validating*"))


def test_the_epoch_that_was_interrupted_is_timed_over_all_of_its_attempts(home: Home) -> None:
    before = load(paths(home, VALIDATING).preempted)["meta"]["posestudy_position"]["told"]["train"]
    (told, _) = frames(home, LAST)
    assert told["epoch"] == 2
    for name in ("epoch_time_s", "data_time_s", "loss"):
        assert told["metrics"][name] == before[name]
    within = load(paths(home, WITHIN).preempted)["meta"]["posestudy_position"]["told"]["sums"]
    assert within["steps"] == 2
    assert before["epoch_time_s"] > within["elapsed_s"] > 0
