"""What every design is: a stage of the study file that knows how to make its cells."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from posestudy.ledger.records import CellRecord, Snapshot, StageRecord, TrialRecord, ValueRecord
from posestudy_studies import mistakes
from posestudy_studies.designs.columns import ColumnsField
from posestudy_studies.designs.conditions import holds
from posestudy_studies.mistakes import Mistake
from posestudy_studies.training import Model, Training, check_name, refuse

Json = dict[str, Any]
BASELINE = "baseline"


@dataclass(frozen=True)
class Proposal:
    """A cell a design wants: the levels it sets on the stage's start; see `records.CellRecord` for the fields."""

    name: str
    levels: Json
    label: str = ""
    note: str = ""
    optuna: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Probe:
    """Levels whose combination must give a valid training configuration.

    Attributes:
        path: the place in the stage that stands for the combination.
        places: the place in the stage of each factor's level.
        when: the configuration that the stage starts from must have these levels (one of them, where it is a list),
            or the combination is none of the stage's; see `designs.conditions.holds`.
    """

    path: mistakes.Path
    levels: Json
    places: Mapping[str, mistakes.Path]
    when: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class View:
    """One stage as the ledger holds it, with the study it belongs to."""

    snapshot: Snapshot
    stage: StageRecord

    @property
    def cells(self) -> list[CellRecord]:
        """The stage's cells in order."""
        return sorted((c for c in self.snapshot.cells if c.stage_id == self.stage.id), key=lambda c: c.ordinal)

    @property
    def trials(self) -> list[TrialRecord]:
        """The stage's trials in order of their number."""
        ids = {cell.id for cell in self.cells}
        return sorted((t for t in self.snapshot.trials if t.cell_id in ids), key=lambda t: t.number)

    def values(self, uid: str) -> list[ValueRecord]:
        """The accepted values of one trial in order of epoch."""
        return list(self._values.get(uid, ()))

    @cached_property
    def _values(self) -> dict[str, list[ValueRecord]]:
        found: dict[str, list[ValueRecord]] = {}
        for row in sorted(self.snapshot.values, key=lambda v: v.epoch):
            found.setdefault(row.trial_uid, []).append(row)
        return found


class Replicates(Model):
    """Which seeds every cell is trained with."""

    seeds: list[int] = Field(
        default_factory=lambda: [0], min_length=1, max_length=1000, description="Seeds, each once."
    )
    when: Literal["always", "unresolved"] = Field(
        "always",
        description="`always`: every cell with every seed. `unresolved`: the first seed for every cell, all of them "
        "for the first baseline, further ones only where two cells cannot be told apart.",
    )
    baseline_first: bool = Field(
        False,
        description="Train the first baseline with all its seeds before any other cell: they tell the noise floor.",
    )

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, value: list[int]) -> list[int]:
        if len(set(value)) != len(value) or any(not 0 <= seed < 2**31 for seed in value):
            raise refuse(str(value), "whole numbers from 0 to 2147483647, each once")
        return value


class OutOfMemory(Model):
    """Further cells where one of the stage ran out of memory with every seed; each is a row of its own."""

    largest_batch: bool = Field(
        False, description="Try ever smaller batches until one fits: the largest batch size that did."
    )
    accumulate: bool = Field(
        False, description="Keep the effective batch: halve the batch and double `accumulate` until it fits."
    )


class RowText(Model):
    """Label and policy text of a row that a design makes from levels."""

    levels: dict[str, Any] = Field(min_length=1, description="The levels that tell the row, as `{epochs: 100}`.")
    label: str = Field("", description="Row label in the tables.")
    note: str = Field("", description="What the row tries, in words.")


class Design(Model):
    """A stage: an ordered part of a study that starts from the configuration it carries.

    A design is a subclass with `design: Literal["its name"]`, its own options as fields and the methods below,
    named by an entry point of the group `posestudy.designs`. All methods are pure: what they know of the
    ledger comes in as a `View`. `posestudy_studies.designs.contract` tests a design of your own.
    """

    name: str = Field(description="Name of the stage, unique in the study.")
    design: str = Field(description="How the stage makes its cells.")
    carry: str = Field(
        "best", description="What to start from: the `best` cell of the stage before, its `baseline`, or a cell's name."
    )
    replicates: Replicates | None = Field(None, description="Seeds of this stage, in place of the study's.")
    include_baseline: bool = Field(True, description="Train the configuration the stage starts from as its first cell.")
    baseline_label: str = Field("", description="Row label of the baseline cell.")
    baseline_note: str = Field("", description="Policy text of the baseline cell.")
    as_one: list[Annotated[list[str], Field(min_length=2)]] = Field(
        default_factory=list,
        description="Groups of factors that count as one, as `[[optimizer.lr, batch_size]]`: changing both together "
        "is then no joint change.",
    )
    out_of_memory: OutOfMemory = Field(
        default_factory=OutOfMemory, description="Further cells where one ran out of memory."
    )
    columns: ColumnsField = Field(default_factory=list)

    _name = field_validator("name")(check_name)

    @abstractmethod
    def opening(self, start: Training) -> list[Proposal]:
        """The cells known when the stage opens, beyond the baseline, in order and with unique names."""

    def following(self, start: Training, view: View) -> list[Proposal]:
        """Further cells, now that the ledger holds `view`; called again after each change."""
        del start, view
        return []

    def complete(self, view: View) -> bool:
        """Whether the stage may close once all its trials are done."""
        del view
        return True

    def combinations(self) -> dict[str, list[str]]:
        """Cells that are declared combinations of other cells, by name."""
        return {}

    def planned(self, start: Training) -> Sequence[tuple[Proposal, bool]]:
        """Every cell the stage may get, with whether its levels are decided already."""
        return [(proposal, True) for proposal in self.opening(start)]

    @abstractmethod
    def probes(self) -> list[Probe]:
        """The combinations of levels to try on the baseline when a study file is checked."""

    def probes_on(self, start: Training) -> list[Probe]:
        """Those among them that a stage with this start may ask for."""
        config = start.model_dump(mode="json")
        return [probe for probe in self.probes() if holds(probe.when, {}, config)]

    def mistakes(self) -> list[Mistake]:
        """What is wrong with the options beyond what their types say; paths are relative to the stage."""
        return []
