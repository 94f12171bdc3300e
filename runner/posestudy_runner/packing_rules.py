"""How many trials share a GPU, as numbers: slots, memory and the share of the time that it computes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from posestudy_runner.gpu_readings import Reading

PerGpu = int | Literal["auto"]

MOST = 8
"""So many trials share one GPU at most where nobody named a number."""
CORES_EACH = 2
"""One that computes and one that loads: with fewer, more trials would only wait for the processor."""
FULL = 0.9
"""A GPU that computes for this share of the time is not given one more trial."""
MARGIN_MB = 512.0
MARGIN = 0.05
"""What stays free beside what all trials need: MiB, and share of the GPU's memory, whichever is more."""


def most_per_gpu(wanted: PerGpu | None, workers: int | None, gpus: int, cores: int) -> int:
    """How many slots each of `gpus` GPUs gets.

    Args:
        wanted: as `--per-gpu` says; None: as many as `workers` take, else one.
        workers: trials at a time on all of them; None: not said.
        gpus, cores: of the machine.
    """
    if wanted == "auto":
        return max(1, min(MOST, cores // (CORES_EACH * gpus)))
    if wanted is not None:
        return wanted
    return max(1, math.ceil((workers or gpus) / gpus))


def margin_mb(total_mb: float) -> float:
    """MiB of a GPU that nobody is promised."""
    return max(MARGIN_MB, MARGIN * total_mb)


def room_mb(reading: Reading, needs_mb: Sequence[float], held_mb: Sequence[float | None], before_mb: float) -> float:
    """MiB that are left for one more trial once those that run have all they need; may be negative.

    Args:
        reading: the GPU now.
        needs_mb: what each of the pool's trials on it needs at its peak.
        held_mb: what each of them holds now, None where the driver does not tell: it names none of them inside many
            containers, and elsewhere not one that holds nothing yet.
        before_mb: what others held before the first of them came.
    """
    if any(held is not None for held in held_mb) or not held_mb:
        to_come = sum(max(0.0, need - (held or 0.0)) for need, held in zip(needs_mb, held_mb, strict=True))
        return reading.free_mb - to_come - margin_mb(reading.total_mb)
    # Whose memory it is cannot be told: others hold what they held, or what is too much for ours.
    others = max(before_mb, reading.used_mb - sum(needs_mb))
    return reading.total_mb - others - sum(needs_mb) - margin_mb(reading.total_mb)


def fit_by_memory(reading: Reading, need_mb: float, before_mb: float) -> int:
    """How many trials of one kind fit beside what others held before."""
    return int((reading.total_mb - before_mb - margin_mb(reading.total_mb)) / need_mb)


def fit_by_load(busy: float | None) -> int:
    """How many trials of one kind, each of which alone keeps a GPU `busy` (0 to 1), are added until it is full."""
    return 1 if busy is None else math.ceil(FULL / max(busy, 0.01))
