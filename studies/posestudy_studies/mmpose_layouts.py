"""The keypoint layouts of the data sets MMPose knows, read from its own files; nothing in them is executed."""

from __future__ import annotations

import ast
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from posestudy.errors import PoseStudyError

Json = dict[str, Any]

_PARTS = ("dataset_name", "keypoint_info", "skeleton_info", "joint_weights", "sigmas")
_COLOR = [255, 128, 0]
"""Of keypoints and limbs without one."""
_MOST = 10_000
"""Entries of a list that is written as a product."""


def installed() -> bool:
    """Whether MMPose, and with it its layouts, is here."""
    return _folder() is not None


def names() -> tuple[str, ...]:
    """The layouts there are, in alphabetical order: the names of MMPose's files; none without MMPose."""
    folder = _folder()
    return tuple(sorted(path.stem for path in folder.glob("*.py"))) if folder is not None else ()


def metainfo(name: str) -> Json:
    """MMPose's dataset_info of the data set `name`, one of `names()`, without what it says of its paper.

    Raises:
        PoseStudyError: the file holds more than literals, which only an unknown version of MMPose does.
    """
    folder = _folder()
    if folder is None:
        raise PoseStudyError(f"the keypoint layout {name!r} is MMPose's, which is not installed; run `make runtime`")
    return _tidied(_read(folder / f"{name}.py"))


@cache
def _read(path: Path) -> Json:
    try:
        values: Json = {}
        for statement in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                values[statement.targets[0].id] = _value(statement.value, values)
        return {part: values["dataset_info"][part] for part in _PARTS}
    except (OSError, SyntaxError, KeyError, TypeError, ValueError) as error:
        raise PoseStudyError(
            f"{path} is no keypoint layout ({error}); expected dataset_info = dict(...) of literals"
        ) from error


def _folder() -> Path | None:
    # Found, not imported: MMPose imports torch.
    spec = find_spec("mmpose")
    for package in spec.submodule_search_locations or () if spec else ():
        for configs in (Path(package) / ".mim" / "configs", Path(package).parent / "configs"):
            if (configs / "_base_" / "datasets").is_dir():
                return configs / "_base_" / "datasets"
    return None


def _value(node: ast.expr, known: Json) -> Any:
    """The value of an expression of literals, `dict(...)`, names assigned before and products with a list.

    Raises:
        ValueError: it holds anything else.
        KeyError, TypeError: a name or an entry is not there.
    """
    match node:
        case ast.Constant(value=value):
            return value
        case ast.List(elts=entries):
            return [_value(entry, known) for entry in entries]
        case ast.Tuple(elts=entries):
            return tuple(_value(entry, known) for entry in entries)
        case ast.Dict(keys=keys, values=entries):
            pairs = [(key, entry) for key, entry in zip(keys, entries, strict=True) if key is not None]
            return {_value(key, known): _value(entry, known) for key, entry in pairs}
        case ast.Call(func=ast.Name(id="dict"), args=[], keywords=entries):
            return {str(entry.arg): _value(entry.value, known) for entry in entries}
        case ast.Name(id=name):
            return known[name]
        case ast.Subscript(value=holder, slice=key):
            return _value(holder, known)[_value(key, known)]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, known)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _value(left, known) + _value(right, known)
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return _value(left, known) / _value(right, known)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _product(_value(left, known), _value(right, known))
    raise ValueError(f"line {node.lineno} holds {type(node).__name__}")


def _product(left: Any, right: Any) -> Any:
    for entries, times in ((left, right), (right, left)):
        if isinstance(entries, (list, tuple, str)) and (not isinstance(times, int) or len(entries) * times > _MOST):
            raise ValueError(f"a product of {times!r}")
    return left * right


def _tidied(info: Json) -> Json:
    """What the files leave out or count differently: ids are the keys, and mirror images are of each other."""
    rows = dict(sorted(info["keypoint_info"].items()))
    swaps = {row["name"]: row.get("swap", "") for row in rows.values()}
    for name, swap in list(swaps.items()):
        if swap == name:
            swaps[name] = ""
        elif swap and not swaps[swap]:
            swaps[swap] = name
    keypoints = {
        number: {
            "name": row["name"],
            "id": number,
            "color": row.get("color", _COLOR),
            "type": row.get("type", ""),
            "swap": swaps[row["name"]],
        }
        for number, row in rows.items()
    }
    skeleton = {
        number: {"link": row["link"], "id": number, "color": row.get("color", _COLOR)}
        for number, row in sorted(info["skeleton_info"].items())
    }
    return {**info, "keypoint_info": keypoints, "skeleton_info": skeleton}
