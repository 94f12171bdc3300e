"""`plan` with its price: measured on this machine, remembered, and held against what a launch took."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from posestudy.commands.app import main
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy_runner import measurements
from posestudy_runner.plan_command import price
from posestudy_studies.costs import Rate
from posestudy_studies.drawn_cats import draw

YAML = """
study: priced
dataset:
  keypoints: cats
  root: {root}
  train: {{annotations: annotations/train.json, images: images}}
  val: {{annotations: annotations/val.json, images: images}}
baseline:
  model: resnet_tiny
  input_size: [64, 64]
  epochs: 2
  batch_size: 4
  optimizer: {{type: Adam, lr: 1.0e-4}}
budget: {{memory_mb: 1000}}
stages:
  - name: sizes
    design: variants
    variants:
      rate: {{optimizer.lr: 1.0e-3}}
      large: {{model: resnet18_thin, input_size: [512, 512], batch_size: 16}}
"""


def planned(file: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, object]:
    assert main(["plan", str(file), "--json", *options]) == 0
    estimate: dict[str, object] = json.loads(capsys.readouterr().out)["estimate"]
    return estimate


@pytest.mark.slow
def test_measured_remembered_and_held_against_the_launch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path / "cats", train=64, val=8, seed=1, size_px=64)
    file = tmp_path / "priced.yaml"
    file.write_text(YAML.format(root=tmp_path / "cats"))
    monkeypatch.setenv("POSESTUDY_HOME", str(tmp_path / "home"))
    assert planned(file, capsys)["gpu_hours"] is None

    measured = planned(file, capsys, "--measure")
    assert measured["basis"] == "measured"
    assert measured["out_of_memory"] == ["sizes/large"]
    assert 0 < float(str(measured["gpu_hours"])) < 1
    assert planned(file, capsys)["gpu_hours"] == measured["gpu_hours"]
    home = Home.resolve(tmp_path / "home")
    kinds = {rate.out_of_memory for rate in measurements.saved(home)}
    assert kinds == {True, False}
    assert not list(home.root.glob("measure-*"))

    assert main(["launch", str(file), "--workers", "2"]) == 0
    capsys.readouterr()
    ledger = Ledger.open(f"sqlite:///{home.database}")
    record, trials = ledger.study("priced"), ledger.snapshot("priced").trials
    ledger.close()
    assert record.estimate is not None
    assert record.estimate["gpu_hours"] == measured["gpu_hours"]
    assert [str(t.outcome) for t in trials] == ["completed", "completed", "out_of_memory"]
    assert planned(file, capsys)["to_train"] == 0

    assert main(["report", "priced", "--out", str(tmp_path / "out"), "--format", "markdown"]) == 0
    assert "The plan expected from measured iterations 3 trials" in (tmp_path / "out" / "report.md").read_text()


def test_rates_are_kept_by_class_and_device_and_a_damaged_file_holds_none(home: Home) -> None:
    assert measurements.saved(home) == []
    first = Rate("a", "cpu", 0.1, 0.01, 2.0, 8.0, 500.0, "measured")
    other = Rate("a", "GPU", 0.01, 0.001, 2.0, 8.0, 900.0, "measured")
    measurements.save(home, [first, other])
    newer = Rate("a", "cpu", 0.2, 0.01, 2.0, 8.0, 500.0, "measured")
    measurements.save(home, [newer])
    assert measurements.saved(home) == [newer, other]
    home.measurements.write_text("[{")
    assert measurements.saved(home) == []


def test_a_price_in_words() -> None:
    estimate = {
        "trials": 12, "to_train": 10, "gpu_hours": 2.0, "wall_hours": 0.5, "disk_gb": 1.25, "basis": "history",
        "peak_memory_mb": 700.0, "scaled": ["a/b"], "unknown": [], "out_of_memory": ["a/c"],
    }  # fmt: skip
    assert price(estimate) == [
        "12 trials, 10 of them still to train: 2.0 h of device time, 30 min from start to end, by earlier trials.",
        "disk: 1.2 GB.",
        "peak memory of a trial: 700 MiB.",
        "scaled from other sizes: a/b.",
        "measured to run out of memory: a/c.",
    ]
