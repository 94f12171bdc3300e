"""MMPose's own layouts by name, read without running anything of MMPose."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from posestudy.commands.app import main
from posestudy.errors import MissingPieceError, NotFoundError, PoseStudyError
from posestudy_studies import layouts, mmpose_layouts
from posestudy_studies.layouts import layout


def test_there_are_more_than_fifty_and_each_is_consistent() -> None:
    names = mmpose_layouts.names()
    assert len(names) > 50
    for name in names:
        made = layout(name)
        info = made.metainfo["keypoint_info"]
        assert list(info) == [row["id"] for row in info.values()] == list(range(len(made.keypoint_names))), name
        by_name = {row["name"]: row for row in info.values()}
        assert all(not row["swap"] or by_name[row["swap"]]["swap"] == row["name"] for row in info.values()), name
        assert made.sigmas == () or len(made.sigmas) == len(info), name


def test_faces_animals_crowds_and_whole_bodies() -> None:
    counts = {"wflw": 98, "ap10k": 17, "animalpose": 20, "crowdpose": 14, "coco_wholebody": 133, "deepfashion2": 294}
    assert {name: len(layout(name).keypoint_names) for name in counts} == counts
    face = layout("wflw")
    assert (face.name, face.sigmas, face.skeleton) == ("wflw", (), ())
    assert (60, 72) in face.flip_pairs
    assert layout("ap10k").sigmas[0] == 0.025


def test_built_in_layouts_come_first() -> None:
    assert "coco" in mmpose_layouts.names()
    assert layout("coco").metainfo["keypoint_info"][0]["color"] == layouts._COLORS["middle"]


def test_boxes_are_made_as_mmpose_makes_them() -> None:
    squares = [name for name in mmpose_layouts.names() if layout(name).box_from == "center_scale"]
    assert squares == ["300vw", "300w", "aflw", "wflw"]


def test_an_unknown_name_is_told_the_nearest_and_all_there_are() -> None:
    with pytest.raises(NotFoundError, match=r"one of cats, lspet, coco, .*ap10k.*did you mean 'wflw'"):
        layout("wlfw")


def test_torch_and_mmpose_are_not_imported() -> None:
    program = (
        "import sys; from posestudy_studies.layouts import layout; layout('wflw');"
        "assert not {'torch', 'mmpose', 'mmengine'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_without_mmpose_the_command_that_brings_it_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mmpose_layouts, "find_spec", lambda name: None)
    assert layout("cats").name == "cats"
    with pytest.raises(MissingPieceError, match="make runtime"):
        layout("wflw")
    assert main(["check", str(Path(__file__).parents[1] / "wflw_losses.yaml")]) == 2
    said = capsys.readouterr().err
    assert "dataset.keypoints: found 'wflw'" in said
    assert "make runtime" in said


@pytest.mark.parametrize(
    "text",
    [
        "dataset_info = dict(dataset_name=open('/tmp/written', 'w').name)",
        "import os\ndataset_info = dict(dataset_name=os.name)",
        "dataset_info = dict(dataset_name=[1] * 10 ** 9)",
        "dataset_info = dict(dataset_name=[1] * 1000000000)",
        "dataset_info = [name for name in ()]",
        "other = 1",
        "dataset_info = (",
    ],
)
def test_anything_but_literals_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    (tmp_path / "odd.py").write_text(text)
    monkeypatch.setattr(mmpose_layouts, "_folder", lambda: tmp_path)
    with pytest.raises(PoseStudyError, match=r"odd\.py is no keypoint layout"):
        layout("odd")
