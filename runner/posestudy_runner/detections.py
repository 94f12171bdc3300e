"""Boxes of a user's own images, from a file in one of COCO's forms."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from posestudy.errors import InputError, Problem
from posestudy_runner.result_forms import Box

Scored = tuple[Box, float]
"""A box and its score, 0 to 1."""

_EXPECTED = (
    "COCO detections, a list of {image_id or file_name, bbox: [x, y, w, h], score}, or COCO annotations with images"
)


class Detections:
    """The boxes of a file, looked up by image.

    A detection names its image by `file_name`, by an `image_id` that the file's own `images` explain, or by an
    `image_id` that is the number in the image's name, as in COCO's 000000000139.jpg.

    Raises:
        InputError: the file is not there or holds something else.
    """

    def __init__(self, file: Path) -> None:
        try:
            given: Any = json.loads(file.read_bytes())
        except OSError as error:
            raise _wrong(file, "", str(error.strerror), "a readable file") from error
        except (ValueError, RecursionError) as error:
            raise _wrong(file, "", "no JSON", _EXPECTED) from error
        images, listed = (given.get("images", []), given.get("annotations")) if isinstance(given, dict) else ([], given)
        if not isinstance(listed, list) or not isinstance(images, list):
            raise _wrong(file, "", type(given).__name__, _EXPECTED)
        names = {one["id"]: Path(str(one["file_name"])).name for one in images if {"id", "file_name"} <= set(one)}
        self._by_name: dict[str, list[Scored]] = {}
        self._by_id: dict[int, list[Scored]] = {}
        for place, one in enumerate(listed):
            scored = _scored(file, place, one)
            name = one.get("file_name") or names.get(one.get("image_id"))
            if name is not None:
                self._by_name.setdefault(Path(str(name)).name, []).append(scored)
            elif isinstance(one.get("image_id"), int):
                self._by_id.setdefault(one["image_id"], []).append(scored)
            else:
                raise _wrong(file, f"[{place}]", "no image", "file_name, or image_id, a whole number")

    def of(self, image: Path) -> Sequence[Scored]:
        """The boxes of `image`; empty where the file has none of it."""
        found = self._by_name.get(image.name)
        if found is None and image.stem.isdecimal():
            found = self._by_id.get(int(image.stem))
        return tuple(found or ())


def _scored(file: Path, place: int, one: Any) -> Scored:
    box = one.get("bbox") if isinstance(one, Mapping) else None
    numbers = isinstance(box, list) and len(box) == 4 and all(isinstance(part, int | float) for part in box)
    if not isinstance(one, Mapping) or box is None or not numbers:
        raise _wrong(file, f"[{place}].bbox", repr(box)[:80], "[x, y, width, height], px")
    x, y, width, height = (float(part) for part in box)
    # Written so that a NaN fails too.
    if not (width > 0 and height > 0):
        raise _wrong(file, f"[{place}].bbox", repr(box), "a width and a height above 0")
    score = one.get("score", 1.0)
    if not isinstance(score, int | float) or not 0 <= score <= 1:
        raise _wrong(file, f"[{place}].score", repr(score)[:80], "a number from 0 to 1")
    return (x, y, width, height), float(score)


def _wrong(file: Path, where: str, found: str, expected: str) -> InputError:
    return InputError([Problem(str(file), 0, 0, where, found, expected)])
