"""Boxes of a user's own images, from a file in one of COCO's forms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from posestudy.errors import InputError, Problem
from posestudy_runner.result_forms import Box
from posestudy_studies.coco_values import Unusable, is_number, json_of

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
            given: Any = json_of(file)
        except Unusable as error:
            raise _wrong(file, "", error.found, error.expected or _EXPECTED, error.hint) from error
        images, listed = (given.get("images", []), given.get("annotations")) if isinstance(given, dict) else ([], given)
        if not isinstance(listed, list) or not isinstance(images, list):
            raise _wrong(file, "", type(given).__name__, _EXPECTED)
        names = {
            one["id"]: Path(one["file_name"]).name
            for one in images
            if isinstance(one, Mapping) and isinstance(one.get("id"), int) and isinstance(one.get("file_name"), str)
        }
        self._by_name: dict[str, list[Scored]] = {}
        self._by_id: dict[int, list[Scored]] = {}
        for place, one in enumerate(listed):
            scored = _scored(file, place, one)
            number = one.get("image_id")
            number = number if isinstance(number, int) and not isinstance(number, bool) else None
            name = one.get("file_name") or (None if number is None else names.get(number))
            if isinstance(name, str):
                self._by_name.setdefault(Path(name).name, []).append(scored)
            elif number is not None:
                self._by_id.setdefault(number, []).append(scored)
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
    numbers = isinstance(box, list) and len(box) == 4 and all(is_number(part) for part in box)
    if not isinstance(one, Mapping) or box is None or not numbers:
        raise _wrong(file, f"[{place}].bbox", repr(box)[:80], "[x, y, width, height], px")
    x, y, width, height = (float(part) for part in box)
    # Written so that a NaN fails too.
    if not (width > 0 and height > 0):
        raise _wrong(file, f"[{place}].bbox", repr(box), "a width and a height above 0")
    score = one.get("score", 1.0)
    if not is_number(score) or not 0 <= score <= 1:
        raise _wrong(file, f"[{place}].score", repr(score)[:80], "a number from 0 to 1")
    return (x, y, width, height), float(score)


def _wrong(file: Path, where: str, found: str, expected: str, hint: str = "") -> InputError:
    return InputError([Problem(str(file), 0, 0, where, found, expected, hint)])
