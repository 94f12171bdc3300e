"""Keypoint layouts are consistent in themselves, and a layout file's mistakes have a line."""

import pytest

from posestudy.errors import InputError, NotFoundError
from posestudy_studies.layouts import layout, names


@pytest.mark.parametrize("name", names())
def test_built_in_layouts_are_consistent(name):
    made = layout(name)
    info = made.metainfo["keypoint_info"]
    assert len(made.keypoint_names) == len(made.sigmas) == len(made.metainfo["joint_weights"]) == len(info)
    by_name = {k["name"]: k for k in info.values()}
    assert all(not k["swap"] or by_name[k["swap"]]["swap"] == k["name"] for k in info.values())
    for left, right in made.flip_pairs:
        assert made.sigmas[left] == made.sigmas[right]
        assert info[left]["color"] != info[right]["color"]


def test_counts_and_pairs():
    assert [len(layout(n).keypoint_names) for n in ("cats", "lspet", "coco")] == [17, 14, 17]
    assert layout("lspet").flip_pairs == ((0, 5), (1, 4), (2, 3), (6, 11), (7, 10), (8, 9))
    assert layout("cats").keypoint_names[layout("cats").skeleton[-1][1]] == "R_B_Paw"


def test_unknown_layout_names_the_nearest():
    with pytest.raises(NotFoundError, match="did you mean 'cats'"):
        layout("cat")


GOOD = """\
dataset_name: sticks
keypoint_info:
  0: {name: left, id: 0, swap: right}
  1: {name: right, id: 1, swap: left}
  2: {name: top, id: 2}
skeleton_info:
  0: {link: [left, top], id: 0}
sigmas: [0.1, 0.1, 0.05]
"""


def test_a_layout_file(tmp_path):
    path = tmp_path / "sticks.yaml"
    path.write_text(GOOD)
    made = layout(str(path))
    assert (made.name, made.flip_pairs, made.skeleton) == ("sticks", ((0, 1),), ((0, 2),))
    assert made.metainfo["joint_weights"] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            ("swap: right", "swap: rigth"),
            ":3:32: keypoint_info.0.swap: found 'rigth', expected a keypoint's name (did you mean",
        ),
        (("[left, top]", "[left, tip]"), ":7:20: skeleton_info.0.link.1: found 'tip'"),
        ((", 0.05]", "]"), ":8:9: sigmas: found 2 numbers, expected 3, one a keypoint"),
        ((", id: 2", ", id: 3"), "found the ids [0, 1, 3], expected each id from 0 to 2 once"),
        (("swap: left", "swap: top"), "found 'top', expected a keypoint whose swap is 'right'"),
        (("0.05", "-1.0"), "sigmas.2: found -1.0, expected a number above 0"),
        (("dataset_name", "name"), "found unknown key 'name'"),
    ],
)
def test_mistakes_in_a_layout_file(tmp_path, change, expected):
    path = tmp_path / "sticks.yaml"
    path.write_text(GOOD.replace(*change, 1))
    with pytest.raises(InputError) as caught:
        layout(str(path))
    assert any(expected in str(problem) for problem in caught.value.problems), str(caught.value)


def test_a_missing_layout_file(tmp_path):
    with pytest.raises(InputError, match="no such file, expected a YAML file with a keypoint layout"):
        layout(str(tmp_path / "none.yaml"))


def test_a_file_without_a_layout_is_told_as_a_layout_and_where_one_is_shown(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("dataset_name: sticks\nkeypoints: [a, b]\nsigmas: [0.1, 0.1]\n")
    with pytest.raises(InputError) as refused:
        layout(str(path))
    (unknown,) = str(refused.value).splitlines()
    assert unknown.startswith(f"{path}:2:1: keypoints: found unknown key 'keypoints'")
    assert unknown.endswith("(did you mean 'keypoint_info'?)")
    path.write_text("dataset_name: sticks\nsigmas: [0.1, 0.1]\n")
    with pytest.raises(InputError) as refused:
        layout(str(path))
    assert "study" not in str(refused.value).replace(str(tmp_path), "")
    assert "keypoint_info: found nothing, expected this key" in str(refused.value)
    assert "(docs/your_data.md shows a whole file)" in str(refused.value)
