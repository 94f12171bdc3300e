"""What every model of the study file is made of: strict fields, safe names, errors in a user's words."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, Strict
from pydantic_core import PydanticCustomError


class Model(BaseModel):
    """Base of everything in a study file: no unknown keys, no silent conversions, finite numbers."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, validate_default=False)


def refuse(found: str, expected: str, hint: str = "") -> PydanticCustomError:
    """An error that `posestudy_studies.check` turns into a Problem with exactly these words."""
    return PydanticCustomError("posestudy", "{expected}", {"found": found, "expected": expected, "hint": hint})


Pixels = Annotated[int, Strict(), Field(gt=0, le=8192)]
Count = Annotated[int, Strict(), Field(gt=0, le=1_000_000)]
Epochs = Annotated[int, Strict(), Field(ge=0, le=1_000_000)]
Probability = Annotated[float, Strict(), Field(ge=0, le=1)]
Size = Annotated[tuple[Pixels, Pixels], Strict(False)]
"""[width, height] in pixels."""
NAME_RULE = "a name of at most 80 letters, digits, '.', '_' and '-', starting with a letter or digit"


def is_name(value: str) -> bool:
    """Whether `value` is safe as a folder and as a table row."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", value) is not None


def check_name(value: str) -> str:
    """`value` where it is a safe name; raises a pydantic error else."""
    if not is_name(value):
        raise refuse(repr(value), NAME_RULE)
    return value


def is_number(value: object) -> bool:
    """Whether `value` is an int or a float; booleans are neither."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_REGISTERED = re.compile(r"(?:(?:mmpose|mmdet|mmpretrain|mmcls)\.)?[A-Z]\w*", re.ASCII)
_MODULE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)
_MOST_LEVELS = 20


def check_arguments(value: object, where: str, depth: int = 0) -> None:
    """Refuse what would make arguments of a class more than data, wherever it stands in `value`.

    MMEngine imports a `type` that it does not know, as `os.system` or `mmengine.load`, and calls it with the other
    keys; a text with a slash would name a file or an address that no root and no `init` declares.

    Raises:
        PydanticCustomError: what was found, with the dotted path to it, which begins with `where`.
    """
    if depth > _MOST_LEVELS:
        raise refuse(f"{where}: nesting deeper than {_MOST_LEVELS} levels", "plain arguments")
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "type" and not (isinstance(item, str) and _REGISTERED.fullmatch(item)):
                raise refuse(
                    f"{where}.type: {item!r}",
                    "the name of a registered class, as SCNet or mmpretrain.ConvNeXt",
                    "`imports` names the module that registers it",
                )
            check_arguments(item, f"{where}.{key}", depth + 1)
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            check_arguments(item, f"{where}.{place}", depth + 1)
    elif isinstance(value, str) and ("/" in value or "\\" in value or value.startswith("~")):
        raise refuse(f"{where}: {value!r}", "an argument that is no path and no address", "`init` names weights")


def check_module(value: str) -> str:
    """`value` where it is the dotted name of a Python module; raises a pydantic error else."""
    if not _MODULE.fullmatch(value):
        raise refuse(repr(value), "the name of a Python module, as my_package.backbones")
    return value


def inside_root(value: str) -> str:
    """`value` where it is a path inside dataset.root; raises a pydantic error else."""
    parts = value.replace("\\", "/").split("/")
    leaves = value.startswith(("/", "\\", "~")) or ".." in parts or parts[0].endswith(":")
    if leaves or not value.strip() or "\0" in value:
        raise refuse(repr(value), "a path inside dataset.root", "write it relative to dataset.root, without '..'")
    return value
