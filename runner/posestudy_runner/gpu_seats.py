"""The places that trials have on a GPU which several share, and whose end there says nothing about the trial."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from posestudy.ledger.records import Json
from posestudy.vocabulary import Outcome
from posestudy_runner.devices import Device
from posestudy_runner.gpu_readings import Reading
from posestudy_runner.next_trial import BESIDE_OTHERS, NextTrial

RECENT = 10
"""Readings of how busy a GPU was that are remembered."""

_OF_THE_GPU = re.compile(r"cuda|cudnn|cublas|cufft|cusolver|nvrtc", re.IGNORECASE)
"""Errors that are also what a GPU without memory says: `CUBLAS_STATUS_NOT_INITIALIZED`, for one."""

_TIMES = ("latency_p50_ms", "latency_p95_ms", "fps", "passes")


class Host(Protocol):
    """Who gives out the seats, and hears from the trials that have one."""

    def hears(self, seat: Seat, frame: Json) -> None: ...

    def is_short_of_memory(self, seat: Seat) -> None: ...

    def leaves(self, seat: Seat) -> None: ...


@dataclass(eq=False)
class Seat:
    """A trial's place on a GPU, from before its process starts until that is gone.

    Attributes:
        cores: the trial's share of the machine's cores.
        shared: another trial of the pool has been on the GPU meanwhile.
        trains: what it takes is what its kind takes; one that only evaluates known weights takes less.
        pid: its process; None before it is there.
        holds_mb, held_mb: MiB its process holds, and the most it held, as far as the driver tells.
        allocated_mb: MiB of its tensors at their peak, as the trial tells.
        computes: a kernel was seen running: before, it builds its network.
        epochs: how many it has told of.
    """

    host: Host
    gpu: Gpu
    trial: NextTrial
    cores: int
    shared: bool = False
    trains: bool = True
    pid: int | None = None
    holds_mb: float | None = None
    held_mb: float = 0.0
    allocated_mb: float = 0.0
    computes: bool = False
    epochs: int = 0

    def runs(self, pid: int) -> None:
        """The trial's process is there."""
        self.pid = pid

    def hears(self, frame: Json) -> None:
        """What the trial says: after an epoch, and at its end, it is known what it takes."""
        self.host.hears(self, frame)

    def leave(self) -> None:
        """The trial's process is gone."""
        self.host.leaves(self)

    def excuse(self, outcome: Outcome, message: str | None) -> str | None:
        """Why an ending is none, because the trial may have come to it only for its neighbours; None where it counts.

        An attempt that is excused is given back with this sentence, which has the trial run alone from then on.
        """
        first = (message or "").partition("\n")[0]
        failed_there = outcome is Outcome.FAILED and _OF_THE_GPU.search(first)
        if not self.shared or not (outcome is Outcome.OUT_OF_MEMORY or failed_there):
            return None
        if not failed_there:
            self.host.is_short_of_memory(self)
        return f"{BESIDE_OTHERS} it ended as {outcome.value}, which counts only alone: {message or ''}".rstrip(": ")

    def profile(self, profile: Json) -> Json:
        """A trial's profile without the times that neighbours had a part in."""
        return {key: value for key, value in profile.items() if not self.shared or key not in _TIMES}


@dataclass
class Gpu:
    """One GPU and who of the pool is on it.

    Attributes:
        before_mb: MiB that others held before the first of the trials now on it came.
        recent: how busy it was (0 to 1), the latest last.
        blind: nothing can be read of it, and never could; it is shared nevertheless.
        seen: what was read of it last; None where the driver said nothing.
    """

    device: Device
    seats: list[Seat] = field(default_factory=list)
    seen: Reading | None = None
    before_mb: float = 0.0
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    blind: bool = False

    @property
    def name(self) -> str:
        return self.device.name

    @property
    def crew(self) -> str:
        """Its trials, for a sentence."""
        return f"trial {', '.join(str(seat.trial.number) for seat in self.seats)}"
