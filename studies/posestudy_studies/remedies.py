"""What to try where a cell ran out of memory: rows of their own, as the stage declares them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from posestudy.ledger.records import CellRecord
from posestudy.vocabulary import Outcome, TrialState
from posestudy_studies import factors
from posestudy_studies.designs.base import Design, Proposal, View
from posestudy_studies.training import Training

STEPS = 8
"""The largest batch that fits is sought in eighths of the one that did not."""
_LONGEST = 60
_REMEDY = re.compile(r"-(batch|accumulate)_\d+$")


def proposals(design: Design, start: Training, view: View) -> list[Proposal]:
    """The next cells that follow from cells of the stage which ran out of memory with every seed.

    `largest_batch` tries batch sizes smaller by an eighth each time until one does not run out of memory: those that
    do end within seconds, so that one training at most is spent. `accumulate` halves the batch and doubles the
    accumulation steps, which keeps the effective batch. A cell of the stage that has the configuration to try
    already, whoever wanted it, answers for it. Asked again with the same rows it says the same.
    """
    wanted: list[Proposal] = []
    taken = [cell.config for cell in view.cells]
    for cell in view.cells:
        if is_remedy(cell, view.cells) or not _out_of_memory(cell, view):
            continue
        for chain in _chains(design, cell):
            proposal = _next(chain, start, view)
            if proposal is not None and (config := _config(start, proposal)) not in taken:
                wanted.append(proposal)
                taken.append(config)
    return wanted


def is_remedy(cell: CellRecord, among: Sequence[CellRecord]) -> bool:
    """Whether `cell` of a stage with the cells `among` was added because another of them ran out of memory."""
    if not _REMEDY.search(cell.name):
        return False
    return any(
        proposal.name == cell.name and proposal.levels == cell.levels
        for other in among
        if other.ordinal < cell.ordinal and cell.name.startswith(_stem(other) + "-")
        for chain in (_smaller(other), _accumulated(other))
        for proposal in chain
    )


def _chains(design: Design, cell: CellRecord) -> list[Iterator[Proposal]]:
    wanted = design.out_of_memory
    chains = [(wanted.largest_batch, _smaller), (wanted.accumulate, _accumulated)]
    return [chain(cell) for declared, chain in chains if declared]


def _next(chain: Iterator[Proposal], start: Training, view: View) -> Proposal | None:
    """The first of `chain` that no cell stands for yet, where all before it ran out of memory."""
    for proposal in chain:
        config = _config(start, proposal)
        standing = [cell for cell in view.cells if cell.config == config]
        if not standing:
            return proposal
        if not all(_out_of_memory(cell, view) for cell in standing):
            return None
    return None


def _config(start: Training, proposal: Proposal) -> dict[str, Any]:
    return factors.apply(start, proposal.levels).model_dump(mode="json")


def _out_of_memory(cell: CellRecord, view: View) -> bool:
    trials = [t for t in view.trials if t.cell_id == cell.id]
    return bool(trials) and all(t.state is TrialState.DONE and t.outcome is Outcome.OUT_OF_MEMORY for t in trials)


def _smaller(cell: CellRecord) -> Iterator[Proposal]:
    batch = int(cell.config["batch_size"])
    sizes = [batch * (STEPS - step) // STEPS for step in range(1, STEPS)]
    while sizes[-1] > 1:
        sizes.append(sizes[-1] // 2)
    for size in sorted({size for size in sizes if 0 < size < batch}, reverse=True):
        levels = {**cell.levels, "batch_size": size}
        note = f"Batch {batch} ran out of memory: is {size} the largest that fits?"
        yield Proposal(f"{_stem(cell)}-batch_{size}", levels, f"{_label(cell)}, batch {size}", note)


def _accumulated(cell: CellRecord) -> Iterator[Proposal]:
    whole = batch = int(cell.config["batch_size"])
    steps = int(cell.config["accumulate"])
    while batch % 2 == 0:
        batch, steps = batch // 2, steps * 2
        levels = {**cell.levels, "batch_size": batch, "accumulate": steps}
        note = f"Batch {whole} ran out of memory: the same effective batch in {steps} steps of {batch}"
        yield Proposal(f"{_stem(cell)}-accumulate_{steps}", levels, f"{_label(cell)}, {steps} x {batch}", note)


def _stem(cell: CellRecord) -> str:
    """The cell's name, short enough to be lengthened and still unlike any other."""
    if len(cell.name) <= _LONGEST:
        return cell.name
    return f"{cell.name[: _LONGEST - 9]}-{hashlib.sha256(cell.name.encode()).hexdigest()[:8]}"


def _label(cell: CellRecord) -> str:
    return cell.label or cell.name
