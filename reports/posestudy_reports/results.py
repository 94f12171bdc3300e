"""The rows of a snapshot put together: each cell with its trials, each stage with its baseline."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from posestudy.ledger.records import CellRecord, Snapshot, StageRecord, TrialRecord, ValueRecord
from posestudy.ledger.value_columns import ValueColumns
from posestudy.vocabulary import METRICS, Direction, Metric, Outcome, TrialState
from posestudy_reports import words
from posestudy_studies.joint import factors_at_once
from posestudy_studies.losses import USUAL

# A trial that ended in one of these measured nothing that may stand beside a completed one, or nothing at all.
WITHOUT_NUMBERS = frozenset(
    {Outcome.OUT_OF_MEMORY, Outcome.DIVERGED, Outcome.NOT_CONVERGED, Outcome.FAILED, Outcome.CANCELLED}
)


@dataclass(frozen=True)
class Spread:
    """A metric over the replicates of a cell: mean, smallest, largest, and the epochs they were taken at."""

    mean: float
    low: float
    high: float
    count: int
    epochs: tuple[int, int]

    @classmethod
    def of(cls, pairs: Sequence[tuple[float, int]]) -> Spread | None:
        """Of (value, epoch) pairs; None where there are none."""
        if not pairs:
            return None
        values, epochs = [v for v, _ in pairs], [e for _, e in pairs]
        # fsum: means of the same values in another order must be the same, or ties look like differences.
        return cls(math.fsum(values) / len(values), min(values), max(values), len(values), (min(epochs), max(epochs)))


def uncontested(trial: TrialRecord) -> str:
    """Nothing is known against the recorded value of `trial`."""
    del trial
    return ""


@dataclass(frozen=True)
class CellResult:
    """A cell and its trials, in order of number; `contradiction` says what speaks against a trial's recorded value."""

    cell: CellRecord
    trials: tuple[TrialRecord, ...]
    contradiction: Callable[[TrialRecord], str] = uncontested

    @property
    def label(self) -> str:
        return self.cell.label or self.cell.name

    @cached_property
    def completed(self) -> tuple[TrialRecord, ...]:
        """Those with a final value that nothing contradicts: what every number of the cell is made of."""
        found = (t for t in self.trials if t.outcome is Outcome.COMPLETED and t.final_value is not None)
        return tuple(t for t in found if not self.contradiction(t))

    @cached_property
    def contradicted(self) -> Mapping[int, str]:
        """By number of the trial, what speaks against its recorded value."""
        return {t.number: why for t in self.trials if (why := self.contradiction(t))}

    @cached_property
    def finals(self) -> tuple[float, ...]:
        """The final value of each completed replicate, in order of number."""
        return tuple(t.final_value for t in self.completed if t.final_value is not None)

    @cached_property
    def open(self) -> tuple[TrialRecord, ...]:
        return tuple(t for t in self.trials if t.state is not TrialState.DONE)

    @cached_property
    def final(self) -> Spread | None:
        """The metric at the last epoch, over completed trials."""
        return Spread.of([(t.final_value, t.final_epoch or 0) for t in self.completed if t.final_value is not None])

    @cached_property
    def best(self) -> Spread | None:
        """The best of the evaluated epochs, over completed trials."""
        return Spread.of([(t.best_value, t.best_epoch or 0) for t in self.completed if t.best_value is not None])


@dataclass(frozen=True)
class StageResult:
    """A stage, its cells in order, and the one that differences are taken against (None where it is not known)."""

    stage: StageRecord
    cells: tuple[CellResult, ...]
    baseline: CellResult | None
    declared: Mapping[str, Any] = field(default_factory=dict)
    """What the study file says of the stage."""

    @cached_property
    def factors(self) -> tuple[str, ...]:
        """Every factor a cell of the stage sets, in order of first use."""
        return tuple(dict.fromkeys(name for c in self.cells for name in c.cell.levels))

    def named(self, name: str | None) -> CellResult | None:
        return next((c for c in self.cells if c.cell.name == name), None)

    @property
    def reason(self) -> str:
        """Why the carried cell was carried, without its name before and the full stop behind; may be empty, and is
        where a value it was decided by is contradicted now."""
        if any(cell.contradicted for cell in self.cells):
            return ""
        return self.stage.carried_because.removeprefix(f"{self.stage.carried}: ").rstrip(".")

    def delta(self, result: CellResult) -> float | None:
        """Mean final metric of `result` minus the baseline's; None for the baseline itself and without numbers."""
        if self.baseline is None or result is self.baseline or result.final is None or self.baseline.final is None:
            return None
        return result.final.mean - self.baseline.final.mean

    def changed(self, result: CellResult) -> tuple[str, ...]:
        """The factors in which `result` differs from the baseline's configuration."""
        reference = self.baseline.cell.config if self.baseline else self.stage.start
        return tuple(n for n in result.cell.levels if at(reference, n) != at(result.cell.config, n))

    def joint(self, result: CellResult) -> bool:
        """Whether several factors differ at once, where those that the study declares `as_one` count as one."""
        return bool(factors_at_once(self.changed(result), self.declared.get("as_one") or ()))

    def combination(self, result: CellResult) -> tuple[str, ...]:
        """The labels of the variants that a cell of `one_at_a_time` puts together; empty for any other cell."""
        parts = {name: self.named(name) for name in self._combined.get(result.cell.name, ())}
        return tuple(part.label if part else name for name, part in parts.items())

    @cached_property
    def _combined(self) -> Mapping[str, Sequence[str]]:
        """By cell, the names of the variants the study file puts together in it."""
        if self.stage.design != "one_at_a_time":
            return {}
        combine, variants = self.declared.get("combine") or (), self.declared.get("variants") or {}
        found = {name: entry["combine"] for name, entry in variants.items() if entry.get("combine")}
        if isinstance(combine, Mapping):
            return found | {name: entry["of"] for name, entry in combine.items()}
        return found | {"-".join(of): of for of in combine}


@dataclass(frozen=True)
class StudyResult:
    """A study at one moment; `runs` maps trial uids to MLflow run ids.

    Attributes:
        contradiction: what speaks against the recorded value of a trial; empty where nothing does.
        evaluated_again: by uid, metrics of the final epoch that go before those of the ledger.
    """

    snapshot: Snapshot
    runs: Mapping[str, str]
    contradiction: Callable[[TrialRecord], str] = uncontested
    evaluated_again: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @cached_property
    def metric(self) -> Metric:
        name = str(self.snapshot.study.document.get("metric", "coco/AP"))
        return METRICS.get(name) or Metric(name, "1", Direction.MORE, name, name)

    @cached_property
    def stages(self) -> tuple[StageResult, ...]:
        trials: dict[int, list[TrialRecord]] = {}
        for trial in self.snapshot.trials:
            trials.setdefault(trial.cell_id, []).append(trial)
        cells: dict[int, list[CellResult]] = {}
        for cell in self.snapshot.cells:
            mine = sorted(trials.get(cell.id, ()), key=lambda t: t.number)
            cells.setdefault(cell.stage_id, []).append(CellResult(cell, tuple(mine), self.contradiction))
        stages = []
        for stage in sorted(self.snapshot.stages, key=lambda s: s.ordinal):
            mine_too = tuple(sorted(cells.get(stage.id, ()), key=lambda c: c.cell.ordinal))
            baseline = next((c for c in mine_too if c.cell.name == stage.baseline), None)
            stages.append(StageResult(stage, mine_too, baseline, self._declared.get(stage.name, {})))
        return tuple(stages)

    @cached_property
    def _declared(self) -> Mapping[str, Mapping[str, Any]]:
        """What the study file says of each stage, by its name."""
        declared = self.snapshot.study.document.get("stages") or []
        return {str(s["name"]): s for s in declared if isinstance(s, Mapping) and "name" in s}

    def contradicting(self, stage: StageResult) -> CellResult | None:
        """The cell that is better by all seeds than the one `stage` carried as its best; None where there is none."""
        following = list(self._declared.values())[stage.stage.ordinal + 1 :]
        carried = stage.named(stage.stage.carried)
        if carried is None or carried.final is None or (following and following[0].get("carry", "best") != "best"):
            return None
        better = carried
        for cell in stage.cells:
            leads = better.final and cell.final and self.metric.direction.better(cell.final.mean, better.final.mean)
            better = cell if leads else better
        return None if better is carried else better

    def level(self, config: Mapping[str, Any], factor: str) -> Any:
        """The level that `factor` has in effect: of an evaluation that says nothing the study's, of a loss that is not
        named the codec's usual one."""
        level = at(config, factor)
        if level is None and factor.startswith("evaluation."):
            return at(self.snapshot.study.document, factor)
        if level is None and factor == "loss":
            return USUAL.get(str(at(config, "codec.type")))
        return level

    def state(self, trial: TrialRecord) -> str:
        """`out of memory`, `pruned at epoch 6`, `waiting`, `running, epoch 3`, `paused at epoch 5`."""
        last = self.values[trial.uid][-1].epoch if trial.uid in self.values else 0
        if trial.outcome in (Outcome.PRUNED, Outcome.TIMED_OUT) and (last or trial.final_epoch):
            return f"{words.OUTCOMES[trial.outcome]} at epoch {trial.final_epoch or last}"
        if trial.outcome is not None:
            return "contradicted" if self.contradiction(trial) else words.OUTCOMES[trial.outcome]
        if trial.state is TrialState.RUNNING:
            return f"running, epoch {last}" if last else "running"
        if trial.state is TrialState.PAUSED:
            return f"paused at epoch {last}"
        return "waiting"

    @cached_property
    def values(self) -> Mapping[str, tuple[ValueRecord, ...]]:
        """Values in order of epoch, by trial uid; records are made of those that are asked for."""
        return self.columns.by_trial

    @cached_property
    def columns(self) -> ValueColumns:
        """The values of all trials in columns, in order of trial number and epoch."""
        return ValueColumns.of(self.snapshot.values)

    @cached_property
    def unopened(self) -> tuple[str, ...]:
        """Names of the stages in the study file that have not been opened yet."""
        opened = {s.stage.name for s in self.stages}
        return tuple(name for name in self._declared if name not in opened)

    @cached_property
    def best(self) -> tuple[StageResult, CellResult] | None:
        """The cell with the best mean final metric of the whole study; the earlier of two equal ones."""
        chosen: tuple[StageResult, CellResult] | None = None
        for stage in self.stages:
            for result in stage.cells:
                if result.final is None:
                    continue
                leader = chosen[1].final if chosen else None
                if leader is None or self.metric.direction.better(result.final.mean, leader.mean):
                    chosen = (stage, result)
        return chosen


def at(config: Mapping[str, Any], dotted: str) -> Any:
    """The value at `dotted` (`optimizer.lr`) inside a nested configuration; None where there is none."""
    here: Any = config
    for part in dotted.split("."):
        if not isinstance(here, Mapping) or part not in here:
            return None
        here = here[part]
    return here
