"""Reads `scalars.json` of MMPose 1.x (and the `TIMESTAMP.json` beside it, which holds the same lines).

The form is MMEngine's LocalVisBackend as its LoggerHook feeds it (0.10.7): a line of training has `epoch`, `iter` (from
1 over the whole run), `step` (the same), `lr`, losses, `time` and `data_time` in seconds per iteration and with CUDA
`memory` in MiB; a line of validation has metrics such as `coco/AP` and `step`, which is the epoch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from posestudy.errors import InputError, Problem
from posestudy.vocabulary import METRICS
from posestudy_studies.imports.json_lines import Lines
from posestudy_studies.imports.logged_run import MAX_COUNT, Facts, LoggedRun, RunBuilder

Json = dict[str, Any]
_METRICS = frozenset(m.mmpose for m in METRICS.values())


def is_mine(lines: Lines) -> bool:
    """Whether these are lines of MMEngine."""
    return any("step" in line and "mode" not in line for _, line in lines.objects[:50])


def first_epoch(lines: Lines) -> int:
    """The epoch of the first line of training; of the first validation where there is none."""
    for key in ("epoch", "step"):
        for _, line in lines.objects:
            if isinstance(line.get(key), int):
                return int(line[key])
    return 1


def read(parts: Sequence[Lines], facts: Facts) -> LoggedRun:
    """The run whose scalars these are; several where it was resumed, in order.

    Raises:
        InputError: a line lacks what it must have, or the run counts in iterations and not in epochs.
    """
    builder = RunBuilder()
    per_epoch = _iterations_per_epoch(parts)
    for number, lines in enumerate(parts):
        builder.remarks += lines.remarks
        if number:
            builder.resume(first_epoch(lines))
        epoch = 0
        for line, fields in lines.objects:
            if _METRICS & fields.keys():
                builder.val(_evaluated_epoch(lines, line, fields, epoch), fields)
            elif "iter" in fields:
                epoch, iteration = (_whole(lines, line, fields, key) for key in ("epoch", "iter"))
                builder.train(epoch, iteration - (epoch - 1) * per_epoch, fields)
    return builder.build(facts)


def _evaluated_epoch(lines: Lines, line: int, fields: Json, trained: int) -> int:
    step = _whole(lines, line, fields, "step")
    if trained and step > trained:
        expected = f"the epoch that was trained before, {trained}"
        hint = "a run that counts in iterations cannot be imported"
        raise InputError([Problem(str(lines.file), line, 1, "step", str(step), expected, hint)])
    return step


def _iterations_per_epoch(parts: Sequence[Lines]) -> int:
    """From the first line of each epoch to that of the next; 0 where only one epoch has lines."""
    first: dict[int, int] = {}
    for lines in parts:
        for _, line in lines.objects:
            epoch, iteration = line.get("epoch"), line.get("iter")
            if isinstance(epoch, int) and isinstance(iteration, int):
                first.setdefault(epoch, iteration)
    steps = [first[epoch + 1] - first[epoch] for epoch in first if epoch + 1 in first]
    # The most common one: the first lines of a log may be lost.
    return max(0, Counter(steps).most_common(1)[0][0]) if steps else 0


def _whole(lines: Lines, line: int, fields: Json, key: str) -> int:
    value = fields.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < MAX_COUNT:
        hint = "a run that counts in iterations cannot be imported" if key == "epoch" else ""
        raise InputError([Problem(str(lines.file), line, 1, key, repr(value), "a whole number from 1", hint)])
    return value
