"""The evaluation path on photographs of COCO with the boxes of a detector, where that sample is at hand."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from rich.console import Console

from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.vocabulary import Outcome
from posestudy_runner import plugin  # noqa: F401  (before MMPose)
from posestudy_runner.context import PoolOptions
from posestudy_runner.display import LineDisplay
from posestudy_runner.pool import Goal, Pool
from posestudy_runner.steering import study_steering
from posestudy_studies import mmpose_config
from posestudy_studies.dataset import problems, sealed
from posestudy_studies.file import load
from posestudy_studies.spec import Study

from mmpose.registry import DATASETS, MODELS  # isort: skip

SAMPLE = Path(
    os.environ.get("POSESTUDY_COCO_SAMPLE") or Path(__file__).parents[3] / "shared" / "data" / "samples" / "coco"
)
FILES = ("test_coco.json", "test_coco_det_AP_H_56.json")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all((SAMPLE / file).is_file() for file in FILES),
        reason="the COCO sample of MMPose's tests is not there; POSESTUDY_COCO_SAMPLE names its folder",
    ),
]
STEPS = 200
STUDY = """
study: sample
dataset:
  keypoints: coco
  root: {root}
  train: {{annotations: test_coco.json, images: images}}
  val:   {{annotations: test_coco.json, images: images}}
  test:  {{annotations: info.json, images: images}}
evaluation: {{test_boxes: test_coco_det_AP_H_56.json}}
baseline:
  model: transpose-r-thin
  init: {root}/by_heart.pth
  codec: udp
  input_size: [96, 128]
  sigma: 1.5
  epochs: 0
  batch_size: 14
  optimizer: {{type: Adam, lr: 2.0e-3}}
stages:
  - name: looks
    design: variants
    variants:
      no_flip: {{evaluation.flip_test: false}}
      detector:
        evaluation.boxes: test_coco_det_AP_H_56.json
        evaluation.submission: true
      detector_no_flip:
        evaluation.boxes: test_coco_det_AP_H_56.json
        evaluation.flip_test: false
"""


def learn_by_heart(study: Study, weights: Path) -> None:
    """Fit the network to the fourteen people of the sample as they are, and keep it."""
    init_default_scope("mmpose")
    config = mmpose_config.on_stock_data_path(mmpose_config.build(study, study.baseline, 0))
    dataset = DATASETS.build({**config["train_dataloader"]["dataset"], "test_mode": False})
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = MODELS.build(config["model"]).train()
    model.init_weights()
    batch = model.data_preprocessor(pseudo_collate([dataset[i] for i in range(len(dataset))]), training=True)
    optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=2e-3)
    for _ in range(STEPS):
        loss = model(**batch, mode="loss")["loss_kpt"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.save(model.state_dict(), weights)


def test_true_boxes_and_a_detectors_on_four_photographs(tmp_path: Path) -> None:
    root = tmp_path / "coco"
    (root / "images").mkdir(parents=True)
    for picture in SAMPLE.glob("*.jpg"):
        shutil.copy(picture, root / "images")
    for file in FILES:
        shutil.copy(SAMPLE / file, root)
    truth = json.loads((SAMPLE / FILES[0]).read_text())
    without = {key: truth[key] for key in ("info", "images", "categories")}
    (root / "info.json").write_text(json.dumps(without))
    file = tmp_path / "sample.yaml"
    file.write_text(STUDY.format(root=root))
    torch.save({}, root / "by_heart.pth")
    loaded = load(file)
    learn_by_heart(loaded, root / "by_heart.pth")
    assert problems(loaded) == []
    study = sealed(loaded)
    home = Home(tmp_path / "home")
    home.root.mkdir()
    ledger = Ledger.open(f"sqlite:///{home.database}")
    ledger.put_study("sample", study.model_dump(mode="json"), file.read_text())
    options = PoolOptions(poll_s=0.2, lease_s=60.0, projects=False)
    display = LineDisplay(Console(file=io.StringIO(), width=400), study.metric)
    Pool(ledger, home, Goal("sample", study.metric, "more", None), study_steering(), display, options).run(1)
    snapshot = ledger.snapshot("sample")
    ledger.close()
    cells = {cell.id: cell.name for cell in snapshot.cells}
    found = {cells[trial.cell_id]: trial for trial in snapshot.trials}
    assert {trial.outcome for trial in found.values()} == {Outcome.COMPLETED}, [t.message for t in found.values()]
    own, no_flip, detector, other = (
        found[name].final_value or 0.0 for name in ("baseline", "no_flip", "detector", "detector_no_flip")
    )
    assert own > 0.3, "four photographs can be learnt by heart"
    assert 0.1 < detector < own, "a detector's boxes are other boxes"
    assert len({own, no_flip, detector, other}) == 4
    handed_in = json.loads(home.attempts("sample", found["detector"].number)[0].submission.read_text())
    assert {one["image_id"] for one in handed_in} == {image["id"] for image in truth["images"]}
    assert all(len(one["keypoints"]) == 51 and one["score"] >= 0 for one in handed_in)
