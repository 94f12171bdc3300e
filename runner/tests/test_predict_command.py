"""`posestudy predict` on a trained trial: what is written is what MMPose predicts, and the ledger knows of it."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from handed_study import NAME, TEST_IMAGES, train

from posestudy.commands.app import main
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import SplitUse
from posestudy.vocabulary import Outcome
from posestudy_studies.mmpose_config import config_text
from posestudy_studies.spec import Study, Training

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return train(tmp_path_factory.mktemp("predicted"))


@pytest.fixture
def home(trained: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("POSESTUDY_HOME", str(trained.root))
    return trained


def uses(home: Home) -> tuple[SplitUse, ...]:
    ledger = Ledger.open(f"sqlite:///{home.database}")
    try:
        return ledger.test_uses(NAME)
    finally:
        ledger.close()


def annotations(home: Home, split: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((home.root.parent / "cats" / "annotations" / f"{split}.json").read_text())
    return document


def test_a_submission_was_written_down_when_it_was_made(home: Home) -> None:
    ledger = Ledger.open(f"sqlite:///{home.database}")
    trials = {trial.number: trial for trial in ledger.snapshot(NAME).trials}
    ledger.close()
    assert {trial.outcome for trial in trials.values()} == {Outcome.COMPLETED}
    first = uses(home)[0]
    written = home.attempt(NAME, 1, 1).submission
    assert (first.trial_uid, first.purpose.value, first.images) == (trials[1].uid, "submission", TEST_IMAGES)
    assert first.sha256 == hashlib.sha256(written.read_bytes()).hexdigest()
    assert first.instances == len(annotations(home, "test")["annotations"])


def test_the_test_split_is_predicted_whole_and_that_is_written_down(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, before = tmp_path / "result_keypoints.json", len(uses(home))
    given = annotations(home, "test")
    assert main(["predict", "--split", "test", "--study", NAME, "--trial", "1", "--out", str(out)]) == 0
    rows = json.loads(out.read_bytes())
    assert [row["image_id"] for row in rows] == sorted(one["image_id"] for one in given["annotations"])
    assert all(list(row) == ["category_id", "center", "image_id", "keypoints", "scale", "score"] for row in rows)
    assert all(len(row["keypoints"]) == 51 for row in rows)
    boxes = {(one["image_id"], *one["bbox"]) for one in given["annotations"]}
    for row in rows:
        side = row["scale"][0] * 200 / 1.25
        assert row["scale"][0] == row["scale"][1]
        # The loader cuts boxes at the last pixel.
        near = [b for b in boxes if b[0] == row["image_id"] and abs(max(b[3:]) - side) <= 1.01]
        assert any(abs(b[1] + b[3] / 2 - row["center"][0]) <= 1 for b in near)
    coco = json.loads(home.attempt(NAME, 1, 1).submission.read_bytes())
    pairs = zip(rows, sorted(coco, key=lambda row: row["image_id"]), strict=True)
    assert all(np.allclose(a["keypoints"], b["keypoints"], atol=1e-3) for a, b in pairs)
    (use,) = uses(home)[before:]
    assert (use.purpose.value, use.instances) == ("predict", len(rows))
    assert use.sha256 == hashlib.sha256(out.read_bytes()).hexdigest()
    assert f"{len(rows)} instances in {TEST_IMAGES} images of test, by trial 1" in capsys.readouterr().out


def test_a_test_split_that_was_declared_after_training_is_predicted(home: Home, tmp_path: Path) -> None:
    config, outs = home.attempt(NAME, 1, 1).config, [tmp_path / "before.json", tmp_path / "after.json"]
    text = config.read_text()
    order = json.loads(home.attempt(NAME, 1, 1).order.read_text())
    order["study"]["dataset"]["test"] = None
    order["study"]["evaluation"]["submission"] = order["training"]["evaluation"]["submission"] = False
    study, training = Study.model_validate(order["study"]), Training.model_validate(order["training"])
    try:
        for out in outs:
            assert main(["predict", "--split", "test", "--study", NAME, "--out", str(out)]) == 0
            config.write_text(config_text(study, training, 0))
    finally:
        config.write_text(text)
    before, after = (out.read_bytes() for out in outs)
    assert before == after
    assert len(json.loads(after)) == len(annotations(home, "test")["annotations"])


def test_the_validation_split_gives_what_validation_gave(home: Home, tmp_path: Path) -> None:
    before = uses(home)
    for weights, saved in (("best", "best_predictions"), ("last", "predictions")):
        out = tmp_path / f"{weights}.json"
        options = ["--split", "val", "--form", "coco", "--weights", weights, "--out", str(out)]
        assert main(["predict", "--study", NAME, "--trial", "1", *options]) == 0
        expected = json.loads(getattr(home.attempt(NAME, 1, 1), saved).read_bytes())
        rows = json.loads(out.read_bytes())
        assert [row["bbox"] for row in rows] == [row["bbox"] for row in expected]
        assert np.allclose([r["keypoints"] for r in rows], [r["keypoints"] for r in expected], atol=1e-3)
        assert np.allclose([r["score"] for r in rows], [r["score"] for r in expected], atol=1e-4)
    assert uses(home) == before


def test_an_image_that_is_gone_is_named_and_nothing_is_written(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, out, before = home.root.parent / "cats" / "images" / "test_00002.jpg", tmp_path / "out.json", uses(home)
    aside = image.rename(tmp_path / "aside.jpg")
    try:
        assert main(["predict", "--split", "test", "--study", NAME, "--out", str(out)]) == 2
    finally:
        aside.rename(image)
    assert f"image {image} cannot be read" in capsys.readouterr().err
    assert not out.exists()
    assert uses(home) == before


def test_a_folder_of_images_gives_pictures_and_names_what_is_broken(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, folder, out = home.root.parent / "cats" / "images" / "val_00001.jpg", tmp_path / "mine", tmp_path / "out"
    folder.mkdir()
    shutil.copy(source, folder / "a café.jpg")
    (folder / "broken.png").write_bytes(source.read_bytes()[:200])
    before = uses(home)
    assert main(["predict", str(folder), "--study", NAME, "--trial", "1", "--out", str(out)]) == 1
    assert "broken.png cannot be decoded" in capsys.readouterr().err
    told = json.loads((out / "predictions.json").read_text())
    assert [one["file"] for one in told["images"]] == ["a café.jpg"]
    assert told["unreadable"] == [{"file": "broken.png", "why": "cannot be decoded"}]
    (instance,) = told["images"][0]["instances"]
    assert instance["bbox"] == [0, 0, 64, 64]
    assert len(instance["keypoints"]) == 3 * len(told["keypoints"]) == 51
    assert cv2.imread(str(out / "a café.png")).shape == (64, 64, 3)
    assert uses(home) == before


def test_boxes_say_where_to_look_and_a_plain_config_will_do(home: Home, tmp_path: Path) -> None:
    image, out = home.root.parent / "cats" / "images" / "val_00001.jpg", tmp_path / "out"
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps([{"file_name": image.name, "bbox": [2, 3, 40, 50], "score": 0.5}]))
    paths = home.attempt(NAME, 1, 1)
    source = ["--config", str(paths.config), "--checkpoint", str(paths.best_weights)]
    assert main(["predict", str(image), *source, "--boxes", str(boxes), "--out", str(out)]) == 0
    (first,) = json.loads((out / "predictions.json").read_text())["images"][0]["instances"]
    assert main(["predict", str(image), *source, "--box", "2,3,40,50", "--out", str(out)]) == 0
    (second,) = json.loads((out / "predictions.json").read_text())["images"][0]["instances"]
    assert first["bbox"] == second["bbox"] == [2, 3, 40, 50]
    assert first["keypoints"] == second["keypoints"]
    assert first["score"] == pytest.approx(second["score"] / 2)


def test_swapped_weights_are_not_taken_for_the_best(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, out = home.attempt(NAME, 1, 1).best_weights, tmp_path / "x.json"
    fallback = mine.with_name("best.before.pth")
    kept = {file: file.read_bytes() for file in (mine, fallback) if file.exists()}
    try:
        fallback.unlink(missing_ok=True)
        other = torch.load(mine, weights_only=True)
        other["head.final_layer.bias"] += 1
        torch.save(other, mine)
        assert main(["predict", "--split", "val", "--study", NAME, "--trial", "1", "--out", str(out)]) == 2
    finally:
        for file, data in kept.items():
            file.write_bytes(data)
    assert "trial 1 of 'handed' has no weights in" in capsys.readouterr().err
    assert not out.exists()
