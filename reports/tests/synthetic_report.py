"""A synthetic study for the tests of the reports: two stages with every kind of row, no ledger behind it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from posestudy.ledger.records import (
    AttemptRecord,
    CellRecord,
    Snapshot,
    StageRecord,
    StudyRecord,
    TrialRecord,
    ValueRecord,
)
from posestudy.vocabulary import AttemptEnd, Outcome, TrialState
from posestudy_reports.report import StudyReport
from posestudy_reports.saved_matches import SavedMatches
from posestudy_reports.saved_pictures import SavedPictures

NASTY = r'<script>alert("1")</script> 50%_$&#{}~^\ | `x` *b* [a](b) ü 猫'
CREATED = 1_780_000_000.0


def config(**levels: Any) -> dict[str, Any]:
    """A nested configuration with a learning rate of 1e-4 and sigma 1 unless told otherwise."""
    return {
        "model": "resnet_tiny",
        "input_size": [64, 64],
        "sigma": levels.get("sigma", 1.0),
        "epochs": 20,
        "batch_size": 16,
        "optimizer": {"type": "Adam", "lr": levels.get("lr", 1e-4)},
    }


class Builder:
    """Collects rows with running ids; the order of calls is the order in the study."""

    def __init__(self, name: str = "cats_small", **document: Any) -> None:
        document = {"metric": "coco/AP", "stages": [], **document}
        self.study = StudyRecord(1, name, document, "", "closed", CREATED)
        self.stages: list[StageRecord] = []
        self.cells: list[CellRecord] = []
        self.trials: list[TrialRecord] = []
        self.values: list[ValueRecord] = []
        self.attempts: list[AttemptRecord] = []

    def stage(self, name: str, design: str = "variants", **fields: Any) -> None:
        n = len(self.stages)
        fields = {"baseline": "baseline", "carried": None, "carry_reason": None, "state": "closed", **fields}
        self.stages.append(StageRecord(n + 1, 1, n, name, design, version=1, start=config(), **fields))

    def cell(self, name: str, levels: dict[str, Any], *, label: str = "", note: str = "", key: str = "") -> None:
        n, stage = len(self.cells) + 1, self.stages[-1]
        place = sum(c.stage_id == stage.id for c in self.cells)
        resolved = config(**{k.rpartition(".")[2]: v for k, v in levels.items()})
        self.cells.append(CellRecord(n, stage.id, place, name, label, note, key or f"{n:064x}", levels, resolved))

    def trial(
        self,
        outcome: Outcome | None = Outcome.COMPLETED,
        scores: tuple[float, ...] = (),
        *,
        seed: int = 0,
        state: TrialState = TrialState.DONE,
        provenance: dict[str, Any] | None = None,
        **fields: Any,
    ) -> None:
        """A trial of the last cell, evaluated every fifth epoch with `scores`; `fields` are taken as they are."""
        n = len(self.trials) + 1
        uid = f"{n:032x}"
        epochs = [5 * (i + 1) for i in range(len(scores))]
        pairs = list(zip(scores, epochs, strict=True))
        measured = bool(pairs) and outcome in (Outcome.COMPLETED, Outcome.PRUNED, Outcome.TIMED_OUT)
        best = max(pairs, key=lambda p: p[0]) if measured else (None, None)
        last = pairs[-1] if measured else (None, None)
        record = TrialRecord(
            uid=uid, study_id=1, cell_id=self.cells[-1].id, number=n, seed=seed, state=state, outcome=outcome,
            message=None, fence=1, owner=None, lease_until=None, ckpt_path=None, ckpt_sha=None,
            ckpt_epoch=epochs[-1] if epochs else 0, prev_path=None, prev_sha=None, prev_epoch=0, decision=None,
            optuna={}, final_value=last[0], final_epoch=last[1], best_value=best[0], best_epoch=best[1],
            started=CREATED, ended=CREATED + 60, duration_s=40.0 + n if scores else None,
            peak_memory_mb=512.0, provenance=provenance or {"torch": "2.13.0"},
        )  # fmt: skip
        self.trials.append(replace(record, **fields))
        for value, epoch in pairs:
            metrics = {"coco/AP": value, "loss": 0.01 / epoch}
            self.values.append(ValueRecord(uid, epoch, metrics, CREATED + epoch, 1))
        self.attempts.append(AttemptRecord(uid, 1, "host:1", CREATED, CREATED + 60, AttemptEnd.FINISHED, None))

    def report(
        self,
        saved: SavedMatches | None = None,
        disk_bytes: int | None = None,
        pictures: SavedPictures | None = None,
        **study: Any,
    ) -> StudyReport:
        rows = (self.stages, self.cells, self.trials, self.values, self.attempts)
        snapshot = Snapshot(replace(self.study, **study), *(tuple(r) for r in rows))
        runs = {t.uid: f"{t.number:032x}"[::-1] for t in self.trials if t.number % 2}
        return StudyReport(snapshot, runs, saved, disk_bytes, pictures)


def finished() -> Builder:
    """Replicates, a best and a second, out of memory, diverged, pruned, a failed replicate, a joint change."""
    study = Builder(description="Which learning rate and which sigma suit drawn cats.")
    study.stage("lr", carried="lr_3e-3", carry_reason="best final AP, 0.451 against 0.107")
    study.cell("baseline", {}, note="As the students began")
    for seed, top in enumerate((0.101, 0.112, 0.108)):
        study.trial(scores=(0.0, 0.02, 0.07, top), seed=seed)
    study.cell("lr_1e-3", {"optimizer.lr": 1e-3}, label="1e-3")
    study.trial(scores=(0.05, 0.21, 0.33, 0.38))
    study.cell("lr_3e-3", {"optimizer.lr": 3e-3}, label="3e-3", note="Thirty times the rate")
    for seed, top in enumerate((0.452, 0.449, 0.452)):
        study.trial(scores=(0.09, 0.29, 0.46, top), seed=seed)
    study.cell("lr_1", {"optimizer.lr": 1.0})
    study.trial(Outcome.DIVERGED, (0.0,))
    study.cell("large", {"optimizer.lr": 1e-3, "sigma": 3.0})
    study.trial(Outcome.OUT_OF_MEMORY)
    study.stage("sigma", design="grid", carried="sigma_2", carry_reason="best final AP")
    study.cell("baseline", {})
    study.trial(scores=(0.09, 0.29, 0.46, 0.45))
    study.cell("sigma_2", {"sigma": 2.0})
    study.trial(scores=(0.1, 0.3, 0.47, 0.481))
    study.trial(Outcome.FAILED, seed=1)
    study.cell("sigma_3", {"sigma": 3.0})
    study.trial(Outcome.PRUNED, (0.04, 0.08))
    return study


def unfinished() -> Builder:
    """One stage open: a trial running after two evaluations, one just begun, one waiting; a stage to come."""
    study = Builder(stages=[{"name": "lr"}, {"name": "sigma"}])
    study.stage("lr", state="open")
    study.cell("baseline", {})
    study.trial(scores=(0.01, 0.02, 0.07, 0.1))
    study.cell("lr_1e-3", {"optimizer.lr": 1e-3})
    study.trial(None, (0.05, 0.21), state=TrialState.RUNNING)
    study.cell("lr_3e-3", {"optimizer.lr": 3e-3})
    study.trial(None, state=TrialState.RUNNING)
    study.cell("lr_1e-2", {"optimizer.lr": 1e-2})
    study.trial(None, state=TrialState.WAITING)
    return study


def nasty() -> Builder:
    """Every text a user chooses is `NASTY`."""
    study = Builder(description=NASTY, report={"title": NASTY, "authors": [NASTY]})
    study.stage(NASTY, carried="b", carry_reason=NASTY)
    study.cell("baseline", {}, label=NASTY, note=NASTY)
    study.trial(scores=(0.1, 0.2))
    study.cell("b", {"optimizer.type": NASTY}, label="=SUM(A1)", note="+1\nsecond line")
    study.trial(scores=(0.1, 0.3))
    return study
