"""How many GPUs trials ask for: those of a study before anything is decided, those of a cell, and what they spent."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from posestudy.ledger.records import Snapshot

FACTOR: Final = "gpus"
_CONDITION: Final = "when"
"""The key beside a factor's levels that holds those of others."""


def most(document: Mapping[str, Any]) -> int:
    """The largest `gpus` that a cell of the study may have; 1 where it says nothing of it."""
    baseline = document.get("baseline")
    named = [baseline, *(document.get("stages") or ())]
    return max((number for part in named for number in _levels(part)), default=1)


def gpus_of(config: Mapping[str, Any]) -> int:
    """The GPUs that a trial of a cell's configuration takes; cells of an older version do not say."""
    return int(config.get(FACTOR) or 1)


def device_s(snapshot: Snapshot) -> float:
    """Device seconds that the trials of a study have trained here: those of a trial on two GPUs count twice."""
    gpus = {cell.id: gpus_of(cell.config) for cell in snapshot.cells}
    own = (trial for trial in snapshot.trials if trial.source is None)
    return math.fsum((trial.duration_s or 0.0) * gpus[trial.cell_id] for trial in own)


def _levels(value: Any) -> Iterator[int]:
    """The levels that `value`, a part of a study, gives the factor, wherever they stand."""
    if isinstance(value, Mapping):
        # As `bisect` names the factor whose ends are beside it.
        if value.get("factor") == FACTOR:
            yield from _numbers(value.get("between"))
        for key, one in value.items():
            yield from _numbers(one) if key == FACTOR else _levels(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _levels(one)


def _numbers(value: Any) -> Iterator[int]:
    if isinstance(value, int) and not isinstance(value, bool):
        yield value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            if key != _CONDITION:
                yield from _numbers(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _numbers(one)
