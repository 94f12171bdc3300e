"""`posestudy attention` on real files: a config and its weights, trials of a home, and every way to get it wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from attention_study import document, write_config

from posestudy.commands.app import main
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import KnownResult, NewCell, OpenStage
from posestudy.vocabulary import Direction, Outcome
from posestudy_runner import attending
from posestudy_studies.drawn_cats import draw


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn cats whose first validation picture has exactly two instances, and an image of its own beside them."""
    root = tmp_path_factory.mktemp("cats")
    draw(root, train=8, val=3, seed=1)
    file = root / "annotations" / "val.json"
    truth = json.loads(file.read_text())
    first = truth["images"][0]["id"]
    others = [row for row in truth["annotations"] if row["image_id"] != first]
    one = next(row for row in truth["annotations"] if row["image_id"] == first)
    two = {**one, "id": 999_999, "bbox": [one["bbox"][0], one["bbox"][1], one["bbox"][2] / 2, one["bbox"][3]]}
    file.write_text(json.dumps({**truth, "annotations": [*others, one, two]}))
    shutil.copy(root / "images" / "val_00002.jpg", root / "other.jpg")
    return root


@pytest.fixture(scope="module")
def pair(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The options for a config and a checkpoint that go together."""
    folder = tmp_path_factory.mktemp("pair")
    config = write_config(folder / "cfg.py", data)
    model = attending.build(config)
    model.init_weights()
    torch.save({"state_dict": model.state_dict(), "meta": {}}, folder / "out.pth")
    return ["--config", str(config), "--checkpoint", str(folder / "out.pth")]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POSESTUDY_DATABASE_URL", raising=False)
    monkeypatch.setenv("POSESTUDY_HOME", str(tmp_path / "home"))


def test_an_image_of_the_data_gives_both_pictures_of_each_instance(
    data: Path, pair: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["attention", str(data / "images" / "val_00001.jpg"), *pair]) == 0
    said = capsys.readouterr()
    paths = [Path(line) for line in said.out.splitlines()]
    names = [f"val_00001_{number}_{kind}.png" for number in (1, 2) for kind in ("dependency", "affect")]
    assert paths == [Path("out/attention/out") / name for name in names]
    assert said.err == ""
    pictures = [cv2.imread(str(path)) for path in paths]
    # Two layers of 128 x 192 px panels, 20 columns.
    assert all(picture.shape[1] > 20 * 128 and picture.shape[0] > 2 * 192 for picture in pictures)
    assert not np.array_equal(pictures[0], pictures[2]), "the narrower box shows another crop"


def test_another_image_is_taken_whole_and_kind_threshold_box_and_out_are_heeded(
    data: Path, pair: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    image, one = str(data / "other.jpg"), ["--kind", "affect"]
    assert main(["attention", image, *pair, *one, "--out", "whole"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == ["whole/other_affect.png"]
    assert "the whole image" in said.err
    assert main(["attention", image, *pair, *one, "--box", "0,0,96,96", "--out", "boxed"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["attention", image, *pair, *one, "--box", "10,10,40,50", "--out", "part"]) == 0
    assert main(["attention", image, *pair, *one, "--threshold", "0", "--out", "low"]) == 0
    whole, boxed, part, low = (
        cv2.imread(f"{name}/other_affect.png").astype(int) for name in ("whole", "boxed", "part", "low")
    )
    np.testing.assert_array_equal(whole, boxed)
    assert (whole != part).any()
    # Nothing of an untrained network's even attention is above the usual threshold; all of it is above 0.
    assert low.mean() > whole.mean() + 5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.jpg", "--study", "looks"], "there is no image missing.jpg"),
        (["text.jpg", "--study", "looks"], "cannot be decoded"),
        (["cat.jpg"], "found no network; expected --study STUDY --trial N, or --config FILE and --checkpoint FILE"),
        (["cat.jpg", "--config", "cfg.py"], "found --config; expected"),
        (["cat.jpg", "--study", "looks", "--checkpoint", "x.pth"], "found --study and --checkpoint; expected"),
        (["cat.jpg", "--config", "cfg.py", "--checkpoint", "x.pth"], "cfg.py: found no such file"),
        (["cat.jpg", "--study", "looks", "--kind", "afect"], "found 'afect', expected some of dependency, affect"),
        (["cat.jpg", "--study", "looks", "--kind", ""], "found '', expected some of dependency, affect"),
        (["cat.jpg", "--study", "looks", "--box", "1,2,3"], "found '1,2,3', expected X,Y,W,H"),
        (["cat.jpg", "--study", "looks", "--box", "1,2,0,4"], "a width and a height above 0"),
        (["cat.jpg", "--study", "looks", "--box", "1,2,nan,4"], "each a finite number"),
        (["cat.jpg", "--study", "looks", "--box", "60,0,40,20"], "expected a box within its 96 x 96 px"),
        (["cat.jpg", "--study", "looks", "--box", "-5,0,40,20"], "expected a box within its 96 x 96 px"),
        (["cat.jpg", "--study", "looks", "--box", "nan,0,40,20"], "each a finite number"),
        (["cat.jpg", "--study", "lokks"], "no study 'lokks' in this ledger (did you mean 'looks'?)"),
        (["cat.jpg", "--study", "looks"], "no trial of 'looks' is completed"),
        (["cat.jpg", "--study", "looks", "--trial", "9"], "no trial 9 in the study 'looks': its trials are numbered 1"),
        (["cat.jpg", "--study", "looks", "--trial", "bets"], "no trial bets in the study 'looks'"),
        (["cat.jpg", "--study", "looks", "--trial", "1"], "trial 1 of 'looks', a resnet50, has no attention to show"),
        (["cat.jpg", "--study", "looks", "--trial", "2"], "trial 2 of 'looks' has no weights in"),
        (["cat.jpg", "--study", "looks", "--trial", "3"], "trial 3 of 'looks' was imported (old.csv)"),
    ],
)
def test_mistakes_are_told_in_one_sentence(
    data: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    Path("text.jpg").write_text("no image")
    shutil.copy(data / "other.jpg", "cat.jpg")
    put_study(data)
    assert main(["attention", *arguments]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert len(printed.err.strip().splitlines()) == 1
    assert printed.out == ""


def test_a_network_without_attention_names_those_that_have_it(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path / "plain.py", data, "resnet_tiny")
    torch.save(attending.build(config).state_dict(), "plain.pth")
    assert main(["attention", str(data / "other.jpg"), "--config", str(config), "--checkpoint", "plain.pth"]) == 2
    said = capsys.readouterr().err
    assert "plain.pth, a TopdownPoseEstimator on ResNet, has no attention to show" in said
    assert "transpose-r-a3, transpose-r-a4, transpose-h-s" in said


def test_files_that_do_not_go_together_are_told(
    data: Path, pair: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = str(data / "other.jpg")
    config, checkpoint = pair[1], pair[3]
    Path("text.pth").write_text("no weights")
    Path("text.py").write_text("model = 3")
    other = write_config(tmp_path / "other.py", data, "transpose-r-a3")
    for given, said in (
        ([config, "text.pth"], "text.pth is not a file of weights"),
        ([str(other), checkpoint], "do not fit"),
        (["text.py", checkpoint], "text.py makes no MMPose model"),
        ([checkpoint, config], "makes no MMPose model"),
    ):
        assert main(["attention", image, "--config", given[0], "--checkpoint", given[1]]) == 2
        printed = capsys.readouterr().err
        assert said in printed
        assert len(printed.strip().splitlines()) == 1


def put_study(data: Path) -> tuple[Home, Ledger]:
    """Trial 1 a ResNet, 2 a TransPose, both untrained; 3 imported; 4 the result of trial 2 over again."""
    home = Home.resolve()
    ledger = Ledger.open(f"sqlite:///{home.database}")
    record = ledger.put_study("looks", document(data), "study: looks\n")
    imported = KnownResult(Outcome.COMPLETED, {"kind": "imported", "file": "old.csv"})
    reused = KnownResult(Outcome.COMPLETED, {"kind": "reused", "study": "looks", "number": 2})

    def cell(name: str, model: str, known: KnownResult | None = None) -> NewCell:
        config = {"model": model, "epochs": 3}
        return NewCell(name, name, "", name.ljust(64, "0"), {}, config, (0,), known={0: known} if known else {})

    cells = (
        cell("resnet", "resnet50"),
        cell("transpose", "transpose-r-thin"),
        cell("imported", "transpose-r-thin", imported),
        cell("reused", "transpose-r-thin", reused),
    )
    assert ledger.apply(record.id, [OpenStage(0, "only", "variants", "resnet", {}, cells)])
    return home, ledger


def test_a_trial_is_shown_by_the_best_weights_of_its_newest_attempt_that_left_some(
    data: Path, pair: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    home, _ = put_study(data)
    for fence in (1, 2, 3):
        write_config(home.attempt("looks", 2, fence).config, data)
    whole = torch.load(pair[3], weights_only=False)["state_dict"]
    changed = {key: value + 1 if key.endswith("final_layer.bias") else value for key, value in whole.items()}
    home.attempt("looks", 2, 1).best_weights.write_text("older, and never read")
    torch.save(changed, home.attempt("looks", 2, 2).best_weights)
    image = str(data / "images" / "val_00002.jpg")
    assert main(["attention", image, "--study", "looks", "--trial", "2"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [f"out/attention/looks/2/val_00002_{kind}.png" for kind in ("dependency", "affect")]
    assert all(Path(path).is_file() for path in said)
    assert main(["attention", image, "--study", "looks", "--trial", "4", "--kind", "affect"]) == 0
    assert capsys.readouterr().out == "out/attention/looks/4/val_00002_affect.png\n"


def test_best_is_the_trial_with_the_best_value(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, ledger = put_study(data)
    for value in (0.1, 0.3):
        claim = ledger.claim("looks", "worker", 60.0)
        assert claim is not None
        uid, fence = claim.trial.uid, claim.trial.fence
        assert ledger.record_epoch(uid, fence, {1: {"coco/AP": value}}, None, 1.0)
        assert ledger.finish(
            uid, fence, Outcome.COMPLETED, None, metric="coco/AP", direction=Direction.MORE, peak_memory_mb=None
        )
    assert main(["attention", str(data / "other.jpg"), "--study", "looks"]) == 2
    assert "trial 2 of 'looks' has no weights" in capsys.readouterr().err


@pytest.mark.slow
def test_a_trial_of_a_transpose_leaves_attention_pictures_in_its_folder_and_in_mlflow(data: Path) -> None:
    # JSON is YAML.
    Path("looks.yaml").write_text(json.dumps(document(data)))
    environment = {**os.environ, "POSESTUDY_HOME": str(Path("home").resolve())}
    command = [sys.executable, "-c", "from posestudy.commands.app import run; run()"]

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [*command, *arguments], env=environment, capture_output=True, text=True, timeout=500, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("launch", "looks.yaml", "--workers", "1")
    home = Home.resolve("home")
    names = [f"{number:03d}_{kind}.png" for number in (1, 2) for kind in ("affect", "dependency")]
    for number in (1, 2):
        (attempt,) = home.attempts("looks", number)
        assert sorted(path.name for path in attempt.attention.iterdir()) == names
        assert len(list(attempt.drawings.iterdir())) == 3
    assert sorted(path.name for path in home.artifacts.glob("looks/*/artifacts/attention/*.png")) == sorted(names * 2)
    shown = run("attention", str(data / "images" / "val_00002.jpg"), "--study", "looks", "--trial", "best")
    assert [Path(line).name for line in shown.splitlines()] == [
        "val_00002_dependency.png",
        "val_00002_affect.png",
    ]
