"""Keypoint layouts: names, mirror pairs, skeleton, OKS sigmas and weights, in MMPose's own form.

A layout is built in, one of MMPose's data sets, or a YAML file; built-in names come first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from posestudy import given_paths
from posestudy.errors import InputError, MissingPieceError, NotFoundError, Problem, nearest
from posestudy.home import safe_part
from posestudy_studies import mmpose_layouts
from posestudy_studies.mistakes import Mistake, show
from posestudy_studies.training import Model

_COLORS = {"left": [0, 255, 0], "right": [255, 128, 0], "middle": [51, 153, 255]}


BoxFrom = Literal["bbox", "center_scale"]
_CENTRE_AND_SCALE = ("wflw", "300w", "300vw", "aflw")
"""MMPose's data sets of faces whose classes read an annotation's `center` and `scale` and not its `bbox`."""


@dataclass(frozen=True)
class Layout:
    """The keypoints of a data set.

    Attributes:
        metainfo: MMPose's dataset_info (`keypoint_info`, `skeleton_info`, `joint_weights`, `sigmas`).
        keypoint_names, sigmas: in order of index; sigmas are OKS's, as COCO defines them, empty where the data set
            has none and is not evaluated by OKS.
        flip_pairs: index pairs that exchange places in a mirrored image.
        skeleton: index pairs that are drawn as limbs.
        box_from: what of an annotation its box is made of, as MMPose's class for the data set does: `bbox`, or
            `center_scale`, a square of 200 x scale px around the centre.
    """

    name: str
    metainfo: dict[str, Any]
    keypoint_names: tuple[str, ...]
    sigmas: tuple[float, ...]
    flip_pairs: tuple[tuple[int, int], ...]
    skeleton: tuple[tuple[int, int], ...]
    box_from: BoxFrom = "bbox"


_Row = tuple[str, str, float, float]
"""Name, body half (`u` or `l`), OKS sigma, joint weight."""

_CATS: tuple[_Row, ...] = (
    ("L_Eye", "u", 0.025, 1.0), ("R_Eye", "u", 0.025, 1.0), ("Nose", "u", 0.026, 1.0), ("Neck", "u", 0.035, 1.0),
    ("Root of tail", "l", 0.035, 1.0), ("L_Shoulder", "u", 0.079, 1.0), ("L_Elbow", "u", 0.072, 1.0),
    ("L_F_Paw", "u", 0.062, 1.2), ("R_Shoulder", "u", 0.079, 1.2), ("R_Elbow", "u", 0.072, 1.5),
    # The source calls this paw 'lower' and its twin 'upper'; kept, since only half-body augmentation reads it.
    ("R_F_Paw", "l", 0.062, 1.5), ("L_Hip", "l", 0.107, 1.0), ("L_Knee", "l", 0.087, 1.0), ("L_B_Paw", "l", 0.089, 1.2),
    ("R_Hip", "l", 0.107, 1.2), ("R_Knee", "l", 0.087, 1.5), ("R_B_Paw", "l", 0.089, 1.5),
)  # fmt: skip
_CATS_FLIP = ((0, 1), (5, 8), (6, 9), (7, 10), (11, 14), (12, 15), (13, 16))
_CATS_BONES = (
    (0, 1), (0, 2), (1, 2), (2, 3), (3, 4), (3, 5), (5, 6), (6, 7), (3, 8), (8, 9), (9, 10), (4, 11), (11, 12),
    (12, 13), (4, 14), (14, 15), (15, 16),
)  # fmt: skip

_LSPET: tuple[_Row, ...] = (
    ("right_ankle", "l", 0.089, 1.0), ("right_knee", "l", 0.087, 1.0), ("right_hip", "l", 0.107, 1.0),
    ("left_hip", "l", 0.107, 1.0), ("left_knee", "l", 0.087, 1.0), ("left_ankle", "l", 0.089, 1.0),
    ("right_wrist", "u", 0.062, 1.0), ("right_elbow", "u", 0.072, 1.0), ("right_shoulder", "u", 0.079, 1.0),
    ("left_shoulder", "u", 0.079, 1.0), ("left_elbow", "u", 0.072, 1.0), ("left_wrist", "u", 0.062, 1.0),
    ("neck", "u", 0.079, 1.0), ("head_top", "u", 0.079, 1.0),
)  # fmt: skip
_LSPET_FLIP = ((0, 5), (1, 4), (2, 3), (6, 11), (7, 10), (8, 9))
_LSPET_BONES = (
    (0, 1), (1, 2), (3, 4), (4, 5), (2, 3), (6, 7), (7, 8), (9, 10), (10, 11), (8, 9), (8, 12), (9, 12), (12, 13),
    (2, 8), (3, 9),
)  # fmt: skip

_COCO: tuple[_Row, ...] = (
    ("nose", "u", 0.026, 1.0), ("left_eye", "u", 0.025, 1.0), ("right_eye", "u", 0.025, 1.0),
    ("left_ear", "u", 0.035, 1.0),
    ("right_ear", "u", 0.035, 1.0), ("left_shoulder", "u", 0.079, 1.0), ("right_shoulder", "u", 0.079, 1.0),
    ("left_elbow", "u", 0.072, 1.2), ("right_elbow", "u", 0.072, 1.2), ("left_wrist", "u", 0.062, 1.5),
    ("right_wrist", "u", 0.062, 1.5), ("left_hip", "l", 0.107, 1.0), ("right_hip", "l", 0.107, 1.0),
    ("left_knee", "l", 0.087, 1.2), ("right_knee", "l", 0.087, 1.2), ("left_ankle", "l", 0.089, 1.5),
    ("right_ankle", "l", 0.089, 1.5),
)  # fmt: skip
_COCO_FLIP = ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16))
_COCO_BONES = (
    (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10), (1, 2),
    (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
)  # fmt: skip

_BUILT_IN = {
    "cats": (_CATS, _CATS_FLIP, _CATS_BONES),
    "lspet": (_LSPET, _LSPET_FLIP, _LSPET_BONES),
    "coco": (_COCO, _COCO_FLIP, _COCO_BONES),
}


def names() -> tuple[str, ...]:
    """The built-in layouts, whose names come before MMPose's."""
    return tuple(_BUILT_IN)


def is_file(name: str) -> bool:
    """Whether `name` means a YAML file rather than a built-in layout."""
    return name.endswith((".yaml", ".yml"))


def mistake(name: str) -> tuple[str, str] | None:
    """What was expected instead of `name` and the nearest right spelling; None where it names a layout or a file."""
    if is_file(name) or name in _BUILT_IN or name in mmpose_layouts.names():
        return None
    of_mmpose = mmpose_layouts.names()
    expected = f"one of {', '.join(names())}, "
    expected += "a data set of MMPose (" + ", ".join(of_mmpose) + ")" if of_mmpose else "a data set of MMPose"
    hint = nearest(name, (*names(), *of_mmpose))
    if not hint and not of_mmpose:
        hint = "MMPose's data sets are known where MMPose is installed: make runtime"
    return f"{expected}, or a YAML file", hint


def layout(name_or_file: str) -> Layout:
    """The layout of that name, or the one in that YAML file.

    Raises:
        NotFoundError: no layout has that name.
        MissingPieceError: it can only be MMPose's, which is not installed.
        InputError: the file is missing or no layout; every mistake with its line and column.
    """
    if is_file(name_or_file):
        return _from_file(Path(name_or_file))
    if name_or_file in _BUILT_IN:
        return _built_in(name_or_file)
    if wrong := mistake(name_or_file):
        message = f"no keypoint layout '{name_or_file}'; expected {wrong[0]} {wrong[1]}".strip()
        raise NotFoundError(message) if mmpose_layouts.installed() else MissingPieceError(message)
    metainfo = mmpose_layouts.metainfo(name_or_file)
    box_from: BoxFrom = "center_scale" if name_or_file in _CENTRE_AND_SCALE else "bbox"
    return replace(_from_metainfo(str(metainfo["dataset_name"]), metainfo), box_from=box_from)


def _side(index: int, pairs: tuple[tuple[int, int], ...], rows: tuple[_Row, ...]) -> str:
    if not any(index in pair for pair in pairs):
        return "middle"
    return "left" if rows[index][0].lower().startswith("l") else "right"


def _built_in(name: str) -> Layout:
    rows, pairs, bones = _BUILT_IN[name]
    swaps = {a: b for pair in pairs for a, b in (pair, pair[::-1])}
    sides = [_side(i, pairs, rows) for i in range(len(rows))]
    keypoints = {
        i: {
            "name": row[0], "id": i, "color": _COLORS[sides[i]], "type": "upper" if row[1] == "u" else "lower",
            "swap": rows[swaps[i]][0] if i in swaps else "",
        }
        for i, row in enumerate(rows)
    }  # fmt: skip
    skeleton = {
        i: {
            "link": (rows[a][0], rows[b][0]), "id": i,
            "color": _COLORS[sides[a] if sides[a] == sides[b] else "middle"],
        }
        for i, (a, b) in enumerate(bones)
    }  # fmt: skip
    metainfo = {
        "dataset_name": name,
        "keypoint_info": keypoints,
        "skeleton_info": skeleton,
        "joint_weights": [row[3] for row in rows],
        "sigmas": [row[2] for row in rows],
    }
    return _from_metainfo(name, metainfo)


def _from_metainfo(name: str, metainfo: dict[str, Any]) -> Layout:
    keypoints = [metainfo["keypoint_info"][i] for i in range(len(metainfo["keypoint_info"]))]
    index = {keypoint["name"]: i for i, keypoint in enumerate(keypoints)}
    pairs = tuple((i, index[k["swap"]]) for i, k in enumerate(keypoints) if k["swap"] and i < index[k["swap"]])
    bones = tuple((index[bone["link"][0]], index[bone["link"][1]]) for bone in metainfo["skeleton_info"].values())
    return Layout(name, metainfo, tuple(index), tuple(metainfo["sigmas"]), pairs, bones)


class _Keypoint(Model):
    name: str = Field(min_length=1)
    id: int = Field(ge=0)
    color: list[int] = Field(default_factory=lambda: list(_COLORS["middle"]), min_length=3, max_length=3)
    type: Literal["upper", "lower", ""] = ""
    swap: str = ""


class _Bone(Model):
    link: list[str] = Field(min_length=2, max_length=2)
    id: int = Field(ge=0)
    color: list[int] = Field(default_factory=lambda: list(_COLORS["middle"]), min_length=3, max_length=3)


class _File(Model):
    dataset_name: str = Field(min_length=1)
    paper_info: dict[str, Any] = Field(default_factory=dict)
    keypoint_info: dict[str, _Keypoint] = Field(min_length=1, max_length=1000)
    skeleton_info: dict[str, _Bone] = Field(default_factory=dict)
    joint_weights: list[float] = Field(default_factory=list)
    sigmas: list[float]


def _from_file(path: Path) -> Layout:
    from posestudy_studies import check, yaml_text

    if not given_paths.exists(path):
        expected, hint = "a YAML file with a keypoint layout", "docs/your_data.md shows one"
        raise InputError([Problem(str(path), 0, 0, "", "no such file", expected, hint)])
    document = yaml_text.read(path)
    try:
        file = _File.model_validate(document.data)
    except ValidationError as error:
        wrong = check.translated(error, _File, document.data)
        raise InputError([document.problem(replace(m, hint=m.hint or _hint(m))) for m in wrong]) from error
    found = _mistakes(file)
    if found:
        raise InputError([document.problem(m) for m in found])
    metainfo = {
        "dataset_name": file.dataset_name,
        "keypoint_info": {k.id: k.model_dump() for k in sorted(file.keypoint_info.values(), key=lambda k: k.id)},
        "skeleton_info": {b.id: b.model_dump() for b in sorted(file.skeleton_info.values(), key=lambda b: b.id)},
        "joint_weights": file.joint_weights or [1.0] * len(file.keypoint_info),
        "sigmas": file.sigmas,
    }
    return _from_metainfo(file.dataset_name, metainfo)


def _hint(mistake: Mistake) -> str:
    return "docs/your_data.md shows a whole file" if mistake.path == ("keypoint_info",) else ""


def _alike(file: _File) -> list[Mistake]:
    """Names that only signs tell apart: the addresses of their numbers would be one."""
    parts: dict[str, str] = {}
    found = []
    for key, keypoint in file.keypoint_info.items():
        other = parts.setdefault(safe_part(keypoint.name), keypoint.name)
        if other != keypoint.name:
            path = ("keypoint_info", key, "name")
            found.append(Mistake(path, repr(keypoint.name), f"a name that differs from {other!r} in letters or digits"))
    return found


def _mistakes(file: _File) -> list[Mistake]:
    found: list[Mistake] = []
    count = len(file.keypoint_info)
    by_name = {k.name: k for k in file.keypoint_info.values()}
    if len(by_name) != count:
        found.append(Mistake(("keypoint_info",), "a name used twice", "a name of its own for every keypoint"))
    found += _alike(file)
    ids = sorted(k.id for k in file.keypoint_info.values())
    if ids != list(range(count)):
        found.append(Mistake(("keypoint_info",), f"the ids {show(ids)}", f"each id from 0 to {count - 1} once"))
    for key, keypoint in file.keypoint_info.items():
        path = ("keypoint_info", key, "swap")
        if keypoint.swap and keypoint.swap not in by_name:
            found.append(Mistake(path, repr(keypoint.swap), "a keypoint's name", nearest(keypoint.swap, by_name)))
        elif keypoint.swap and by_name[keypoint.swap].swap != keypoint.name:
            found.append(Mistake(path, repr(keypoint.swap), f"a keypoint whose swap is {keypoint.name!r}"))
    for key, bone in file.skeleton_info.items():
        for i, end in enumerate(bone.link):
            if end not in by_name:
                hint = nearest(end, by_name)
                found.append(Mistake(("skeleton_info", key, "link", i), repr(end), "a keypoint's name", hint))
    for name, numbers in (("sigmas", file.sigmas), ("joint_weights", file.joint_weights)):
        if (name == "sigmas" or numbers) and len(numbers) != count:
            found.append(Mistake((name,), f"{len(numbers)} numbers", f"{count}, one a keypoint"))
        found += [Mistake((name, i), str(v), "a number above 0") for i, v in enumerate(numbers) if v <= 0]
    return found
