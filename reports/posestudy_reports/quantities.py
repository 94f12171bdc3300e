"""What cells cost, in numbers: of a trial from the ledger, of a cell over its seeds, and how each is printed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from posestudy.ledger.records import TrialRecord
from posestudy.vocabulary import Direction, Outcome
from posestudy_reports import words
from posestudy_reports.results import CellResult, StudyResult

Hardware = Literal["", "profile", "training"]


@dataclass(frozen=True)
class Quantity:
    """A cost of a cell.

    Attributes:
        header: of a column, with the unit; axis: of a figure's axis, without.
        unit: of the axis; empty for time, whose unit follows its size, and for numbers without one.
        of: the number of one trial, None where it is not known.
        text: the number in words.
        hardware: on whose machine it depends: the profile's, the training's, nobody's.
    """

    name: str
    header: str
    axis: str
    unit: str
    direction: Direction
    of: Callable[[StudyResult, TrialRecord], float | None]
    text: Callable[[float], str]
    hardware: Hardware = ""

    def device(self, result: StudyResult, trial: TrialRecord) -> str:
        """Where the number was measured; empty where that is not known or makes no difference."""
        if self.hardware == "profile":
            return str((trial.profile or {}).get("device_name") or "")
        source = trainer(result, trial) if self.hardware == "training" else None
        if source is None:
            return ""
        device = source.provenance.get("device_name") or source.provenance.get("device") or ""
        return "CPU" if device == "cpu" else str(device)


@dataclass(frozen=True)
class Range:
    """A number over the seeds of a cell."""

    mean: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Range | None:
        """None where there are none."""
        found = list(values)
        if not found:
            return None
        low, high = min(found), max(found)
        # The mean of equal numbers may miss them by its rounding, and bars have no negative length.
        return cls(min(max(math.fsum(found) / len(found), low), high), low, high, len(found))


def over_seeds(quantity: Quantity, result: StudyResult, cell: CellResult) -> Range | None:
    """The quantity over the completed trials that know it."""
    values = (quantity.of(result, trial) for trial in cell.completed)
    return Range.of(v for v in values if v is not None and math.isfinite(v))


def devices(quantity: Quantity, result: StudyResult, cell: CellResult) -> tuple[str, ...]:
    """Where it was measured, each machine once; empty where nothing was or no machine is known."""
    known = (t for t in cell.completed if quantity.of(result, t) is not None)
    return tuple(dict.fromkeys(d for d in (quantity.device(result, t) for t in known) if d))


def evaluated(trial: TrialRecord) -> dict[str, Any] | None:
    """The trial whose weights this one only evaluated: `{"study", "number", "uid"}`; None: it trained its own."""
    found = trial.provenance.get("evaluated")
    return found if isinstance(found, dict) else None


def untrained(trial: TrialRecord) -> bool:
    """Whether the trial evaluated the weights it was given, and nothing was trained for it anywhere."""
    return trial.outcome is Outcome.COMPLETED and trial.final_epoch == 0


def only_evaluated(trial: TrialRecord) -> bool:
    """Whether the trial has trained nothing itself, but evaluated another's weights or given ones."""
    return evaluated(trial) is not None or untrained(trial)


def fixed(cell: CellResult, other: CellResult) -> bool:
    """Whether the difference of two cells does not depend on training: both evaluate weights that were given, or the
    same weights."""
    if all(untrained(t) for t in (*cell.completed, *other.completed)):
        return True
    return {_weights(t) for t in cell.completed} == {_weights(t) for t in other.completed}


def _weights(trial: TrialRecord) -> str:
    """The uid of the trial that trained what it evaluated."""
    reused = trial.source if trial.source and trial.source.get("kind") == "reused" else None
    source = evaluated(trial) or reused
    return str(source.get("uid")) if source else trial.uid


def trainer(result: StudyResult, trial: TrialRecord) -> TrialRecord | None:
    """The trial that trained the weights of `trial`; None where none of this study did."""
    source = evaluated(trial)
    found: TrialRecord | None = trial
    if source is not None:
        found = next((t for t in result.snapshot.trials if t.uid == source.get("uid")), None)
    return None if found is None or untrained(found) else found


def _profiled(key: str) -> Callable[[StudyResult, TrialRecord], float | None]:
    def of(result: StudyResult, trial: TrialRecord) -> float | None:
        del result
        value = (trial.profile or {}).get(key)
        return float(value) if isinstance(value, (int, float)) else None

    return of


def _duration(result: StudyResult, trial: TrialRecord) -> float | None:
    source = trainer(result, trial)
    return source.duration_s if source else None


def _memory(result: StudyResult, trial: TrialRecord) -> float | None:
    source = trainer(result, trial)
    return source.peak_memory_mb if source else None


def _amount(value: float) -> str:
    """`5.2M`, `48.3k`."""
    if value >= 1e6:
        return f"{value / 1e6:.1f}M"
    return f"{value / 1e3:.1f}k" if value >= 1e3 else f"{value:.0f}"


def _short(value: float) -> str:
    """One decimal, and below one two digits that count: `8.0`, `0.043`."""
    if value >= 0.95 or value <= 0:
        return f"{value:.1f}"
    return f"{value:.{1 - math.floor(math.log10(value))}f}"


def _rate(value: float) -> str:
    return f"{value:.0f}" if value >= 9.95 else _short(value)


_ALL: Final = (
    Quantity("parameters", "Params", "parameters", "", Direction.LESS, _profiled("parameters"), _amount),
    Quantity("gflops", "GFLOPs", "GFLOPs", "", Direction.LESS, _profiled("gmacs"), _short),
    Quantity("fps", "FPS", "images a second", "", Direction.MORE, _profiled("fps"), _rate, "profile"),
    Quantity(
        "latency", "Latency [ms]", "latency", "ms", Direction.LESS, _profiled("latency_p50_ms"), _short, "profile"
    ),
    Quantity(
        "peak_memory", "Memory [MiB]", "peak memory", "MiB", Direction.LESS, _memory, lambda v: f"{v:,.0f}", "training"
    ),
    Quantity("train_time", "Time", "training time", "", Direction.LESS, _duration, words.duration, "training"),
)
QUANTITIES: Final[Mapping[str, Quantity]] = {quantity.name: quantity for quantity in _ALL}
"""By the name of the column."""


def time_unit(seconds: float) -> tuple[float, str]:
    """Seconds in the unit that suits a time as long as `seconds`, and that unit: h, min or s."""
    if seconds >= 2 * 3600:
        return 3600.0, "h"
    return (60.0, "min") if seconds >= 2 * 60 else (1.0, "s")
