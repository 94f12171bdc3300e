"""Reads `*.log.json` of MMPose 0.x: lines with `mode`, `epoch` and `iter`, after a line with the environment.

The form is mmcv 1.x's TextLoggerHook and MMPose 0.x's evaluation: `iter` counts from 1 in its epoch on lines of
training and is the number of batches on lines of validation; `memory` is MiB, `time` and `data_time` are seconds per
iteration; validation gives `AP`, `AP .5`, ... or `PCK`, `AUC`, `EPE`, `NME`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from posestudy.errors import InputError, Problem
from posestudy.vocabulary import METRICS
from posestudy_studies.imports import environment
from posestudy_studies.imports.json_lines import Lines
from posestudy_studies.imports.logged_run import MAX_COUNT, Facts, LoggedRun, RunBuilder

Json = dict[str, Any]
_COCO = frozenset(m.mmpose.removeprefix("coco/") for m in METRICS.values() if m.name.startswith("coco/"))


def is_mine(lines: Lines) -> bool:
    """Whether these are lines of MMPose 0.x."""
    return any(line.get("mode") in ("train", "val") for _, line in lines.objects[:50])


def first_epoch(lines: Lines) -> int:
    """The epoch of the first line that has one; 1 where none has."""
    return next((line["epoch"] for _, line in lines.objects if isinstance(line.get("epoch"), int)), 1)


def read(parts: Sequence[Lines]) -> LoggedRun:
    """The run whose log these are; several where it was resumed, in order.

    Raises:
        InputError: a line lacks what it must have.
    """
    builder, facts = RunBuilder(), Facts()
    for number, lines in enumerate(parts):
        builder.remarks += lines.remarks
        if number:
            builder.resume(first_epoch(lines))
        for line, fields in lines.objects:
            mode = fields.get("mode")
            if mode is None and number == 0:
                facts = _environment(fields)
            elif mode == "train":
                epoch, iteration = (_whole(lines, line, fields, key) for key in ("epoch", "iter"))
                builder.train(epoch, iteration, fields)
            elif mode == "val":
                named = {f"coco/{k}" if k in _COCO else k: v for k, v in fields.items()}
                builder.val(_whole(lines, line, fields, "epoch"), named)
    return builder.build(facts)


def _environment(fields: Json) -> Facts:
    text, seed = fields.get("env_info"), fields.get("seed")
    facts = environment.facts(text) if isinstance(text, str) else Facts()
    version = fields.get("mmpose_version")
    if isinstance(version, str):
        facts.provenance.setdefault("mmpose", version)
    if isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < MAX_COUNT:
        facts.seed = seed
    return facts


def _whole(lines: Lines, line: int, fields: Json, key: str) -> int:
    value = fields.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < MAX_COUNT:
        raise InputError([Problem(str(lines.file), line, 1, key, repr(value), "a whole number from 1")])
    return value
