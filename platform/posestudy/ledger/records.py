"""What the ledger holds, as plain immutable rows: the only shape in which other parts see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from posestudy.vocabulary import AttemptEnd, Direction, Outcome, Purpose, TrialState

Json = dict[str, Any]

RESTORED_FENCES = 1000
"""Fences of a restored ledger go on from the next multiple of this: workers of the old one have granted fewer since."""


@dataclass(frozen=True)
class StudyRecord:
    """One study.

    Attributes:
        document: the resolved study file as JSON (`posestudy_studies.spec.Study.model_dump(mode="json")`).
        source: the YAML text as the user wrote it.
        state: `open` while a stage may still open or a trial may still run, else `closed`.
        created: seconds since the epoch, the database's clock.
        estimate: what `plan` expected when the study was first launched (`posestudy_studies.costs`); None: nothing.
    """

    id: int
    name: str
    document: Json
    source: str
    state: str
    created: float
    estimate: Json | None = None


@dataclass(frozen=True)
class StageRecord:
    """One stage. `version` grows with every change and is what `advance` compares and sets.

    Attributes:
        baseline: name of the cell that differences are taken against.
        carried: name of the cell the next stage starts from, once the stage is closed (None: `start` itself).
        carry_reason: its first line says why; each further line is a decision about the stage: see `decisions`.
        start: the configuration the stage started from, nested as `CellRecord.config`.
    """

    id: int
    study_id: int
    ordinal: int
    name: str
    design: str
    state: str  # open | closed
    version: int
    baseline: str | None
    start: Json
    carried: str | None
    carry_reason: str | None

    @staticmethod
    def reasons(carried_because: str, decisions: Sequence[str]) -> str | None:
        """A `carry_reason` of these; each is put on one line."""
        lines = [" ".join(text.split("\n")) for text in (carried_because, *decisions)]
        return "\n".join(lines) if any(lines) else None

    @property
    def carried_because(self) -> str:
        """Why the stage carried what it carried; empty while it is open."""
        return (self.carry_reason or "").partition("\n")[0]

    @property
    def decisions(self) -> tuple[str, ...]:
        """What was decided about the stage beside its carry, oldest first: its noise floor, why it was stopped."""
        return tuple((self.carry_reason or "").split("\n")[1:])


@dataclass(frozen=True)
class CellRecord:
    """One configuration of one stage: a row of a table.

    Attributes:
        name: unique in its stage, a safe path part.
        label, note: the author's row label and policy text; shown, never interpreted.
        key: sha256 of canonical JSON of `config` and the data fingerprint, without the seed.
        levels: the factors this cell sets, `{factor: level}`; empty for the baseline.
        config: the resolved training configuration, nested as `baseline` of the study file is.
        training_key: the key without how the cell is evaluated: cells that share it are trained alike. None: a cell
            written before there was one.
    """

    id: int
    stage_id: int
    ordinal: int
    name: str
    label: str
    note: str
    key: str
    levels: Json
    config: Json
    training_key: str | None = None


@dataclass(frozen=True)
class TrialRecord:
    """One replicate of one cell.

    Attributes:
        uid: 32 hexadecimal digits, the address of every number that comes from this trial.
        number: unique in the study, from 1.
        fence: grows with each grant of a lease; 0 before the first.
        ckpt_path: absolute path of the checkpoint to resume from; `ckpt_epoch` epochs are in it.
        prev_path, prev_sha, prev_epoch: the checkpoint before, used where the checksum of the newest is wrong.
        decision: the pruner's last answer, `{"epoch": int, "prune": bool}`, with `"pause": true` where the trial is to
            pause there and was not promoted since; see `posestudy.ledger.paused`.
        optuna: `{"params", "distributions", "system_attrs"}` for trials of a search, else empty.
        final_*, best_*: the study's metric at the last and at the best evaluated epoch.
        duration_s: seconds of training over all attempts; peak_memory_mb: MiB, process or device.
        provenance: torch version, threads, device, host, git commit...: what rows of one table may differ in; of a
            trial that only evaluated another one's weights also `evaluated`: that trial's `{"study", "number", "uid"}`.
        source: where the result of a trial comes from that was not trained here (`KnownResult.source`); None: trained.
        profile: what the network costs to run, as `posestudy_runner.profiling` measured it; None: not measured.
    """

    uid: str
    study_id: int
    cell_id: int
    number: int
    seed: int
    state: TrialState
    outcome: Outcome | None
    message: str | None
    fence: int
    owner: str | None
    lease_until: float | None
    ckpt_path: str | None
    ckpt_sha: str | None
    ckpt_epoch: int
    prev_path: str | None
    prev_sha: str | None
    prev_epoch: int
    decision: Json | None
    optuna: Json
    final_value: float | None
    final_epoch: int | None
    best_value: float | None
    best_epoch: int | None
    started: float | None
    ended: float | None
    duration_s: float | None
    peak_memory_mb: float | None
    provenance: Json = field(default_factory=dict)
    source: Json | None = None
    profile: Json | None = None

    @property
    def is_to_pause(self) -> bool:
        """Whether the pruner let it give way where it stands, and nobody promoted it since."""
        decision = self.decision or {}
        return bool(decision.get("pause")) and self.ckpt_epoch >= int(decision["epoch"])

    @property
    def never_claimed(self) -> bool:
        """Whether no worker ever held it, in this ledger or in the one it was restored from."""
        return self.started is None and self.fence % RESTORED_FENCES == 0

    @property
    def latency_ms(self) -> float | None:
        """Median milliseconds its network takes for one image, by its profile; None: not measured."""
        value = (self.profile or {}).get("latency_p50_ms")
        return float(value) if isinstance(value, int | float) else None


@dataclass(frozen=True)
class ValueRecord:
    """The metrics of one epoch (1-based, counted in finished epochs) of one trial, under ledger names."""

    trial_uid: str
    epoch: int
    metrics: dict[str, float]
    ts: float
    fence: int


@dataclass(frozen=True)
class AttemptRecord:
    """One try at a trial by one worker, under one fence; `why` is a sentence for the user."""

    trial_uid: str
    fence: int
    owner: str
    started: float
    ended: float | None
    end: AttemptEnd | None
    why: str | None


@dataclass(frozen=True)
class Claim:
    """What a worker gets with a lease: all it needs to run the trial without asking again."""

    study: StudyRecord
    stage: StageRecord
    cell: CellRecord
    trial: TrialRecord
    values: tuple[ValueRecord, ...]
    """Values already accepted, in order of epoch."""


@dataclass(frozen=True)
class NewSplitUse:
    """A prediction of the whole test split, to be written down.

    Attributes:
        id: 32 characters of the caller's own, the same where the same prediction is told again.
        images, instances: how many were predicted.
        sha256: of the file of results.
    """

    id: str
    purpose: Purpose
    images: int
    instances: int
    sha256: str


@dataclass(frozen=True)
class SplitUse:
    """A prediction of the test split by the trial `trial_uid`; `ts` is when it was written down. See `NewSplitUse`."""

    id: str
    study_id: int
    trial_uid: str
    ts: float
    purpose: Purpose
    images: int
    instances: int
    sha256: str


@dataclass(frozen=True)
class Snapshot:
    """A study as the ledger holds it at one moment, rows in order (ordinal, number, epoch).

    `values` are `posestudy.ledger.value_columns.ValueColumns` where the ledger was asked for them: records made anew
    each time. `test_uses` are the predictions of the test split, oldest first. `at` is the moment by the database's
    clock, in seconds since the epoch, of a study with a deadline; None for others. `elsewhere` are other studies of the
    same ledger, where one of them is to be begun with.
    """

    study: StudyRecord
    stages: tuple[StageRecord, ...]
    cells: tuple[CellRecord, ...]
    trials: tuple[TrialRecord, ...]
    values: Sequence[ValueRecord]
    attempts: tuple[AttemptRecord, ...]
    test_uses: tuple[SplitUse, ...] = ()
    at: float | None = field(default=None, compare=False)
    elsewhere: tuple[Snapshot, ...] = ()


@dataclass(frozen=True)
class KnownResult:
    """The result of a replicate that need not be trained: its trial is inserted DONE with it.

    Attributes:
        source: `{"kind": "imported", "file", "line", "sha256", "remarks": [str]}`, where `remarks` are contradictions
            in the source, as sentences (with `"elsewhere": true` where its author trained another configuration than
            the cell's); or `{"kind": "reused", "study", "stage", "cell", "number", "uid"}`.
        values: `{epoch: {metric: number}}` under ledger names.
        final_value, ...: as `TrialRecord`'s, as the source states them; they need not follow from `values`.
    """

    outcome: Outcome
    source: Json
    message: str | None = None
    values: dict[int, dict[str, float]] = field(default_factory=dict)
    final_value: float | None = None
    final_epoch: int | None = None
    best_value: float | None = None
    best_epoch: int | None = None
    duration_s: float | None = None
    peak_memory_mb: float | None = None
    provenance: Json = field(default_factory=dict)
    profile: Json | None = None


@dataclass(frozen=True)
class NewCell:
    """A cell to insert, with the seeds of its trials. See `CellRecord` for the fields.

    Attributes:
        known: by seed, results that make training that replicate unnecessary.
    """

    name: str
    label: str
    note: str
    key: str
    levels: Json
    config: Json
    seeds: tuple[int, ...]
    optuna: Json = field(default_factory=dict)
    known: dict[int, KnownResult] = field(default_factory=dict)
    training_key: str | None = None


@dataclass(frozen=True)
class OpenStage:
    """Insert a stage with its first cells (`baseline` names one of them)."""

    ordinal: int
    name: str
    design: str
    baseline: str | None
    start: Json
    cells: tuple[NewCell, ...]


@dataclass(frozen=True)
class AddCells:
    """Insert further cells into an open stage whose version is still `version`."""

    stage_id: int
    version: int
    cells: tuple[NewCell, ...]


@dataclass(frozen=True)
class CloseStage:
    """Close a stage whose version is still `version`, carrying `carried` for the stated reason.

    `carried` is None where the stage hands on what it started from and has no cell of that configuration.
    `decisions` stand in place of those the stage has.
    """

    stage_id: int
    version: int
    carried: str | None
    reason: str
    decisions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decide:
    """Write the decisions about a stage, open or closed, whose version is still `version`, in place of those it has."""

    stage_id: int
    version: int
    decisions: tuple[str, ...]


@dataclass(frozen=True)
class AddSeeds:
    """Give cells of a stage (open or closed) whose version is still `version` further replicates: `{cell: seeds}`."""

    stage_id: int
    version: int
    seeds: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class WithdrawStages:
    """Take the stage `ordinal` and all after it out of the study: its file was edited and says otherwise now.

    Trials that are not done are cancelled. A withdrawn trial goes over to the first cell with the same key and seed
    that a later change inserts, with its uid, number, values and checkpoint; what is never wanted again stays behind.
    """

    ordinal: int


@dataclass(frozen=True)
class Promote:
    """Let the trial `uid`, which paused under `fence`, wait for a worker: it goes on from its checkpoint.

    A trial that has been promoted since, even if it paused once more, is another question: nothing is applied then.
    """

    uid: str
    fence: int


@dataclass(frozen=True)
class EndPaused:
    """End every paused trial of a stage whose version is still `version`: it is pruned where it stands.

    Its final and best value are those of `metric` over the epochs it has.
    """

    stage_id: int
    version: int
    metric: str
    direction: Direction


@dataclass(frozen=True)
class CloseStudy:
    """No further stage: the study is done."""


Change = OpenStage | AddCells | AddSeeds | Promote | EndPaused | CloseStage | Decide | WithdrawStages | CloseStudy


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that is on disk, fsynced and renamed: absolute path, sha256 of the file, finished epochs in it."""

    path: str
    sha: str
    epoch: int


@dataclass(frozen=True)
class TrainedAlike:
    """A finished trial whose weights another one need not train: it only evaluates them.

    Attributes:
        study, number, uid: whose they are; the evaluating trial keeps them as `provenance["evaluated"]`.
        checkpoint: after its last epoch.
    """

    study: str
    number: int
    uid: str
    checkpoint: Checkpoint


@dataclass(frozen=True)
class ProjectedRun:
    """How far one trial has been sent to one projection (`mlflow` or `optuna`).

    Attributes:
        run_id: the projection's own id of it; may change when the projection is rebuilt.
        epoch: values up to here have been sent.
        state: a digest of what else was sent (state, outcome, artifacts), so that a change is seen.
    """

    projection: str
    trial_uid: str
    run_id: str
    epoch: int
    state: str
