"""What to try where a cell ran out of memory: rows of their own, as the stage declares them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from posestudy.ledger.records import CellRecord
from posestudy.vocabulary import Outcome, TrialState
from posestudy_studies import factors
from posestudy_studies.designs.base import Design, Proposal, View
from posestudy_studies.training import Training

STEPS = 8
"""The largest batch that fits is sought in eighths of the one that did not."""
_REMEDY = re.compile(r"(?P<of>.+)-(batch|accumulate)_\d+")
_LONGEST = 60


@dataclass(frozen=True)
class _Standing:
    done: bool
    out_of_memory: bool


def proposals(design: Design, start: Training, view: View) -> list[Proposal]:
    """The next cells that follow from cells of the stage which ran out of memory with every seed.

    `largest_batch` tries batch sizes smaller by an eighth each time until one does not run out of memory: those that
    do end within seconds, so that one training at most is spent. `accumulate` halves the batch and doubles the
    accumulation steps, which keeps the effective batch. Asked again with the same rows it answers the same.
    """
    if not (design.out_of_memory.largest_batch or design.out_of_memory.accumulate):
        return []
    known = {cell.name: cell for cell in view.cells}
    wanted: list[Proposal] = []
    for cell in view.cells:
        if is_remedy(cell.name, known) or not _standing(cell, view).out_of_memory:
            continue
        config = factors.apply(start, cell.levels).model_dump(mode="json")
        if design.out_of_memory.largest_batch:
            wanted += _next(_smaller(cell, config), known, view)
        if design.out_of_memory.accumulate:
            wanted += _next(_accumulated(cell, config), known, view)
    return wanted


def is_remedy(name: str, known: dict[str, CellRecord]) -> bool:
    """Whether the cell `name` was added because another of `known` ran out of memory."""
    match = _REMEDY.fullmatch(name)
    return match is not None and any(cell[:_LONGEST] == match["of"] for cell in known)


def _next(chain: Iterator[Proposal], known: dict[str, CellRecord], view: View) -> list[Proposal]:
    """The first of `chain` that has no cell yet, where all before it ran out of memory."""
    for proposal in chain:
        if proposal.name not in known:
            return [proposal]
        if not _standing(known[proposal.name], view).out_of_memory:
            return []
    return []


def _standing(cell: CellRecord, view: View) -> _Standing:
    trials = [t for t in view.trials if t.cell_id == cell.id]
    done = bool(trials) and all(t.state is TrialState.DONE for t in trials)
    return _Standing(done, done and all(t.outcome is Outcome.OUT_OF_MEMORY for t in trials))


def _smaller(cell: CellRecord, config: dict[str, Any]) -> Iterator[Proposal]:
    batch = int(config["batch_size"])
    step = max(1, batch // STEPS)
    for size in range(batch - step, 0, -step):
        levels = {**cell.levels, "batch_size": size}
        note = f"Batch {batch} ran out of memory; the next smaller one tried"
        yield Proposal(f"{cell.name[:_LONGEST]}-batch_{size}", levels, f"{_label(cell)}, batch {size}", note)


def _accumulated(cell: CellRecord, config: dict[str, Any]) -> Iterator[Proposal]:
    batch, steps = int(config["batch_size"]), int(config["accumulate"])
    while batch % 2 == 0:
        batch, steps = batch // 2, steps * 2
        levels = {**cell.levels, "batch_size": batch, "accumulate": steps}
        note = f"Batch {config['batch_size']} ran out of memory; the same effective batch in {steps} steps of {batch}"
        yield Proposal(f"{cell.name[:_LONGEST]}-accumulate_{steps}", levels, f"{_label(cell)}, {steps} x {batch}", note)


def _label(cell: CellRecord) -> str:
    return cell.label or cell.name
