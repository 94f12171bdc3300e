"""The demonstration's data and study file; the whole of it is run by `make demo`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from posestudy.commands.app import main
from posestudy_reports import demo


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(demo, "TRAIN", 3)
    monkeypatch.setattr(demo, "VAL", 2)


def test_it_draws_once(small, tmp_path):
    root = tmp_path / "demo-data"
    assert demo.prepare(root)
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    assert not demo.prepare(root)
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*")} == before
    assert len(json.loads((root / "annotations" / "train.json").read_text())["images"]) == 3


def test_it_draws_again_what_is_not_whole(small, tmp_path):
    root = tmp_path / "demo-data"
    demo.prepare(root)
    (root / "images" / "val_00001.jpg").unlink()
    assert demo.prepare(root)
    assert (root / "images" / "val_00001.jpg").is_file()


def test_it_draws_again_when_other_pictures_are_wanted(small, tmp_path, monkeypatch):
    root = tmp_path / "demo-data"
    demo.prepare(root)
    before = (root / "images" / "train_00001.jpg").read_bytes()
    monkeypatch.setattr(demo, "SEED", demo.SEED + 1)
    assert demo.prepare(root)
    assert (root / "images" / "train_00001.jpg").read_bytes() != before
    assert not (tmp_path / "demo-data.new").exists()


def test_its_study_is_valid_and_has_two_stages(tmp_path):
    from importlib.resources import as_file, files

    from posestudy_studies.file import load

    with as_file(files("posestudy_reports").joinpath("demo.yaml")) as path:
        study = load(path, [f"dataset.root={tmp_path}"])
    assert study.study == "drawn_cats"
    assert [len(study.seeds(stage)) for stage in study.stages] == [3, 1]


def test_the_photographs_study_is_valid(tmp_path):
    from posestudy_studies.file import load

    study = load(Path(__file__).parents[2] / "studies" / "lspet.yaml", [f"dataset.root={tmp_path}"])
    assert study.dataset.keypoints == "lspet"
    assert study.baseline.input_size == (64, 64)


def test_a_demo_that_ends_with_open_cells_says_so_by_its_exit_code(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "run_demo", lambda out, workers: 1)
    assert main(["demo", "--out", str(tmp_path)]) == 1
