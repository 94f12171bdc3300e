"""Time on devices: what its axis is called and which unit suits it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from posestudy.ledger.records import TrialRecord
from posestudy_reports.quantities import time_unit

Device = Literal["GPU", "CPU", ""]
_WORDS = {"h": "hours", "min": "minutes", "s": "seconds"}


def device_kind(trials: Iterable[TrialRecord]) -> Device:
    """On what all of them ran; empty where that differs or is not known."""
    found = {_kind(trial) for trial in trials}
    return found.pop() if len(found) == 1 else ""


def _kind(trial: TrialRecord) -> Device:
    device = str(trial.provenance.get("device") or "")
    if device.startswith("cuda"):
        return "GPU"
    return "CPU" if device == "cpu" else ""


def device_unit(seconds: float, device: Device) -> tuple[float, str]:
    """What a time as long as `seconds` is divided by, and its unit: `GPU-hours`, or `h` where it is no GPU's."""
    divisor, unit = time_unit(seconds)
    return divisor, f"GPU-{_WORDS[unit]}" if device == "GPU" else unit
