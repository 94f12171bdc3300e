"""What the plan expected when the study was first launched, against what it took."""

from __future__ import annotations

from typing import Any, Final

from posestudy.ledger.records import TrialRecord
from posestudy.vocabulary import TrialState
from posestudy_reports import words
from posestudy_reports.results import StudyResult
from posestudy_studies.asked_gpus import gpus_of

_BASIS: Final = {"history": " from earlier trials", "measured": " from measured iterations"}
_GB: Final = 1e9


def expectation(result: StudyResult, disk_bytes: int | None) -> tuple[str, ...]:
    """One sentence; none where nothing was estimated or nothing has been trained. Reused and imported trials cost
    nothing and are left out of both."""
    estimate = result.snapshot.study.estimate
    trained = [t for t in result.snapshot.trials if t.source is None and t.state is TrialState.DONE and t.duration_s]
    if not estimate or estimate.get("gpu_hours") is None or not trained:
        return ()
    basis = _BASIS.get(str(estimate.get("basis")), "")
    so_far = "" if result.snapshot.study.state == "closed" else " so far"
    # As the plan counts: an hour on two GPUs is two.
    gpus = {cell.id: gpus_of(cell.config) for cell in result.snapshot.cells}
    expected = estimate["gpu_hours"] * 3600
    took = sum((t.duration_s or 0.0) * gpus[t.cell_id] for t in trained)
    told = [words.count(int(estimate["trials"]), "trial"), f"{words.duration(expected)} of training"]
    real = [words.count(len(trained), "trial"), f"{words.duration(took)}{_off(took, expected)} of training"]
    wall = _wall(trained)
    if estimate.get("wall_hours") is not None and wall is not None:
        expected = estimate["wall_hours"] * 3600
        told.append(f"{words.duration(expected)} from start to end")
        real.append(f"{words.duration(wall)}{_off(wall, expected)} from first start to last end")
    if estimate.get("disk_gb") is not None and disk_bytes is not None:
        told.append(f"{_size(estimate['disk_gb'])} on disk")
        real.append(f"{_size(disk_bytes / _GB)}{_off(disk_bytes / _GB, estimate['disk_gb'])} on disk")
    text = f"The plan expected{basis} {words.listing(told)}; it took{so_far} {words.listing(real)}"
    return (text + _unknown(estimate) + ".",)


def _off(real: float, expected: float) -> str:
    """` (24 % more)`; empty without an expectation."""
    if expected <= 0:
        return ""
    percent = round(100 * (real / expected - 1))
    return f" ({abs(percent)} % {'more' if percent > 0 else 'less'})" if percent else " (as expected)"


def _wall(trials: list[TrialRecord]) -> float | None:
    starts, ends = [t.started for t in trials if t.started], [t.ended for t in trials if t.ended]
    return max(ends) - min(starts) if starts and ends else None


def _size(gigabytes: float) -> str:
    return f"{gigabytes:.1f} GB" if gigabytes >= 1 else f"{gigabytes * 1000:.0f} MB"


def _unknown(estimate: dict[str, Any]) -> str:
    unknown = estimate.get("unknown") or ()
    return f"; of {words.count(len(unknown), 'cell')} the plan knew nothing" if unknown else ""
