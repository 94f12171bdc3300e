"""What COCO's forms may hold, as strictly as what reads them later: JSON text, ids, pixels, areas, file names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeGuard

from posestudy import given_paths, strangers

FARTHEST_PX = 1e6
"""Coordinates and lengths beyond it are no pixels of any image: 32-bit floats and COCO's sums go wrong far out."""
_LARGEST = 2**63 - 1
_HEAD = 512


class Unusable(Exception):  # noqa: N818 - what is wrong with a file, told by whoever knows its place in the study
    """A file that holds no JSON; `expected` is empty where any JSON would be right."""

    def __init__(self, found: str, expected: str = "", hint: str = "") -> None:
        super().__init__(found)
        self.found, self.expected, self.hint = found, expected, hint


def json_of(path: Path) -> Any:
    """The JSON in the file at `path`, read as MMPose reads it: UTF-8 without a byte order mark.

    Raises:
        Unusable: it cannot be read or is something else; `hint` names what.
    """
    try:
        if given_paths.exists(path) and not given_paths.is_file(path):
            raise Unusable("no regular file")
        raw = path.read_bytes()
    except FileNotFoundError:
        raise Unusable("no such file") from None
    except OSError as error:
        raise Unusable(str(error.strerror or error), "a readable file") from error
    try:
        return json.loads(raw.decode("utf-8"))
    except json.JSONDecodeError as error:
        if raw.startswith(b"\xef\xbb\xbf"):
            raise Unusable("a byte order mark before the JSON", "", "save the file as UTF-8 without one") from error
        raise Unusable(f"no JSON ({error.msg} in line {error.lineno} column {error.colno})", "", _what(raw)) from error
    except UnicodeDecodeError as error:
        found = f"no UTF-8 text (byte 0x{raw[error.start]:02x} at {error.start})"
        raise Unusable(found, "", _what(raw) or "save the file as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise Unusable(f"no JSON ({type(error).__name__})") from error


def _what(raw: bytes) -> str:
    kind = strangers.kind_of(raw[:_HEAD])
    hint = strangers.remedy(kind)
    return f"it is {kind}" + (f": {hint}" if hint else "") if kind and kind != "a text file" else ""


def is_whole(value: Any) -> TypeGuard[int]:
    """Whether `value` is a whole number of at most 64 bits."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST


def is_id(value: Any) -> TypeGuard[int]:
    """Whether `value` may be an id: COCO's evaluation writes -1 where a prediction matches nothing."""
    return is_whole(value) and value >= 0


def is_length(value: Any) -> TypeGuard[int]:
    """Whether `value` may be the width of an image, px."""
    return is_whole(value) and 0 < value <= FARTHEST_PX


def is_number(value: Any) -> TypeGuard[float]:
    """Whether `value` may be a coordinate or a length, px."""
    # Comparing is right for whole numbers of any length, and false for what is not finite.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -FARTHEST_PX <= value <= FARTHEST_PX


def is_area(value: Any) -> TypeGuard[float]:
    """Whether `value` may be the area of an instance, px^2."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= FARTHEST_PX**2


def is_encodable(name: str) -> bool:
    """Whether a file system can hold the name: JSON may hold half a character, or a zero byte."""
    try:
        return "\0" not in name and bool(name.encode())
    except UnicodeEncodeError:
        return False
