"""What one trial looks like as an MLflow run: a pure function of ledger rows, so that sending it twice is harmless."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from posestudy.ledger.records import CellRecord, Json, Snapshot, StageRecord, StudyRecord, TrialRecord, ValueRecord
from posestudy.projections.standing import best_trial, metric_of
from posestudy.vocabulary import Outcome, TrialState

TRIAL_TAG = "posestudy.trial"
STAGE_TAG = "posestudy.stage"
STUDY_TAG = "posestudy.study"
KIND_TAG = "posestudy.kind"
BEST_TAG = "posestudy.best"
NOTE_TAG = "mlflow.note.content"
PARENT_TAG = "mlflow.parentRunId"
STAR = "★ "

# Limits of MLflow's own validation (mlflow.utils.validation).
PARAM_LIMIT = 6000
TAG_LIMIT = 8000
KEY_LIMIT = 250

SYSTEM_METRICS = frozenset(
    {"memory_mb", "epoch_time_s", "data_time_s", "iteration_time_s", "validation_time_s", "cpu_percent"}
)
"""Ledger values that MLflow's UI shall show in its System metrics tab, which lists what begins with `system/`."""

_ILLEGAL = re.compile(r"[^/\w.\- :]")
_PROVENANCE = ("git_commit", "torch", "mmpose", "device_name", "amp_dtype", "data_path")

_PROFILED = (
    "parameters",
    "trainable_parameters",
    "gmacs",
    "gflops",
    "latency_p50_ms",
    "latency_p95_ms",
    "fps",
    "peak_memory_mb",
)
"""Of `TrialRecord.profile`: the numbers MLflow shows as metrics, under `profile/`."""

# KILLED says that somebody or something stopped the trial before its end; the exact word is the tag posestudy.outcome.
_STATUS = {
    Outcome.COMPLETED: "FINISHED",
    Outcome.NOT_CONVERGED: "FINISHED",
    Outcome.PRUNED: "KILLED",
    Outcome.TIMED_OUT: "KILLED",
    Outcome.CANCELLED: "KILLED",
    Outcome.OUT_OF_MEMORY: "FAILED",
    Outcome.DIVERGED: "FAILED",
    Outcome.FAILED: "FAILED",
}


@dataclass(frozen=True)
class Point:
    """One value of one metric; `timestamp` in milliseconds since the epoch, from the ledger and never the clock."""

    key: str
    value: float
    timestamp: int
    step: int


@dataclass(frozen=True)
class RunCard:
    """One MLflow run as it ought to be; times in milliseconds since the epoch.

    Attributes:
        fence: of the last attempt; its folder holds the artifacts.
        points: per-epoch metrics in order of epoch.
        summary: points known only once the trial is done (`best/METRIC`, `profile/...`).
        best: whether this is the study's best trial.
    """

    uid: str
    number: int
    stage: str
    fence: int
    name: str
    status: str
    started: int | None
    ended: int | None
    tags: Mapping[str, str]
    params: Mapping[str, str]
    points: tuple[Point, ...]
    summary: tuple[Point, ...]
    best: bool

    @property
    def done(self) -> bool:
        return self.ended is not None

    @property
    def last_epoch(self) -> int:
        return self.points[-1].step if self.points else 0

    def history(self, epoch: int) -> str:
        """Digest of the points up to `epoch`: differs where the ledger's past was replaced (a retried trial)."""
        return digest([(p.key, p.value, p.timestamp, p.step) for p in self.points if p.step <= epoch])

    def face(self) -> str:
        """Digest of all but the per-epoch points."""
        return digest(
            [self.name, self.status, self.ended, self.fence, sorted(self.tags.items()), sorted(self.params.items())]
        )


def digest(value: Any) -> str:
    """16 hexadecimal digits of the canonical JSON of `value`."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def cut(text: str, limit: int) -> str:
    """`text` in at most `limit` characters, with an ellipsis where something is left off."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def legal_name(name: str) -> str:
    """`name` as MLflow accepts it for a metric or parameter: no odd characters, not like a path with `..` or `//`."""
    cleaned = _ILLEGAL.sub("_", name)
    cleaned = posixpath.normpath(cleaned).lstrip("/") if cleaned else "_"
    cleaned = "/".join("_" if part in ("", ".", "..") else part for part in cleaned.split("/"))
    return cleaned[:KEY_LIMIT]


def metric_name(name: str) -> str:
    """MLflow's name of the ledger value `name`."""
    return f"system/{name}" if name in SYSTEM_METRICS else legal_name(name)


def factor_text(value: Any) -> str:
    """A level as a reader would write it in the study file."""
    if isinstance(value, str):
        return value or '""'
    return "none" if value is None else json.dumps(value)


def flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted factor names and their levels as text; lists and empty mappings stay whole."""
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{name}.")
        else:
            yield name, factor_text(value)


def cards(snapshot: Snapshot) -> list[RunCard]:
    """A card for every trial that was ever started or is done, the best one last.

    The best comes last so that, when the title moves, the old holder loses its star before the new one gets it.
    """
    stages = {stage.id: stage for stage in snapshot.stages}
    cells = {cell.id: cell for cell in snapshot.cells}
    values: dict[str, list[ValueRecord]] = {}
    for row in snapshot.values:
        values.setdefault(row.trial_uid, []).append(row)
    fences: dict[str, int] = {}
    for attempt in snapshot.attempts:
        fences[attempt.trial_uid] = max(attempt.fence, fences.get(attempt.trial_uid, 0))
    best = best_trial(snapshot)
    made = []
    for trial in snapshot.trials:
        if trial.state is TrialState.WAITING and trial.never_claimed:
            continue
        cell = cells[trial.cell_id]
        rows = sorted(values.get(trial.uid, ()), key=lambda row: row.epoch)
        # A cancelled trial's own fence is beyond its last attempt's.
        fence = fences.get(trial.uid, trial.fence)
        made.append(_card(snapshot.study, stages[cell.stage_id], cell, trial, rows, fence, trial.uid == best))
    return sorted(made, key=lambda card: (card.best, card.number))


def _card(
    study: StudyRecord,
    stage: StageRecord,
    cell: CellRecord,
    trial: TrialRecord,
    values: Sequence[ValueRecord],
    fence: int,
    best: bool,
) -> RunCard:
    done = trial.state is TrialState.DONE
    name = f"#{trial.number} {cell.name} seed {trial.seed}"
    return RunCard(
        uid=trial.uid,
        number=trial.number,
        stage=stage.name,
        fence=fence,
        name=cut(STAR + name if best else name, KEY_LIMIT),
        status=_status(trial),
        started=_ms(trial.started),
        ended=_ms(trial.ended or trial.started or study.created) if done else None,
        tags=_tags(study, stage, cell, trial, best),
        params=_params(cell.config, trial.seed),
        points=tuple(_points(values)),
        summary=tuple(_summary(study, trial, values)) if done else (),
        best=best,
    )


def _status(trial: TrialRecord) -> str:
    if trial.state is TrialState.DONE:
        return _STATUS[trial.outcome] if trial.outcome else "FAILED"
    return "RUNNING" if trial.state is TrialState.RUNNING else "SCHEDULED"


def _tags(study: StudyRecord, stage: StageRecord, cell: CellRecord, trial: TrialRecord, best: bool) -> dict[str, str]:
    tags = {
        KIND_TAG: "trial",
        TRIAL_TAG: trial.uid,
        "posestudy.study": study.name,
        STAGE_TAG: stage.name,
        "posestudy.cell": cell.name,
        "posestudy.seed": str(trial.seed),
        "posestudy.number": str(trial.number),
        NOTE_TAG: _note(cell, trial),
        "mlflow.source.name": "posestudy",
    }
    if trial.state is TrialState.DONE and trial.outcome:
        tags["posestudy.outcome"] = str(trial.outcome)
    if trial.source is not None:
        tags["posestudy.source"] = str(trial.source.get("kind", ""))
        tags["posestudy.source_trial"] = str(trial.source.get("uid", ""))
    if best:
        tags[BEST_TAG] = "true"
    for key in _PROVENANCE:
        if trial.provenance.get(key):
            tags[f"posestudy.{key}"] = str(trial.provenance[key])
    if trial.profile is not None:
        # A latency says nothing without what it was measured on.
        tags["posestudy.profiled_on"] = _place(trial.profile)
    if trial.provenance.get("git_commit"):
        tags["mlflow.source.git.commit"] = str(trial.provenance["git_commit"])
    return {key: cut(value, TAG_LIMIT) for key, value in tags.items() if value}


def _place(profile: Json) -> str:
    width, height = profile["input"]
    threads = "" if str(profile["device"]).startswith("cuda") else f", {profile['threads']} threads"
    return f"{profile['device_name']}{threads}, batch {profile['batch']}, {width} x {height} px"


def _note(cell: CellRecord, trial: TrialRecord) -> str:
    head = ": ".join(part for part in (cell.label, cell.note) if part)
    return "\n\n".join(part for part in (head, trial.message or "") if part)


def _params(config: Json, seed: int) -> dict[str, str]:
    factors: Iterable[tuple[str, str]] = [*flatten(config), ("seed", str(seed))]
    return {legal_name(name): cut(text, PARAM_LIMIT) for name, text in factors}


def _points(values: Sequence[ValueRecord]) -> Iterator[Point]:
    for row in values:
        for name, value in sorted(row.metrics.items()):
            if value is not None:
                yield Point(metric_name(name), float(value), int(row.ts * 1000), row.epoch)


def _summary(study: StudyRecord, trial: TrialRecord, values: Sequence[ValueRecord]) -> Iterator[Point]:
    # MLflow's run table shows the last value of a metric; without this the best one could not be sorted by.
    if trial.best_value is not None and trial.best_epoch is not None:
        times = {row.epoch: row.ts for row in values}
        at = times.get(trial.best_epoch, trial.ended or study.created)
        yield Point(legal_name(f"best/{metric_of(study).name}"), trial.best_value, int(at * 1000), trial.best_epoch)
    at = trial.ended or study.created
    for name in _PROFILED:
        number = (trial.profile or {}).get(name)
        if number is not None:
            yield Point(f"profile/{name}", float(number), int(at * 1000), trial.final_epoch or 0)


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1000)
