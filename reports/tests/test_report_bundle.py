"""The parts of an archive, each alone: its zip, its log, what is checked of it, and the code it takes along."""

from __future__ import annotations

import ast
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from posestudy.errors import PoseStudyError
from posestudy.ledger.records import ValueRecord
from posestudy_reports import bundle_archive, bundle_check, bundle_plugin
from posestudy_reports.bundle_archive import unzip, zipped
from posestudy_reports.bundle_check import Asked
from posestudy_reports.bundle_code import PlainConfig
from posestudy_reports.bundle_log import AttemptLog, joined_log, log_lines, validation_batches
from posestudy_reports.bundle_readme import Told, readme
from posestudy_reports.bundle_run import chosen, difference
from posestudy_studies.imports import log_files

ASKED = Asked(frozenset({3, 5}), frozenset({30, 50, 51}), frozenset({1}))
INSTANCES = [30, 50, 51]


def row(image: int, **changed: Any) -> dict[str, Any]:
    entry = {
        "category_id": 1, "center": [40.0, 30.0], "image_id": image, "keypoints": [41.0, 31.0, 0.5, 10.0, 60.0, 0.9],
        "scale": [0.5, 0.5], "score": 0.7,
    }  # fmt: skip
    return {**entry, **changed}


ROWS = [row(3), row(5), row(5)]


def complaints(rows: Any, instances: list[int] = INSTANCES, doubles: tuple[int, ...] = ()) -> str:
    return "\n".join(bundle_check.results(json.dumps(rows).encode(), instances, doubles, ASKED, 2))


def test_right_results_draw_no_complaint() -> None:
    assert complaints(ROWS) == ""
    assert complaints(ROWS[:2], [30, 51], (50,)) == "", "what the evaluation left out as double is not missing"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "holds no list of instances"),
        ({"a": 1}, "holds no list of instances"),
        (ROWS[:2], "2 instances where 3 were predicted"),
        ([row(5), row(3), row(5)], "image ids do not ascend"),
        ([row(3), row(5), row(9)], "1 images are not of the test split: 9"),
        ([row(3), row(3), row(3)], "1 images of the test split are missing: 5"),
        ([{**row(3), "bbox": [1, 2, 3, 4]}, *ROWS[1:]], "entry 0: keys ['bbox', 'category_id'"),
        ([row(3, category_id=2), *ROWS[1:]], "category 2, expected one of [1]"),
        ([row(3, image_id=3.0), *ROWS[1:]], "must be whole numbers"),
        ([row(3, keypoints=[1.0, 2.0, 0.5]), *ROWS[1:]], "keypoints must be 6 finite numbers"),
        ([row(3, keypoints=[1.0, 2.0, 0.5, True, 1.0, 0.5]), *ROWS[1:]], "keypoints must be 6 finite numbers"),
        ([row(3, score=float("nan")), *ROWS[1:]], "NaN is no number"),
        ([row(3, center=[1.0, float("inf")]), *ROWS[1:]], "Infinity is no number"),
        ([row(3, score=4.5), *ROWS[1:]], "score 4.5, expected -0.5 to 4.0"),
        ([row(3, keypoints=[41.0, 31.0, 3.5, 10.0, 60.0, 0.9]), *ROWS[1:]], "keypoint scores 0.9 to 3.5"),
        ([row(3, keypoints=[900.0, 31.0, 0.5, 10.0, 60.0, 0.9]), *ROWS[1:]], "860 px from the middle of its box"),
        ([row(3, scale=[0.5, 0.0]), *ROWS[1:]], "scale [0.5, 0.0], expected above 0"),
    ],
)
def test_every_fault_of_the_results_is_told(rows: Any, words: str) -> None:
    assert words in complaints(rows)


def test_instances_are_held_against_the_annotation_file_one_by_one() -> None:
    assert "1 instances of the test split are missing: 51" in complaints(ROWS, [30, 50, 50])
    assert "1 instances stand twice: 50" in complaints(ROWS, [30, 50, 50])
    assert "1 instances are not of the test split: 99" in complaints(ROWS, [30, 50, 99])


def weights(**tensors: Any) -> bytes:
    import torch

    stream = io.BytesIO()
    torch.save({name: torch.tensor(value) for name, value in tensors.items()}, stream)
    return stream.getvalue()


def whole() -> dict[str, bytes]:
    files = dict.fromkeys(bundle_check.REQUIRED, b"text")
    files["codes/mmpose/configs/a.py"] = b"model = 1"
    return files | {"report.pdf": b"%PDF-1.7 /Type/Pages/Count 4/Kids", "models/model.pth": weights(a=[1.0])}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, ""),
        ({"codes/README.txt": b""}, "codes/README.txt is empty"),
        ({"report.pdf": b"%PDF-1.7 /Type/Pages/Count 5/Kids"}, "report.pdf has 5 pages, expected at most 4"),
        ({"report.pdf": b"hello"}, "no PDF whose pages can be counted"),
        ({"models/training.log": b"in /home/cat/data/x"}, "models/training.log names the folder /home/cat of this"),
        ({"models/training.log": b"in /mnt/home/cat, /home/cats and ./home/cat"}, ""),
        ({"models/model.pth": b"pickle"}, "does not load with weights_only=True"),
        ({"../out.txt": b"x"}, "the archive would hold '../out.txt'"),
        ({"models/big.bin": bytes(1000)}, "MB in all, more than"),
    ],
)
def test_every_fault_of_the_files_is_told(changed: dict[str, bytes], words: str) -> None:
    files = whole() | changed
    limit = sum(map(len, whole().values())) + 100
    found = bundle_check.files(files, ["/home/cat"], 4, limit)
    assert found == [] if not words else any(words in one for one in found)


def test_files_that_are_missing_are_named() -> None:
    found = bundle_check.files({"models/model.pth": weights(a=[float("nan")])}, [], 4)
    assert "report.pdf is missing" in found
    assert "codes/mmpose/configs has no config" in found
    assert "models/model.pth has numbers that are not finite in a" in found


def test_a_zip_depends_on_its_files_alone() -> None:
    files = {"id/b.txt": b"b" * 999, "id/a/c.pth": b"c"}
    data = zipped(files)
    assert data == zipped(dict(reversed(files.items())))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist() == ["id/a/c.pth", "id/b.txt"]
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.testzip() is None


@pytest.mark.parametrize(
    "name", ["/etc/x", "../x", "a/../../x", "a//b", "a\\..\\b", "C:/x", ".hidden", "-rf", "a b", "", "a/"]
)
def test_names_that_lead_out_are_neither_written_nor_taken_apart(tmp_path: Path, name: str) -> None:
    with pytest.raises(PoseStudyError, match="the archive would hold"):
        zipped({name: b"x"})
    if name and not name.endswith("/"):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("fine.txt", b"x")
            archive.writestr(name, b"x")
        with pytest.raises(PoseStudyError, match="the archive would hold"):
            unzip(stream.getvalue(), tmp_path / "in")
        assert list(tmp_path.rglob("*")) == []


def test_links_and_twins_are_not_taken_apart(tmp_path: Path) -> None:
    for names, mode in ((("link",), 0o120777), (("a", "A"), 0o100644)):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            for name in names:
                entry = zipfile.ZipInfo(name)
                entry.external_attr = mode << 16
                archive.writestr(entry, b"/etc/passwd")
        with pytest.raises(PoseStudyError, match="is no file of its own"):
            unzip(stream.getvalue(), tmp_path / "in")
    with pytest.raises(PoseStudyError, match="no whole zip"):
        unzip(zipped({"a": b"x" * 99})[:40], tmp_path / "in")


def test_an_archive_that_would_fill_the_disk_is_not_taken_apart(tmp_path: Path, monkeypatch: Any) -> None:
    data = zipped({"a.txt": b"0" * 600_000, "b.txt": b"0" * 600_000})
    assert len(data) < 10_000
    monkeypatch.setattr(bundle_archive, "MOST_UNPACKED", 1_000_000)
    with pytest.raises(PoseStudyError, match="would unpack to"):
        unzip(data, tmp_path / "in")
    assert list(tmp_path.rglob("*")) == []


def log(*marks: str, first: str = "environment", last: str = "end") -> str:
    return "\n".join([first, *marks, last]) + "\n"


def train(epoch: int, said: str = "") -> str:
    return f"11/21 - mmengine - INFO - Epoch(train)  [{epoch}][14/14]  lr: 5.0e-03 {said}"


def val(epoch: int, said: str = "") -> str:
    return f"11/21 - mmengine - INFO - Epoch(val) [{epoch}][3/3]    coco/AP: 0.1 {said}"


def test_a_log_of_one_attempt_stays_as_it_is() -> None:
    text = log(train(1), val(1), train(2))
    assert joined_log([AttemptLog(1, text)], {1: 1, 2: 1}) == text


def test_epochs_that_were_trained_again_are_taken_from_the_attempt_that_counts() -> None:
    lost = log(train(1), val(1), "evaluating", train(2, "lost"), first="first", last="killed")
    empty = log(first="second, died at once", last="")
    resumed = log(train(2, "again"), "Average Precision", val(2), first="third", last="whole end")
    joined = joined_log([AttemptLog(7, resumed), AttemptLog(4, empty), AttemptLog(1, lost)], {1: 1, 2: 7})
    assert joined.splitlines() == [
        "===== attempt 1 of 3, without epoch 2, trained again by another =====",
        "first", train(1), val(1),
        "===== attempt 3 of 3 =====",
        "third", train(2, "again"), "Average Precision", val(2), "whole end",
    ]  # fmt: skip


def test_an_epoch_that_another_attempt_took_over_is_in_the_log_of_the_one_that_trained_it() -> None:
    """Attempt 1 died with its worker after epoch 2, which came into the ledger with attempt 2."""
    logs = [AttemptLog(1, log(train(1), train(2, "trained"), last="killed")), AttemptLog(2, log(train(3)))]
    joined = joined_log(logs, {1: 1, 2: 2, 3: 2})
    assert [line for line in joined.splitlines() if "Epoch(" in line] == [train(1), train(2, "trained"), train(3)]
    assert "trained again" not in joined


def test_without_the_ledgers_word_the_latest_attempt_counts() -> None:
    joined = joined_log([AttemptLog(1, log(train(1), train(2, "old"))), AttemptLog(2, log(train(2, "new")))], {})
    assert "old" not in joined
    assert joined.count("Epoch(train)") == 2


def test_a_log_that_tells_of_no_epoch_is_kept() -> None:
    assert joined_log([AttemptLog(1, "only evaluated\n")], {5: 1}) == "only evaluated\n"
    assert joined_log([], {}) == ""


def test_the_log_in_the_old_form_is_read_back_as_the_same_values(tmp_path: Path) -> None:
    metrics = {"loss": 0.0123, "lr": 5e-4, "epoch_time_s": 7.0, "iteration_time_s": 0.5, "data_time_s": 1.4,
               "memory_mb": 406.7, "acc_pose": 0.5}  # fmt: skip
    values = [
        ValueRecord("u", 2, {**metrics, "coco/AP": 0.25, "coco/AP_M": 0.5, "validation_time_s": 0.1}, 0.0, 1),
        ValueRecord("u", 1, metrics, 0.0, 1),
    ]
    text = log_lines(values, {"seed": 3, "mmpose_version": "1.3.2"}, validation_batches(log(val(2))))
    lines = [json.loads(line) for line in text.splitlines()]
    assert lines[1] == {
        "mode": "train", "epoch": 1, "iter": 14, "memory": 406, "data_time": 0.1, "acc_pose": 0.5, "loss": 0.0123,
        "time": 0.5, "lr": 5e-4,
    }  # fmt: skip
    assert lines[3] == {"mode": "val", "epoch": 2, "iter": 3, "lr": 5e-4, "AP": 0.25, "AP (M)": 0.5}
    (tmp_path / "training.log.json").write_text(text)
    (source,) = log_files.runs(tmp_path / "training.log.json")
    assert (source.run.values[2]["coco/AP"], source.run.seed) == (0.25, 3)
    assert source.run.values[1]["loss"] == pytest.approx(0.0123)


def test_the_vendored_package_imports_nothing_of_posestudys() -> None:
    files = bundle_plugin.vendored()
    assert {f"pose_plugin/{name}.py" for name in ("__init__", "compat", "dataset", "errors", "seeding")} <= set(files)
    for path, data in files.items():
        for node in ast.walk(ast.parse(data)):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not [name for name in names if name.startswith("posestudy")], path
        assert b"posestudy_runner" not in data, path


def test_every_class_and_every_change_of_the_plugin_is_known() -> None:
    package = ast.parse(bundle_plugin.vendored()["pose_plugin/__init__.py"])
    (public,) = (node.value for node in package.body if isinstance(node, ast.Assign))
    assert {one.name for one in bundle_plugin.registered()} == set(ast.literal_eval(public))
    reasons = {patch.name: patch.reason for patch in bundle_plugin.patches()}
    assert reasons["convert_bfloat16_arrays"].startswith("MMPose turns predictions into numpy arrays")
    assert {"understand_official_checkpoints", "let_a_flow_diverge", "stand_in_for_mmdet"} <= set(reasons)
    assert all(reasons.values())


def told(**changed: Any) -> str:
    values = {"train_dataloader": {"dataset": {"type": "KeypointDataset"}}, "hooks": [{"type": "mmpose.SeedEpochHook"}]}
    plain = PlainConfig(values, {"/data/cats": "data/cats"}, {}, ())
    given: dict[str, Any] = {
        "name": "3035", "trained": "trial 1 of 'x': “a\n<b>”", "result": "", "levels": {"a": {"b": 2.0}, "c": None},
        "start": {"a": {"b": 1.0}, "c": None}, "plain": plain, "config": "x.py",
        "packages": {"torch": "2", "mmpose": None},
        "submission": "work_dirs/x/test.keypoints.json",
    }  # fmt: skip
    return readme(Told(**{**given, **changed}))


def test_the_readme_tells_what_the_configuration_uses_and_changes() -> None:
    text = told()
    used, unused = text.split("This configuration uses:")[1].split("It does not use:")
    assert "- KeypointDataset (pose_plugin.dataset)" in used
    assert "- SeedEpochHook (pose_plugin.seeding)" in used
    assert "HRNetS" in unused
    assert "- a.b: 1 -> 2\n" in text
    assert "trained with torch 2.\n" in text
    assert all(len(line) <= 100 for line in text.splitlines())
    assert "It is the study's baseline." in told(levels={"a": 1}, start={"a": 1})


def test_the_three_images_are_the_first_the_middle_and_the_last() -> None:
    assert chosen([9, 3, 3, 5, 1, 7]) == (1, 5, 9)
    assert chosen([4, 4]) == (4,)
    assert chosen([4, 2]) == (2, 4)


def test_the_largest_difference_of_a_coordinate_counts() -> None:
    one = {"image_id": 1, "keypoints": [1.0, 2.0, 0.5, 3.0, 4.0, 0.5]}
    other = {"image_id": 1, "keypoints": [1.0, 2.5, 0.1, 3.0, 3.9, 0.5]}
    assert difference([one], [other]) == 0.5
    assert difference([one], [{**one, "keypoints": [float("nan"), *one["keypoints"][1:]]}]) == float("inf")
    with pytest.raises(PoseStudyError, match="there are 2 instances"):
        difference([one], [one, one])
