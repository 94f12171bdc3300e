"""One training log of a trial, from the logs of all its attempts; and the same run as MMPose 0.x wrote it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from posestudy.ledger.records import ValueRecord
from posestudy.vocabulary import METRICS

_MARK = re.compile(r"Epoch\((train|val)\)\s+\[\s*(\d+)\]\[\s*(\d+)/(\d+)\]")
"""MMEngine's line about an epoch: kind, epoch, iteration, iterations of the epoch."""


@dataclass(frozen=True)
class AttemptLog:
    """What one attempt printed; `number` is its fence, of a trial a later attempt has a larger one."""

    number: int
    text: str


@dataclass(frozen=True)
class _Block:
    """The lines up to and with the last of one epoch; `epoch` 0: before the first, None: after the last."""

    epoch: int | None
    lines: tuple[str, ...]


def joined_log(attempts: Sequence[AttemptLog], accepted: Mapping[int, int]) -> str:
    """The attempts' logs in order, without the epochs that a later attempt trained again.

    Args:
        attempts: of one trial, in any order.
        accepted: by epoch, the attempt whose values the ledger has of it; an epoch it does not tell of is taken from
            the latest attempt that has it.
    """
    ordered = sorted(attempts, key=lambda attempt: attempt.number)
    blocks = {attempt.number: _blocks(attempt.text) for attempt in ordered}
    owner: dict[int, int] = {}
    for attempt in ordered:
        owner |= {block.epoch: attempt.number for block in blocks[attempt.number] if block.epoch}
    for epoch, number in accepted.items():
        # Another one trained it where the attempt only took it over from a journal.
        if any(block.epoch == epoch for block in blocks.get(number, ())):
            owner[epoch] = number
    parts: list[str] = []
    for place, attempt in enumerate(ordered, start=1):
        last = place == len(ordered)
        told = [block.epoch for block in blocks[attempt.number] if block.epoch]
        gone = [epoch for epoch in told if owner[epoch] != attempt.number]
        if len(gone) == len(told) and not last:
            continue
        if len(ordered) > 1:
            parts.append(_heading(place, len(ordered), gone))
        for block in blocks[attempt.number]:
            mine = owner[block.epoch] == attempt.number if block.epoch else block.epoch == 0 or last
            if mine:
                parts += block.lines
    return "\n".join(parts) + "\n" if parts else ""


def _heading(place: int, count: int, gone: Sequence[int]) -> str:
    text = f"===== attempt {place} of {count}"
    if gone:
        epochs = f"epoch {gone[0]}" if len(set(gone)) == 1 else f"epochs {min(gone)} to {max(gone)}"
        text += f", without {epochs}, trained again by another"
    return text + " ====="


def _blocks(text: str) -> list[_Block]:
    found: list[_Block] = []
    lines: list[str] = []
    for line in text.splitlines():
        lines.append(line)
        mark = _MARK.search(line)
        if mark is None:
            continue
        epoch = int(mark[2])
        if not found:
            # What is said before training starts belongs to no epoch, the first line of one to it alone.
            found.append(_Block(0, tuple(lines[:-1])))
            lines = lines[-1:]
        found.append(_Block(epoch, tuple(lines)))
        lines = []
    return [*found, _Block(None if found else 0, tuple(lines))]


def validation_batches(log: str) -> int | None:
    """How many batches a validation has, from the log; None where it tells of none."""
    found = [int(mark[4]) for mark in _MARK.finditer(log) if mark[1] == "val"]
    return found[-1] if found else None


def log_lines(values: Iterable[ValueRecord], facts: Mapping[str, Any], batches: int | None) -> str:
    """The ledger's values as `*.log.json` of MMPose 0.x: a line of training an epoch, and one of each validation.

    `facts` are the first line. Times are seconds an iteration, memory MiB.
    """
    lines: list[Mapping[str, Any]] = [facts]
    for value in sorted(values, key=lambda v: v.epoch):
        metrics = value.metrics
        lr = {"lr": round(metrics["lr"], 10)} if "lr" in metrics else {}
        if "loss" in metrics:
            lines.append({"mode": "train", "epoch": value.epoch, **_training(metrics), **lr})
        measured = {
            metric.mmpose.removeprefix("coco/"): round(metrics[name], 5)
            for name, metric in METRICS.items()
            if name in metrics
        }
        if measured:
            count = {"iter": batches} if batches else {}
            lines.append({"mode": "val", "epoch": value.epoch, **count, **lr, **measured})
    return "".join(json.dumps(line) + "\n" for line in lines)


def _training(metrics: Mapping[str, float]) -> dict[str, Any]:
    each = metrics.get("iteration_time_s") or 0.0
    steps = max(1, round(metrics.get("epoch_time_s", 0.0) / each)) if each else 1
    line: dict[str, Any] = {"iter": steps}
    if "memory_mb" in metrics:
        line["memory"] = int(metrics["memory_mb"])
    if "data_time_s" in metrics:
        line["data_time"] = round(metrics["data_time_s"] / steps, 5)
    line |= {name: round(metrics[name], 5) for name in ("acc_pose", "loss") if name in metrics}
    return {**line, **({"time": round(each, 5)} if each else {})}
