"""A study of one tiny trial on drawn cats with a test split, trained for a moment in a home of its own."""

from __future__ import annotations

import io
import json
from pathlib import Path

from rich.console import Console

from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy_runner.context import PoolOptions
from posestudy_runner.display import LineDisplay
from posestudy_runner.pool import Goal, Pool
from posestudy_runner.steering import study_steering
from posestudy_studies.dataset import sealed
from posestudy_studies.drawn_cats import draw
from posestudy_studies.file import load

NAME = "handed"
TEST_IMAGES = 5
YAML = """
study: handed
dataset:
  keypoints: cats
  root: {root}
  train: {{annotations: annotations/train.json, images: images}}
  val: {{annotations: annotations/val.json, images: images}}
  test: {{annotations: annotations/test.json, images: images}}
baseline:
  model: resnet_tiny
  input_size: [64, 64]
  sigma: 1.0
  epochs: 2
  validate_every: 1
  batch_size: 8
  optimizer: {{type: Adam, lr: 5.0e-3}}
stages:
  - name: only
    design: variants
    include_baseline: false
    variants:
      quick: {{batch_size: 4, evaluation.submission: true}}
"""


def draw_cats(root: Path) -> None:
    """Cats whose test split has what test splits have: no labels, placeholders, no key at all, and a crowd."""
    draw(root, train=16, val=4, seed=1, test=TEST_IMAGES, size_px=64)
    file = root / "annotations" / "test.json"
    document = json.loads(file.read_text())
    first, second, third, *_ = document["annotations"]
    del first["keypoints"], first["num_keypoints"]
    second["keypoints"] = []
    third["iscrowd"] = 1
    file.write_text(json.dumps(document))


def train(folder: Path) -> Home:
    """The home with the trial done; the data lie in `folder / "cats"`."""
    draw_cats(folder / "cats")
    file = folder / "handed.yaml"
    file.write_text(YAML.format(root=folder / "cats"))
    study = sealed(load(file))
    home = Home(folder / "home")
    home.root.mkdir(exist_ok=True)
    ledger = Ledger.open(f"sqlite:///{home.database}")
    try:
        ledger.put_study(NAME, study.model_dump(mode="json"), file.read_text())
        display = LineDisplay(Console(file=io.StringIO(), width=400), study.metric)
        options = PoolOptions(poll_s=0.2, projects=False)
        Pool(ledger, home, Goal(NAME, study.metric, "more", None), study_steering(), display, options).run(1)
    finally:
        ledger.close()
    return home
