"""How an attempt ended, told from what was raised: the same word for the same cause, whatever library raised it."""

from __future__ import annotations

import re
import resource
from dataclasses import dataclass
from pathlib import Path

from posestudy.durable import is_full
from posestudy.ledger.records import Json
from posestudy.vocabulary import Outcome

_OUT_OF_MEMORY = re.compile(
    r"out of memory|not enough memory|can't allocate memory|cannot allocate memory|insufficient memory"
    r"|unable to mmap|CUBLAS_STATUS_ALLOC_FAILED|std::bad_alloc|failed to allocate",
    re.IGNORECASE,
)
_PERHAPS_OUT_OF_MEMORY = re.compile(r"could not create a primitive|can't start new thread", re.IGNORECASE)
"""What oneDNN and Python say of many troubles, refused memory among them."""
_NEAR_LIMIT = 0.75
_MIB = 2**20


class Preempted(Exception):  # noqa: N818 - an ending, not an error
    """The worker or a signal asked the trial to give way; the last epoch's checkpoint is where it goes on."""


class Pruned(Exception):  # noqa: N818 - an ending, not an error
    """The pruner ended the trial."""


class Paused(Exception):  # noqa: N818 - an ending, not an error
    """The pruner let the trial give way to better ones; it may go on from here later."""


class NotConverged(Exception):  # noqa: N818 - an ending, not an error
    """The study's metric is below the declared floor at its epoch."""


class TimeLimit(Exception):  # noqa: N818 - an ending, not an error
    """The trial used up `budget.trial_hours`."""


@dataclass(frozen=True)
class Ending:
    """What a trial process says last.

    Attributes:
        outcome: None where the attempt ended without ending the trial (preempted, paused).
        message: why, for `status`.
        peak_memory_mb: most memory taken, MiB.
        checkpoint: `{"path", "sha", "epoch"}` of what was saved in the middle of an epoch on the way out, `epoch`
            being the epochs finished before it; None where the last epoch's checkpoint is the newest.
        duration_s: seconds of training since the last epoch frame, which no epoch frame will carry.
        disk_full: it gave way because something could not be written, and may go on where there is room again.
    """

    outcome: Outcome | None
    message: str | None = None
    peak_memory_mb: float | None = None
    checkpoint: Json | None = None
    duration_s: float = 0.0
    disk_full: bool = False

    def frame(self) -> Json:
        return {
            "type": "end",
            "outcome": self.outcome.value if self.outcome else None,
            "message": self.message,
            "peak_memory_mb": self.peak_memory_mb,
            "checkpoint": self.checkpoint,
            "duration_s": self.duration_s,
            "disk_full": self.disk_full,
        }

    @classmethod
    def of(cls, frame: Json) -> Ending:
        word = frame["outcome"]
        return cls(
            Outcome(word) if word else None,
            frame.get("message"),
            frame.get("peak_memory_mb"),
            frame.get("checkpoint"),
            float(frame.get("duration_s") or 0.0),
            bool(frame.get("disk_full")),
        )


def _is_memory(error: BaseException, *, near_limit: bool) -> bool:
    # By name: this must work where torch is not imported, and torch.OutOfMemoryError has moved before.
    if isinstance(error, MemoryError) or any(k.__name__ == "OutOfMemoryError" for k in type(error).__mro__):
        return True
    if near_limit and isinstance(error, RuntimeError) and _PERHAPS_OUT_OF_MEMORY.search(str(error)):
        return True
    known = isinstance(error, (RuntimeError, OSError)) or type(error).__module__ == "cv2"
    return known and bool(_OUT_OF_MEMORY.search(str(error)))


def _chain(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    step: BaseException | None = error
    while step is not None and step not in found:
        found.append(step)
        step = step.__cause__ or step.__context__
    return found


def classify(
    error: BaseException,
    *,
    log: Path | None = None,
    peak_memory_mb: float | None = None,
    memory_limit_mb: float | None = None,
) -> Ending:
    """The ending that `error` means; `failed` carries the last lines of `log` so that `status` explains itself.

    Near `memory_limit_mb` also errors that name no cause, as oneDNN's, are taken for refused memory.
    """
    if isinstance(error, (Preempted, Paused)):
        return Ending(None, str(error), peak_memory_mb)
    if isinstance(error, Pruned):
        return Ending(Outcome.PRUNED, str(error), peak_memory_mb)
    if isinstance(error, NotConverged):
        return Ending(Outcome.NOT_CONVERGED, str(error), peak_memory_mb)
    if isinstance(error, TimeLimit):
        return Ending(Outcome.TIMED_OUT, str(error), peak_memory_mb)
    if is_full(error):
        # Whoever wrote it, the last epoch's checkpoint is whole: a pause, and not the end of the trial.
        return Ending(None, f"the disk is full ({_first_line(error)}); free some space to go on", disk_full=True)
    near_limit = memory_limit_mb is not None and (peak_memory_mb or 0.0) >= _NEAR_LIMIT * memory_limit_mb
    for cause in _chain(error):
        if _is_memory(cause, near_limit=near_limit):
            peak = f" (peak {peak_memory_mb:.0f} MiB)" if peak_memory_mb else ""
            return Ending(Outcome.OUT_OF_MEMORY, f"out of memory{peak}: {_first_line(cause)}", peak_memory_mb)
        if isinstance(cause, FloatingPointError):
            return Ending(Outcome.DIVERGED, _first_line(cause), peak_memory_mb)
    tail = f"\n{last_lines(log)}" if log is not None else ""
    return Ending(Outcome.FAILED, f"{type(error).__name__}: {_first_line(error)}{tail}", peak_memory_mb)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def last_lines(log: Path, lines: int = 20, size: int = 8192) -> str:
    """The last `lines` lines of a log file, at most `size` bytes of it; empty where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - size))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def peak_process_memory_mb() -> float:
    """The largest resident size of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def limit_memory(limit_mb: float | None) -> None:
    """Refuse this process memory of its own beyond `limit_mb` MiB: an allocation then fails instead of swapping."""
    if limit_mb is not None:
        # Not RLIMIT_AS: libraries and CUDA map address space by the gigabyte without using it.
        resource.setrlimit(resource.RLIMIT_DATA, (int(limit_mb * _MIB), int(limit_mb * _MIB)))


def kernel_oom_kills() -> int:
    """How often this machine's kernel has killed a process for memory; compared before and after a SIGKILL."""
    total = 0
    for path, key in ((Path("/proc/vmstat"), "oom_kill"), (Path("/sys/fs/cgroup/memory.events"), "oom_kill")):
        try:
            rows = [line.split() for line in path.read_text(encoding="ascii").splitlines()]
        except OSError:
            continue
        total += sum(int(row[1]) for row in rows if len(row) == 2 and row[0] == key)
    return total
