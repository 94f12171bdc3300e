"""What a trial takes of a GPU, by cost class: seen where one had a GPU to itself, else told from its tensors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from posestudy.ledger.records import Json, Snapshot
from posestudy.vocabulary import Outcome
from posestudy_studies.costs import COST_FACTORS, Rate, class_of, device_of

CONTEXT_MB = 768.0
"""What a process takes of a GPU beside its tensors: CUDA's context and the code of its kernels."""
FRAGMENTED = 1.25
"""How much more than its tensors torch's allocator takes, at most, of what it cannot put together again."""

_SIZES = ("input_size", "heatmap_size", "batch_size", "accumulate")
"""Factors of a cost class of which more never takes less memory."""


@dataclass(frozen=True)
class Need:
    """What one trial takes of one kind of GPU.

    Attributes:
        cost_class: as `costs.cost_class` gives it.
        device: what the GPU is called, as `costs.Rate.device`.
        memory_mb: MiB at its peak, CUDA's context included.
        busy: share of the time, 0 to 1, in which it alone has a kernel running; None: not known.
    """

    cost_class: str
    device: str
    memory_mb: float
    busy: float | None = None

    def document(self) -> Json:
        return asdict(self)


def memory_of_tensors(allocated_mb: float) -> float:
    """MiB of the GPU that a process may take whose tensors took `allocated_mb` MiB at their peak."""
    return FRAGMENTED * allocated_mb + CONTEXT_MB


@dataclass(frozen=True)
class Allocated:
    """MiB that the tensors of a trial took of a GPU at their peak; fields as `Need`'s."""

    cost_class: str
    device: str
    peak_mb: float


def by_rates(rates: Iterable[Rate]) -> Iterator[Allocated]:
    """What `plan --measure` saw."""
    for rate in rates:
        if rate.peak_memory_mb is not None and not rate.out_of_memory:
            yield Allocated(rate.cost_class, rate.device, rate.peak_memory_mb)


def by_trials(snapshots: Iterable[Snapshot]) -> Iterator[Allocated]:
    """What the trials that were trained to their end took."""
    for snapshot in snapshots:
        configs = {cell.id: cell.config for cell in snapshot.cells}
        for trial in snapshot.trials:
            config = configs[trial.cell_id]
            trained = trial.source is None and not trial.provenance.get("evaluated") and config.get("epochs") != 0
            if trained and trial.outcome is Outcome.COMPLETED and trial.peak_memory_mb is not None:
                yield Allocated(class_of(config), device_of(trial), trial.peak_memory_mb)


class Needs:
    """What is known so far.

    Args:
        seen: needs of trials that had a GPU to themselves.
        allocated: what is known of tensors only.
    """

    def __init__(self, seen: Iterable[Need] = (), allocated: Iterable[Allocated] = ()) -> None:
        self._seen = {(need.cost_class, need.device): need for need in seen}
        self._allocated_mb: dict[tuple[str, str], float] = {}
        for one in allocated:
            key = (one.cost_class, one.device)
            self._allocated_mb[key] = max(self._allocated_mb.get(key, 0.0), one.peak_mb)

    def learn(self, need: Need) -> None:
        """A trial has taken so much; what one of its class once took is never forgotten."""
        key = (need.cost_class, need.device)
        known = self._seen.get(key)
        if known is not None:
            busy = known.busy if need.busy is None else need.busy
            need = Need(*key, max(known.memory_mb, need.memory_mb), busy)
        self._seen[key] = need

    @property
    def seen(self) -> list[Need]:
        return list(self._seen.values())

    def of(self, cost_class: str, device: str) -> Need | None:
        """The need of a class, or that of a known one which takes at least as much; None where neither is known."""
        own = self._exactly(cost_class, device)
        if own is not None:
            return own
        classes = {name for name, where in (*self._seen, *self._allocated_mb) if where == device}
        larger = (name for name in classes if _covers(name, cost_class))
        known = [need for name in larger if (need := self._exactly(name, device)) is not None]
        return min(known, key=lambda need: need.memory_mb, default=None)

    def _exactly(self, cost_class: str, device: str) -> Need | None:
        key = (cost_class, device)
        seen, allocated_mb = self._seen.get(key), self._allocated_mb.get(key)
        if allocated_mb is None:
            return seen
        if seen is None:
            return Need(*key, memory_of_tensors(allocated_mb))
        # The driver is asked now and then, torch's allocator remembers its peak.
        return Need(*key, max(seen.memory_mb, allocated_mb + CONTEXT_MB), seen.busy)


def _covers(known: str, wanted: str) -> bool:
    """Whether trials of `known` take at least as much as those of `wanted`: the same network, nothing smaller."""
    one, other = json.loads(known), json.loads(wanted)
    if any(one.get(factor) != other.get(factor) for factor in COST_FACTORS if factor not in _SIZES):
        return False
    return all(_at_least(one.get(factor), other.get(factor)) for factor in _SIZES)


def _at_least(one: object, other: object) -> bool:
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return all(left >= right for left, right in zip(one, other, strict=True))
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one >= other
    return one == other
