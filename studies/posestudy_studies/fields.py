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


def inside_root(value: str) -> str:
    """`value` where it is a path inside dataset.root; raises a pydantic error else."""
    parts = value.replace("\\", "/").split("/")
    leaves = value.startswith(("/", "\\", "~")) or ".." in parts or parts[0].endswith(":")
    if leaves or not value.strip() or "\0" in value:
        raise refuse(repr(value), "a path inside dataset.root", "write it relative to dataset.root, without '..'")
    return value
