"""What `posestudy predict` refuses before it loads anything, whose trial is the best, and the forms of its results."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from posestudy.commands.app import main
from posestudy.errors import InputError
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import KnownResult, OpenStage, TrialRecord
from posestudy.testing import new_cell, put_small_study
from posestudy.vocabulary import Direction, Outcome, TrialState
from posestudy_runner.detections import Detections
from posestudy_runner.result_forms import Crop, Row, document, encoded
from posestudy_runner.trained import best_of

ROW = Row(7, 70, 1, (1.5, 2.5, 0.25), (10.0, 20.0, 60.0, 90.0), 0.5)


def trial(number: int, final: float | None, outcome: Outcome = Outcome.COMPLETED) -> TrialRecord:
    blank: dict[str, Any] = dict.fromkeys(TrialRecord.__dataclass_fields__)
    blank |= {"number": number, "final_value": final, "best_value": 1.0, "outcome": outcome, "state": TrialState.DONE}
    return TrialRecord(**blank)


def test_the_best_trial_is_the_completed_one_with_the_best_final_value() -> None:
    trials = [trial(3, 0.5), trial(2, 0.5), trial(1, 0.4), trial(4, 0.9, Outcome.PRUNED), trial(5, None)]
    more, less = (best_of(trials, direction) for direction in Direction)
    assert more is not None
    assert more.number == 2
    assert less is not None
    assert less.number == 1
    assert best_of([trial(1, 0.9, Outcome.DIVERGED)], Direction.MORE) is None


def test_scale_is_in_units_of_200_px_of_the_padded_square() -> None:
    (entry,) = document([ROW], "cats", Crop((128, 128)))
    assert entry == {
        "category_id": 1, "center": [40.0, 65.0], "image_id": 7, "keypoints": [1.5, 2.5, 0.25],
        "scale": [1.25 * 90 / 200] * 2, "score": 0.5,
    }  # fmt: skip


def test_scale_takes_the_proportions_of_an_upright_input() -> None:
    (entry,) = document([replace(ROW, box=(0.0, 0.0, 60.0, 60.0))], "cats", Crop((192, 256)))
    assert entry["scale"] == pytest.approx([1.25 * 60 / 200, 1.25 * 80 / 200])


def test_rows_ascend_by_image_and_keep_their_order_within_one() -> None:
    rows = [ROW, replace(ROW, image=3, instance=2), replace(ROW, image=3, instance=1, score=0.9)]
    entries = document(rows, "coco", Crop((64, 64)))
    assert [(e["image_id"], e["score"]) for e in entries] == [(3, 0.5), (3, 0.9), (7, 0.5)]
    assert entries[0]["bbox"] == [10.0, 20.0, 60.0, 90.0]
    assert encoded(entries).startswith(b'[\n    {\n        "bbox": [')


def test_numbers_that_are_not_finite_are_not_written() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encoded(document([replace(ROW, score=float("nan"))], "cats", Crop((64, 64))))


@pytest.mark.parametrize(
    ("given", "image", "count"),
    [
        ([{"image_id": 139, "bbox": [1, 2, 3, 4], "score": 0.7}], "000000000139.jpg", 1),
        ([{"image_id": 139, "bbox": [1, 2, 3, 4]}], "cat.jpg", 0),
        ([{"file_name": "sub/cat.jpg", "bbox": [1, 2, 3, 4]}] * 2, "cat.jpg", 2),
        ({"images": [{"id": 5, "file_name": "cat.jpg"}], "annotations": [{"image_id": 5, "bbox": [0, 0, 1, 1]}]},
         "cat.jpg", 1),
    ],
)  # fmt: skip
def test_boxes_are_found_by_name_or_number(tmp_path: Path, given: Any, image: str, count: int) -> None:
    (tmp_path / "boxes.json").write_text(json.dumps(given))
    assert len(Detections(tmp_path / "boxes.json").of(Path("anywhere") / image)) == count


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nothing", "no JSON"),
        ('{"annotations": 3}', "found dict"),
        ('[{"image_id": 1, "bbox": [1, 2, 3]}]', r"\[0\].bbox"),
        ('[{"image_id": 1, "bbox": [1, 2, 3, 0]}]', "above 0"),
        ('[{"image_id": 1, "bbox": [1, 2, NaN, 3]}]', "width, height"),
        ('[{"image_id": 1, "bbox": [1, 2, 3, 4], "score": 7}]', "from 0 to 1"),
        ('[{"bbox": [1, 2, 3, 4]}]', "no image"),
        ("[3]", r"\[0\].bbox"),
    ],
)
def test_a_damaged_file_of_boxes_is_told_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "boxes.json").write_text(text)
    with pytest.raises(InputError, match=words):
        Detections(tmp_path / "boxes.json")


def put_imported(ledger: Ledger) -> None:
    record = ledger.put_study("table", {"study": "table", "metric": "coco/AP"}, "")
    known = KnownResult(Outcome.COMPLETED, {"kind": "imported", "file": "cat.csv"}, final_value=0.5, final_epoch=2)
    ledger.apply(record.id, [OpenStage(0, "a", "variants", "x", {}, (replace(new_cell("x"), known={0: known}),))])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "neither of IMAGE_OR_FOLDER and --split"),
        (["--split", "tset", "--study", "small"], "'tset', expected test or val did you mean 'test'?"),
        (["--split", "test", "--study", "small", "--form", "csv"], "--form: found 'csv', expected cats or coco"),
        (["--split", "test", "--study", "small", "--weights", "all"], "--weights: found 'all', expected best or last"),
        (["--split", "test", "--study", "small", "--box", "1,1,2,2"], "a split has boxes"),
        (["--split", "test"], "found no network; expected --study STUDY"),
        (["--split", "test", "--study", "small"], "no trial of 'small' is completed"),
        (["--split", "test", "--study", "small", "--trial", "9"], "no trial 9 in the study 'small'"),
        (["--split", "val", "--study", "small", "--trial", "1"], "has no config.py in"),
        (["--split", "test", "--study", "small", "--trial", "1"], "images}`; then launch again, which trains"),
        (["--split", "val", "--study", "table"], "trial 1 of 'table' was imported (cat.csv), so it has no weights"),
        (["nowhere.jpg", "--study", "table"], "was imported"),
        (["--split", "test", "--config", "a.py", "--checkpoint", "b.pth"], "a.py: found no such file"),
    ],
)
def test_mistakes_are_told_at_once(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    monkeypatch.setenv("POSESTUDY_HOME", str(home.root))
    ledger = Ledger.open(f"sqlite:///{home.database}")
    put_small_study(ledger)
    put_imported(ledger)
    ledger.close()
    assert main(["predict", *arguments]) == 2
    assert words in capsys.readouterr().err
