"""The stand-in study: three stages, each built on what the one before carried, with every result known beforehand."""

from __future__ import annotations

import hashlib
import json
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from posestudy.ledger.records import AddSeeds, Change, CloseStage, CloseStudy, NewCell, OpenStage, Snapshot
from posestudy.vocabulary import TrialState

METRIC = "coco/AP"
STAGES = 3
CELLS = 3
SHORT = {"epochs": 8, "epoch_s": 0.06}
LONG = {"epochs": 22, "epoch_s": 0.3}
"""Longer than a lease, so that a trial whose worker is frozen is still training when another takes it over."""


@dataclass(frozen=True)
class Replicate:
    """One trial that the study must end with."""

    stage: int
    cell: str
    seed: int
    epochs: int


def state(cell: str, seed: int, epoch: int) -> str:
    """The weights after `epoch` epochs: a chain, so that they are right only where no epoch was left out or doubled."""
    link = f"{cell}/{seed}"
    for number in range(1, epoch + 1):
        link = hashlib.sha256(f"{link}/{number}".encode()).hexdigest()
    return link


def value(cell: str, seed: int, epoch: int) -> float:
    """What is measured of these weights, in [0, 1)."""
    return int(hashlib.sha256(state(cell, seed, epoch).encode()).hexdigest()[:8], 16) / 2**32


def training(study: str, place: int) -> dict[str, Any]:
    """The configuration of the cell at `place` in its stage."""
    return {"round": study, **(LONG if place == CELLS - 1 else SHORT)}


def names(study: str, stage: int, carried: str) -> list[str]:
    """The cells of a stage that starts from the cell `carried`."""
    return [f"{study}.{stage}{place}.{hashlib.sha256(carried.encode()).hexdigest()[:4]}" for place in range(CELLS)]


def best(study: str, cells: Sequence[str]) -> str:
    """The cell that a stage carries: the best final value of the first seed."""
    return max(cells, key=lambda cell: value(cell, 0, training(study, cells.index(cell))["epochs"]))


def replicates(study: str) -> list[Replicate]:
    """Every trial of the study, known before it runs: each cell with seed 0, each stage's best with seed 1 too."""
    found, carried = [], ""
    for stage in range(STAGES):
        cells = names(study, stage, carried)
        carried = best(study, cells)
        for place, cell in enumerate(cells):
            seeds = (0, 1) if cell == carried else (0,)
            found += [Replicate(stage, cell, seed, training(study, place)["epochs"]) for seed in seeds]
    return found


def document(study: str) -> dict[str, Any]:
    """What is put into the ledger."""
    return {"study": study, "metric": METRIC, "reuse": "none", "ladder": True}


def advance(snapshot: Snapshot) -> list[Change]:
    """The next step, computed slowly, so that several processes compute the same one at the same time."""
    time.sleep(random.Random(os.getpid() ^ time.monotonic_ns()).uniform(0.0, 0.2))
    name = snapshot.study.name
    if not snapshot.stages:
        return [_open(name, 0, "")]
    last = snapshot.stages[-1]
    cells = [cell for cell in snapshot.cells if cell.stage_id == last.id]
    if last.state == "closed":
        return [CloseStudy()] if last.ordinal >= STAGES - 1 else [_open(name, last.ordinal + 1, last.carried or "")]
    of_last = {cell.id for cell in cells}
    trials = [trial for trial in snapshot.trials if trial.cell_id in of_last]
    if any(trial.state is not TrialState.DONE for trial in trials):
        return []
    finals = {cell.name: t.final_value for t in trials for cell in cells if t.cell_id == cell.id and t.seed == 0}
    carried = max(finals, key=lambda cell: finals[cell] or 0.0)
    if len(trials) == len(cells):
        return [AddSeeds(last.id, last.version, {carried: (1,)})]
    return [CloseStage(last.id, last.version, carried, "the best final value")]


def _open(study: str, ordinal: int, carried: str) -> OpenStage:
    cells = names(study, ordinal, carried)
    made = [_cell(study, place, name) for place, name in enumerate(cells)]
    return OpenStage(ordinal, f"stage {ordinal}", "variants", cells[0], {}, tuple(made))


def _cell(study: str, place: int, name: str) -> NewCell:
    config = training(study, place)
    key = hashlib.sha256(json.dumps([name, config]).encode()).hexdigest()
    return NewCell(name, name, "", key, {"place": place}, config, (0,))
