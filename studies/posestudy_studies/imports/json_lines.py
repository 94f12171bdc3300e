"""Logs of one JSON object a line, as MMPose writes them while it trains."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from posestudy.errors import InputError, Problem

Json = dict[str, Any]


@dataclass
class Lines:
    """The objects of a log, with their lines from 1.

    Attributes:
        remarks: sentences on what could not be read: a first or last line that is cut off.
    """

    file: Path
    objects: list[tuple[int, Json]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def read(file: Path) -> Lines:
    """The log at `file`.

    Raises:
        InputError: it cannot be read, or a line between its first and its last is no JSON object.
    """
    lines, bad = Lines(file), []
    last = 0
    for number, text in _texts(file):
        last = number
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            lines.objects.append((number, value))
        else:
            bad.append((number, text))
    for number, text in bad:
        # A log that was copied while it was written, or whose head was cut away, ends or starts inside a line.
        if lines.objects and number in (1, last):
            place = "first" if number == 1 else "last"
            lines.remarks.append(f"the {place} line of {file.name} is cut off and was not read.")
            continue
        shown = repr(text if len(text) <= 40 else text[:37] + "...")
        raise InputError([Problem(str(file), number, 1, "", shown, "one JSON object a line, as MMPose logs them")])
    if not lines.objects:
        raise InputError([Problem(str(file), 0, 0, "", "no line", "a log of MMPose, one JSON object a line")])
    return lines


def _texts(file: Path) -> Iterator[tuple[int, str]]:
    try:
        with file.open(encoding="utf-8", errors="replace") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    yield number, line.strip()
    except OSError as error:
        raise InputError([Problem(str(file), 0, 0, "", error.strerror or str(error), "a readable log")]) from error
