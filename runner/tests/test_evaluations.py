"""Cells that differ in nothing but how they are looked at are trained once; given weights are only evaluated."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from rich.console import Console

from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import Snapshot, TrialRecord
from posestudy.vocabulary import Outcome
from posestudy_runner import plugin  # noqa: F401  (before MMPose)
from posestudy_runner.context import PoolOptions
from posestudy_runner.display import LineDisplay
from posestudy_runner.pool import Goal, Pool
from posestudy_runner.steering import study_steering
from posestudy_studies.dataset import sealed
from posestudy_studies.drawn_cats import draw
from posestudy_studies.file import load

pytestmark = pytest.mark.slow

HEAD = """
study: {name}
dataset:
  keypoints: cats
  root: {root}
  train: {{annotations: annotations/train.json, images: images}}
  val: {{annotations: annotations/val.json, images: images}}
  test: {{annotations: annotations/val.json, images: images}}
baseline:
  model: transpose-r-thin
  codec: udp
  input_size: [64, 64]
  sigma: 1.5
  epochs: 3
  validate_every: 1
  batch_size: 8
  optimizer: {{type: Adam, lr: 2.0e-3}}
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cats") / "data"
    draw(root, train=48, val=8, seed=1)
    truth = json.loads((root / "annotations" / "val.json").read_text())
    keys = ("image_id", "category_id", "bbox")
    boxes = [{**{key: one[key] for key in keys}, "score": 0.9} for one in truth["annotations"]]
    (root / "annotations" / "boxes.json").write_text(json.dumps(boxes))
    return root


def run(folder: Path, data: Path, name: str, rest: str) -> tuple[Home, Snapshot]:
    """Everything a study asks for, in one home a folder."""
    folder.mkdir(exist_ok=True)
    file = folder / f"{name}.yaml"
    file.write_text(HEAD.format(name=name, root=data) + rest)
    study = sealed(load(file))
    home = Home(folder / "home")
    home.root.mkdir(exist_ok=True)
    ledger = Ledger.open(f"sqlite:///{home.database}")
    try:
        ledger.put_study(name, study.model_dump(mode="json"), file.read_text())
        output = io.StringIO()
        options = PoolOptions(poll_s=0.2, lease_s=60.0, projects=False)
        display = LineDisplay(Console(file=output, width=400), study.metric)
        pool = Pool(ledger, home, Goal(name, study.metric, "more", None), study_steering(), display, options)
        pool.run(2)
        return home, ledger.snapshot(name)
    finally:
        ledger.close()


def trials(snapshot: Snapshot) -> dict[str, TrialRecord]:
    """By `stage/cell`."""
    cells, stages = {c.id: c for c in snapshot.cells}, {s.id: s.name for s in snapshot.stages}
    return {f"{stages[cells[t.cell_id].stage_id]}/{cells[t.cell_id].name}": t for t in snapshot.trials}


def metrics(snapshot: Snapshot, trial: TrialRecord) -> dict[int, dict[str, float]]:
    return {v.epoch: v.metrics for v in snapshot.values if v.trial_uid == trial.uid}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data: Path) -> tuple[Path, Home, Snapshot]:
    folder = tmp_path_factory.mktemp("trained")
    home, snapshot = run(
        folder,
        data,
        "looked",
        """
stages:
  - name: one
    design: variants
    variants:
      boxes: {evaluation.boxes: annotations/boxes.json, evaluation.submission: true}
      no_flip: {evaluation.flip_test: false}
      same: {evaluation.flip_test: true}
""",
    )
    return folder, home, snapshot


def test_only_the_first_of_cells_that_are_trained_alike_is_trained(trained: tuple[Path, Home, Snapshot]) -> None:
    _, home, snapshot = trained
    found = trials(snapshot)
    first = found["one/baseline"]
    assert {trial.outcome for trial in found.values()} == {Outcome.COMPLETED}
    assert first.ckpt_path is not None
    assert "evaluated" not in first.provenance
    for name in ("boxes", "no_flip"):
        trial = found[f"one/{name}"]
        assert trial.provenance["evaluated"] == {"study": "looked", "number": 1, "uid": first.uid}
        assert trial.ckpt_path is None
        assert (trial.final_epoch, trial.best_epoch) == (first.final_epoch, trial.best_epoch)
        assert set(metrics(snapshot, trial)) == {first.final_epoch, first.best_epoch}
        assert "loss" not in metrics(snapshot, trial)[3]
        attempt = home.attempts("looked", trial.number)[0]
        for file in (attempt.matches, attempt.predictions, attempt.best_weights, attempt.drawings / "001.png"):
            assert file.exists(), file
        assert (attempt.attention / "001_dependency.png").exists()
    # A level that only says again what the study says gives what the baseline gave.
    assert found["one/same"].provenance["evaluated"]["number"] == 1
    assert found["one/same"].final_value == first.final_value


def test_an_evaluation_gives_what_mmpose_gives_for_these_weights(trained: tuple[Path, Home, Snapshot]) -> None:
    _, home, snapshot = trained
    found = trials(snapshot)
    trial = found["one/no_flip"]
    config = Config.fromfile(home.attempts("looked", trial.number)[0].config)
    assert config.model.test_cfg.flip_test is False
    config.work_dir, config.visualizer.vis_backends = str(home.root / "by_hand"), []
    config.val_evaluator.outfile_prefix = str(home.root / "by_hand")
    # MMEngine's own cannot be asked for the best outside training.
    config.default_hooks.checkpoint = None
    config.load_from = found["one/baseline"].ckpt_path
    runner = Runner.from_cfg(config)
    runner.val()
    ours, by_hand, flipped = (
        np.array([one["keypoints"] for one in json.loads(file.read_text())])
        for file in (
            home.attempts("looked", trial.number)[0].predictions,
            home.root / "by_hand.keypoints.json",
            home.attempts("looked", found["one/same"].number)[0].predictions,
        )
    )
    # Thread counts differ, and with them the last bits.
    assert np.abs(ours - by_hand).max() < 1e-3
    assert np.abs(ours - flipped).max() > 0.1, "the flip test made no difference"


def test_a_submission_holds_every_box_of_the_test_split(trained: tuple[Path, Home, Snapshot], data: Path) -> None:
    _, home, snapshot = trained
    found = trials(snapshot)
    attempt = home.attempts("looked", found["one/boxes"].number)[0]
    results = json.loads(attempt.submission.read_text())
    images = {one["id"] for one in json.loads((data / "annotations" / "val.json").read_text())["images"]}
    assert {one["image_id"] for one in results} == images
    assert all(len(one["keypoints"]) == 51 for one in results)
    assert not home.attempts("looked", found["one/no_flip"].number)[0].submission.exists()


def test_given_weights_of_the_whole_network_are_evaluated_and_not_trained(
    trained: tuple[Path, Home, Snapshot], data: Path
) -> None:
    folder, home, before = trained
    first = trials(before)["one/baseline"]
    weights = home.attempts("looked", 1)[0].best_weights
    stages = f"""
stages:
  - name: zoo
    design: variants
    variants:
      given: {{epochs: 0, init: {weights}}}
      unflipped: {{epochs: 0, init: {weights}, evaluation.flip_test: false}}
      backbone_only: {{epochs: 0, init: {folder / "part.pth"}}}
    include_baseline: false
"""
    state = torch.load(weights, weights_only=True)
    torch.save({name: part for name, part in state.items() if name.startswith("backbone.")}, folder / "part.pth")
    _, snapshot = run(folder, data, "given", stages)
    found = trials(snapshot)
    given, unflipped, refused = (found[f"zoo/{name}"] for name in ("given", "unflipped", "backbone_only"))
    assert given.outcome is Outcome.COMPLETED
    assert (given.final_value, given.final_epoch, given.best_epoch) == (first.best_value, 0, 0)
    assert given.profile is not None
    assert given.profile["parameters"] == sum(p.numel() for n, p in state.items() if "running" not in n and p.ndim)
    assert unflipped.outcome is Outcome.COMPLETED
    stock = Config.fromfile(home.attempts("given", given.number)[0].config)
    stock.work_dir, stock.visualizer.vis_backends = str(folder / "stock"), []
    assert Runner.from_cfg(stock).val()["coco/AP"] == given.final_value
    assert refused.outcome is Outcome.FAILED
    assert "part.pth are not those of this whole network" in str(refused.message)
    assert "head.final_layer.weight" in str(refused.message)


def test_without_its_files_a_trial_trains_itself(data: Path, tmp_path: Path) -> None:
    stages = """
stages:
  - {name: one, design: variants, variants: {no_flip: {evaluation.flip_test: false}}}
"""
    _, snapshot = run(tmp_path, data, "looked", stages)
    first = trials(snapshot)["one/baseline"]
    Path(str(first.ckpt_path)).write_bytes(b"damaged")
    rest = stages.replace("no_flip: {evaluation.flip_test: false}", "score: {evaluation.score_mode: bbox}")
    _, second = run(tmp_path, data, "again", rest)
    found = trials(second)
    assert found["one/baseline"].source is not None, "the baseline itself is a known result"
    score = found["one/score"]
    assert score.outcome is Outcome.COMPLETED
    assert "evaluated" not in score.provenance
    assert score.ckpt_path is not None
    assert "loss" in metrics(second, score)[3]
