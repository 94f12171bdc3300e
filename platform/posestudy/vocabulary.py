"""The words of a study, spelt the same in YAML, code, database, MLflow and report."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How a trial ended. All but `FAILED` and `CANCELLED` are results and have a row in the tables."""

    COMPLETED = "completed"
    PRUNED = "pruned"
    OUT_OF_MEMORY = "out_of_memory"
    DIVERGED = "diverged"
    NOT_CONVERGED = "not_converged"
    TIMED_OUT = "timed_out"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_result(self) -> bool:
        return self not in (Outcome.FAILED, Outcome.CANCELLED)


class AttemptEnd(StrEnum):
    """How one attempt at a trial ended without ending the trial."""

    FINISHED = "finished"
    PREEMPTED = "preempted"
    PAUSED = "paused"
    LOST = "lost"


class TrialState(StrEnum):
    """Where a trial stands in the ledger."""

    WAITING = "WAITING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    DONE = "DONE"


class Verdict(StrEnum):
    """What a pruner says of a trial after an epoch: go on, end, or give way to better ones and perhaps go on later."""

    GO = "go"
    PRUNE = "prune"
    PAUSE = "pause"


class Purpose(StrEnum):
    """Why a test split was predicted: on its own, for a hand-in archive, or after training as the study asked."""

    PREDICT = "predict"
    BUNDLE = "bundle"
    SUBMISSION = "submission"


class Direction(StrEnum):
    """Whether a larger or a smaller value of a metric is better."""

    MORE = "more"
    LESS = "less"

    def better(self, left: float, right: float) -> bool:
        """Whether `left` is strictly better than `right`."""
        return left > right if self is Direction.MORE else left < right

    @property
    def optuna(self) -> str:
        return "maximize" if self is Direction.MORE else "minimize"


@dataclass(frozen=True)
class Metric:
    """A measured quantity: its name in the ledger, the unit it is given in and which direction is better."""

    name: str
    unit: str
    direction: Direction
    mmpose: str
    """The name MMPose's evaluator gives it."""
    short: str
    """The name in a table header."""
    decimals: int = 3
    """Digits behind the point in a table."""

    @property
    def is_share(self) -> bool:
        """Whether it is a share of one, as AP and PCK are; NME, though a ratio, may lie above one."""
        return self.unit == "1" and self.direction is Direction.MORE


def _coco(short: str, mmpose: str) -> Metric:
    header = short.replace("_M", "(M)").replace("_L", "(L)")
    return Metric(f"coco/{short}", "1", Direction.MORE, f"coco/{mmpose}", header)


METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        _coco("AP", "AP"),
        _coco("AP50", "AP .5"),
        _coco("AP75", "AP .75"),
        _coco("AP_M", "AP (M)"),
        _coco("AP_L", "AP (L)"),
        _coco("AR", "AR"),
        _coco("AR50", "AR .5"),
        _coco("AR75", "AR .75"),
        _coco("AR_M", "AR (M)"),
        _coco("AR_L", "AR (L)"),
        Metric("pck", "1", Direction.MORE, "PCK", "PCK"),
        Metric("auc", "1", Direction.MORE, "AUC", "AUC"),
        # The literature prints NME in percent with two decimals.
        Metric("nme", "1", Direction.LESS, "NME", "NME", decimals=4),
        Metric("epe", "px", Direction.LESS, "EPE", "EPE", decimals=2),
    )
}
"""Every metric a study may name, by its ledger name."""

_BY_MMPOSE = {m.mmpose: m.name for m in METRICS.values()}


def ledger_name(mmpose_name: str) -> str:
    """The ledger's name of a metric MMPose calls `mmpose_name` (its own name where it is unknown)."""
    return _BY_MMPOSE.get(mmpose_name, mmpose_name)
