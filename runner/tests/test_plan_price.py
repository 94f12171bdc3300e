"""`plan` with its price: measured on this machine, remembered, and held against what a launch took."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from posestudy.commands.app import main
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.settings import Settings
from posestudy.testing import put_small_study
from posestudy_runner import measurements, pricing
from posestudy_runner.plan_command import price
from posestudy_studies.costs import Disk, Rate, Rates, Work, cost_class, estimate
from posestudy_studies.drawn_cats import draw
from posestudy_studies.training import Training

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
    priced: dict[str, object] = json.loads(capsys.readouterr().out)["estimate"]
    return priced


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


@pytest.mark.parametrize(
    ("retention", "stay", "most"),
    [
        # Weights of 10 MB and a checkpoint of 30 a trial, 5 beside them; four trials, two at a time.
        ("best_and_last", 4 * 45, 4 * 45 + 4 * 10 + 2 * (2 * 30 + 2 * 10)),
        ("best", 4 * 15, 4 * 15 + 4 * 10 + 2 * (3 * 30 + 2 * 10)),
        ("all", 4 * (45 + 2 * 30), 4 * (45 + 2 * 30) + 4 * 10 + 2 * (2 * 10)),
    ],
)
def test_the_disk_a_study_needs_follows_from_what_it_keeps(retention: str, stay: int, most: int) -> None:
    optimizer = {"type": "Adam", "lr": 1e-4}
    given = {"model": "resnet_tiny", "input_size": [64, 64], "epochs": 3, "batch_size": 4, "optimizer": optimizer}
    training = Training.model_validate(given)
    rate = Rate(
        cost_class(training), "cpu", 0.1, 0.01, 2.0, 45.0, 500.0, "measured", weights_mb=10.0, checkpoint_mb=30.0
    )
    work = [Work("one", "a", training, 4)]
    priced = estimate(work, Rates([rate], "cpu"), workers=2, train_instances=8, val_instances=4, retention=retention)
    assert (priced["disk_gb"], priced["disk_peak_gb"]) == (stay / 1000, most / 1000)


def test_trials_that_were_trained_tell_the_size_of_their_files(home: Home, sqlite_ledger: Ledger) -> None:
    put_small_study(sqlite_ledger, cells=("a",))
    folder = home.attempt("small", 1, 1).folder
    folder.mkdir(parents=True)
    for name, size in (
        ("epoch_1.pth", 29),
        ("epoch_2.pth", 30),
        ("best.pth", 10),
        ("training.log", 4),
        ("order.json", 1),
    ):
        (folder / name).touch()
        os.truncate(folder / name, size * 10**6)
    settings = Settings(home, "", "", "")
    (found,) = pricing._disk([sqlite_ledger.snapshot("small")], settings).values()
    # Of several checkpoints one counts: how many stay is for the study to say.
    assert found == Disk(10.0, 30.0, 5.0)


def test_a_launch_warns_where_the_disk_is_smaller_than_the_study(home: Home) -> None:
    assert pricing.short_of_disk({"disk_peak_gb": None}, home) is None
    assert pricing.short_of_disk({"disk_peak_gb": 1e-9}, home) is None
    warning = pricing.short_of_disk({"disk_peak_gb": 1e9}, home)
    assert warning is not None
    assert "need 1000000000 GB" in warning
    assert "\n" not in warning


def test_a_price_in_words() -> None:
    known = {
        "trials": 12, "to_train": 10, "gpu_hours": 2.0, "wall_hours": 0.5, "disk_gb": 1.25, "disk_peak_gb": 3.04,
        "basis": "history", "peak_memory_mb": 700.0, "scaled": ["a/b"], "unknown": [], "out_of_memory": ["a/c"],
    }  # fmt: skip
    assert price(known) == [
        "12 trials, 10 of them still to train: 2.0 h of device time, 30 min from start to end, by earlier trials.",
        "disk: 1.2 GB stay, 3 GB at most while it runs, with MLflow's copies of the best weights.",
        "peak memory of a trial: 700 MiB.",
        "scaled from other sizes: a/b.",
        "measured to run out of memory: a/c.",
    ]
