"""What the study had found by when: trials in order of their end, with the device time spent and the best so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from posestudy.ledger.records import TrialRecord
from posestudy.vocabulary import Direction, Metric, Outcome, TrialState
from posestudy_reports import words
from posestudy_reports.device_time import Device, device_kind
from posestudy_reports.results import StudyResult
from posestudy_studies.asked_gpus import gpus_of

_FEWEST: Final = 6


@dataclass(frozen=True)
class Finish:
    """A trial of this study that has ended.

    Attributes:
        order: its place among them, from 1, by the ledger's time of its end.
        spent: device seconds of all trials that had ended by then, this one among them.
        value: the final metric; None where the trial has none that counts.
        ending: how it ended, in words.
        best: the best value so far; None before the first.
        improves: whether its value is that best.
    """

    uid: str
    number: int
    seed: int
    stage: str
    label: str
    order: int
    ended: float
    seconds: float | None
    spent: float
    value: float | None
    ending: str
    best: float | None
    improves: bool


@dataclass(frozen=True)
class History:
    """The trials that were run for this study, in order of their end; not those whose result was known before.

    Attributes:
        device: what they ran on; empty where that differs or is not known.
        stages: names of those that have any, in order.
        untimed: numbers of the trials whose device time is not known: they count as none.
        elsewhere: how many trials are left out because their result was reused or imported.
    """

    finishes: tuple[Finish, ...]
    device: Device
    stages: tuple[str, ...]
    untimed: tuple[int, ...] = ()
    elsewhere: int = 0

    @property
    def total(self) -> float:
        """Device seconds."""
        return self.finishes[-1].spent


def history(result: StudyResult) -> History | None:
    """None where it says nothing: fewer than six trials that ended here, all at once, or fewer than two values."""
    owners = {trial.uid: (stage, cell) for stage in result.stages for cell in stage.cells for trial in cell.trials}
    counted = {t.uid for stage in result.stages for cell in stage.cells for t in cell.completed}
    done = [t for t in result.snapshot.trials if t.state is TrialState.DONE and t.uid in owners]
    own = [t for t in done if t.source is None and t.ended is not None and t.outcome is not Outcome.CANCELLED]
    own.sort(key=lambda t: (t.ended or 0.0, t.number))
    better = result.metric.direction.better
    gpus = {cell.id: gpus_of(cell.config) for cell in result.snapshot.cells}
    finishes: list[Finish] = []
    spent, best = 0.0, None
    for order, trial in enumerate(own, start=1):
        stage, cell = owners[trial.uid]
        spent += (trial.duration_s or 0.0) * gpus[trial.cell_id]
        value = trial.final_value if trial.uid in counted else None
        improves = value is not None and (best is None or better(value, best))
        best = value if improves else best
        finishes.append(
            Finish(
                trial.uid,
                trial.number,
                trial.seed,
                stage.stage.name,
                cell.label,
                order,
                trial.ended or 0.0,
                trial.duration_s,
                spent,
                value,
                _ending(trial, counted=trial.uid in counted),
                best,
                improves,
            )
        )
    ends = {f.ended for f in finishes}
    if len(finishes) < _FEWEST or len(ends) < 2 or sum(f.value is not None for f in finishes) < 2:
        return None
    stages = tuple(dict.fromkeys(stage.stage.name for stage in result.stages))
    return History(
        tuple(finishes),
        device_kind(own),
        tuple(name for name in stages if any(f.stage == name for f in finishes)),
        tuple(t.number for t in own if t.duration_s is None),
        sum(t.source is not None for t in done),
    )


def _ending(trial: TrialRecord, *, counted: bool) -> str:
    if trial.outcome is None or (trial.outcome is Outcome.COMPLETED and not counted):
        return "no value"
    return words.OUTCOMES[trial.outcome]


def caption(found: History, metric: Metric, *, over_time: bool) -> str:
    """What the figure shows, in sentences."""
    less = " (less is better)" if metric.direction is Direction.LESS else ""
    where = f"{found.device} " if found.device else "device "
    by = f"against the {where}time spent by then" if over_time else "in order of its end"
    text = f"Final {metric.short}{less} of every trial {by}, a point each, and the best so far (line)."
    if any(f.value is None for f in found.finishes):
        text += " Crosses: trials without a value."
    if over_time and found.untimed:
        numbers = words.listing([str(n) for n in found.untimed[:12]])
        more = f" and {len(found.untimed) - 12} more" if len(found.untimed) > 12 else ""
        text += f" No time is known of No. {numbers}{more}, counted as none."
    if found.elsewhere:
        text += f" Left out: {words.count(found.elsewhere, 'trial')} whose result was reused or imported."
    return text
