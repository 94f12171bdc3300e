"""The evaluation path on photographs of COCO with the boxes of a detector, where that sample is at hand."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.vocabulary import Outcome
from posestudy_runner.context import PoolOptions
from posestudy_runner.display import LineDisplay
from posestudy_runner.pool import Goal, Pool
from posestudy_runner.steering import study_steering
from posestudy_studies.dataset import problems, sealed
from posestudy_studies.file import load

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
  codec: udp
  input_size: [48, 64]
  sigma: 1.5
  epochs: 80
  validate_every: 80
  batch_size: 14
  optimizer: {{type: Adam, lr: 3.0e-3}}
stages:
  - name: learnt_by_heart
    design: variants
    variants:
      detector:
        evaluation.boxes: test_coco_det_AP_H_56.json
        evaluation.submission: true
      detector_no_flip:
        evaluation.boxes: test_coco_det_AP_H_56.json
        evaluation.flip_test: false
"""


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
    loaded = load(file)
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
    own, detector, no_flip = (found[name] for name in ("baseline", "detector", "detector_no_flip"))
    assert own.final_value is not None
    assert detector.final_value is not None
    assert own.final_value > 0.3, "four photographs can be learnt by heart"
    assert 0.1 < detector.final_value < own.final_value, "a detector's boxes are other boxes"
    assert no_flip.final_value != detector.final_value
    assert "evaluated" in detector.provenance
    handed_in = json.loads(home.attempts("sample", detector.number)[0].submission.read_text())
    assert {one["image_id"] for one in handed_in} == {image["id"] for image in truth["images"]}
    assert all(len(one["keypoints"]) == 51 and one["score"] >= 0 for one in handed_in)
