"""What the lines of a training log say together: one run, with what is odd about it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from posestudy.vocabulary import METRICS, Outcome, ledger_name

Json = dict[str, Any]
_MEANS = ("loss", "acc_pose")
_LARGEST = 1e100
MAX_COUNT = 2**31
"""Epochs, iterations and seeds are below it, as the ledger keeps them."""


@dataclass(frozen=True)
class LoggedRun:
    """One training as its log tells it.

    Attributes:
        values: `{epoch: {metric: number}}` under ledger names; epochs count from 1. Of training the means of `loss` and
            `acc_pose`, the last `lr`, `memory_mb` (MiB) and the seconds `epoch_time_s`, `data_time_s` of the iterations
            that the log covers; of validation its metrics.
        evaluated: epochs with a validation, ascending.
        last_epoch: the last epoch with any line.
        outcome: `completed`, `diverged` (the loss was not finite at the end) or `cancelled` (the log ends before the
            epochs its configuration asks for); `message` says more.
        duration_s: seconds of the iterations that the log covers; None: not in it.
        peak_memory_mb: MiB; None: not in it.
        seed: None: not in it.
        provenance: as `TrialRecord.provenance`.
        remarks: contradictions and gaps, as sentences.
    """

    values: dict[int, dict[str, float]]
    evaluated: tuple[int, ...]
    last_epoch: int
    outcome: Outcome
    message: str | None
    duration_s: float | None
    peak_memory_mb: float | None
    seed: int | None
    provenance: Json
    remarks: tuple[str, ...]

    def scores(self, metric: str) -> list[tuple[int, float]]:
        """(epoch, value) of a metric in order of epoch."""
        return [(epoch, self.values[epoch][metric]) for epoch in self.evaluated if metric in self.values[epoch]]


@dataclass
class Facts:
    """What is known of a run beside its lines."""

    max_epochs: int | None = None
    seed: int | None = None
    provenance: Json = field(default_factory=dict)


@dataclass(frozen=True)
class _Step:
    epoch: int
    iteration: int
    numbers: Mapping[str, float]


class RunBuilder:
    """Takes the lines of one run in order; a run that was resumed is one, its files one after the other."""

    def __init__(self) -> None:
        self._steps: list[_Step] = []
        self._evaluations: dict[int, dict[str, float]] = {}
        self.remarks: list[str] = []

    @property
    def evaluated(self) -> bool:
        return bool(self._evaluations)

    @property
    def last_epoch(self) -> int:
        return max([*self._evaluations, *(step.epoch for step in self._steps)], default=0)

    def resume(self, epoch: int) -> None:
        """The next lines go on before `epoch`: what an earlier file says of it and later was trained again."""
        again = sorted(e for e in self._evaluations if e >= epoch)
        if again:
            said = f"epoch {again[0]} was" if len(again) == 1 else f"epochs {again[0]} to {again[-1]} were"
            self.remarks.append(f"{said} trained again after a resume; the later values stand.")
        self._evaluations = {e: v for e, v in self._evaluations.items() if e < epoch}
        self._steps = [step for step in self._steps if step.epoch < epoch]

    def train(self, epoch: int, iteration: int, fields: Mapping[str, Any]) -> None:
        """A line of training; `iteration` counts from 1 in its epoch."""
        names = (*_MEANS, "lr", "memory", "time", "data_time")
        numbers = {name: _number(fields[name]) for name in names if _is_number(fields.get(name))}
        self._steps.append(_Step(epoch, iteration, numbers))

    def val(self, epoch: int, fields: Mapping[str, Any]) -> None:
        """A line of validation; names are MMPose's."""
        found = {ledger_name(name): _number(value) for name, value in fields.items() if _is_number(value)}
        # COCO writes -1 where no ground truth is of that size.
        metrics = {
            name: value
            for name, value in found.items()
            if name in METRICS and math.isfinite(value) and not (name.startswith("coco/") and value < 0)
        }
        if not metrics:
            return
        before = self._evaluations.get(epoch)
        if before is not None and before != metrics:
            name = next(n for n in metrics if before.get(n) != metrics[n])
            one, other = before.get(name), metrics[name]
            self.remarks.append(f"epoch {epoch} has two values of {name}, {one} and {other}; the later one stands.")
        self._evaluations[epoch] = metrics

    def build(self, facts: Facts) -> LoggedRun:
        """The run of the lines so far."""
        values: dict[int, dict[str, float]] = {}
        duration = self._train_values(values)
        for epoch, metrics in self._evaluations.items():
            values.setdefault(epoch, {}).update(metrics)
        evaluated = tuple(sorted(self._evaluations))
        outcome, message = self._outcome(facts.max_epochs)
        last = self.last_epoch
        if evaluated and last > evaluated[-1]:
            self.remarks.append(f"training went on to epoch {last}, the last validation is of epoch {evaluated[-1]}.")
        memory = [step.numbers["memory"] for step in self._steps if step.numbers.get("memory", 0.0) > 0]
        return LoggedRun(
            values=dict(sorted(values.items())),
            evaluated=evaluated,
            last_epoch=last,
            outcome=outcome,
            message=message,
            duration_s=duration,
            peak_memory_mb=max(memory, default=None),
            seed=facts.seed,
            provenance=facts.provenance,
            remarks=tuple(self.remarks),
        )

    def _outcome(self, max_epochs: int | None) -> tuple[Outcome, str | None]:
        loss = self._steps[-1].numbers.get("loss", 0.0) if self._steps else 0.0
        if not math.isfinite(loss):
            step = self._steps[-1]
            return Outcome.DIVERGED, f"the loss was {loss} in epoch {step.epoch}, iteration {step.iteration}"
        if max_epochs is not None and self.last_epoch < max_epochs:
            return Outcome.CANCELLED, f"the log ends in epoch {self.last_epoch} of {max_epochs}"
        return Outcome.COMPLETED, None

    def _train_values(self, values: dict[int, dict[str, float]]) -> float | None:
        """Write what training says into `values`; returns the seconds of the iterations that the log covers."""
        by_epoch: dict[int, list[_Step]] = {}
        for step in self._steps:
            by_epoch.setdefault(step.epoch, []).append(step)
        interval = _interval(by_epoch)
        total = 0.0
        for epoch, steps in by_epoch.items():
            covered, lost, before = [], 0, 0
            for step in steps:
                # A line tells of the iterations since the one before, and of no more than the logging interval.
                gap = step.iteration - before if step.iteration > before else step.iteration
                covered.append(max(1, min(gap, interval)))
                lost += max(0, gap - interval)
                before = step.iteration
            if lost and epoch == min(by_epoch) and steps[0].iteration > interval:
                first = steps[0].iteration - interval
                self.remarks.append(f"the log starts late: {first} iterations of epoch {epoch} before it are lost.")
                lost -= first
            if lost:
                self.remarks.append(f"{lost} iterations of epoch {epoch} are not in the log.")
            metrics = _means(steps, covered)
            total += metrics.get("epoch_time_s", 0.0)
            values[epoch] = metrics
        first_epoch = min(by_epoch, default=1)
        if first_epoch > 1:
            self.remarks.append(f"the log starts in epoch {first_epoch}; what came before is lost.")
        return total or None


def _interval(by_epoch: Mapping[int, list[_Step]]) -> int:
    """The iterations from one line to the next where none is lost."""
    gaps = []
    for steps in by_epoch.values():
        iterations = [0, *(step.iteration for step in steps)]
        gaps += [b - a for a, b in itertools.pairwise(iterations) if b > a]
    return min(gaps, default=1)


def _means(steps: list[_Step], covered: list[int]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for name in _MEANS:
        pairs = [(s.numbers[name], n) for s, n in zip(steps, covered, strict=True) if name in s.numbers]
        finite = [(value, n) for value, n in pairs if math.isfinite(value)]
        if finite:
            metrics[name] = math.fsum(value * n for value, n in finite) / sum(n for _, n in finite)
    for name, target in (("time", "epoch_time_s"), ("data_time", "data_time_s")):
        timed = [s.numbers[name] * n for s, n in zip(steps, covered, strict=True) if name in s.numbers]
        if timed:
            metrics[target] = math.fsum(timed)
    last = steps[-1].numbers
    if "lr" in last:
        metrics["lr"] = last["lr"]
    memory = [step.numbers["memory"] for step in steps if step.numbers.get("memory", 0.0) > 0]
    if memory:
        metrics["memory_mb"] = max(memory)
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(value: float) -> float:
    """`value` where sums of it stay finite; what is larger is infinite."""
    if -_LARGEST < value < _LARGEST or (isinstance(value, float) and math.isnan(value)):
        return float(value)
    return math.inf if value > 0 else -math.inf
