"""What trials say of themselves outside the home: no kill takes it back, no power cut truncates it."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "FAULTS_WITNESS"


@dataclass(frozen=True)
class Said:
    """One line of one attempt.

    Attributes:
        at: seconds of the machine's monotonic clock.
        what: `began` (with `epoch` the epoch it starts from), `recorded` (the checkpoint and the journal's frame of
            `epoch` are on the disk) or `ended`.
        cell, seed: which replicate, as the study names it.
    """

    at: float
    pid: int
    study: str
    number: int
    fence: int
    cell: str
    seed: int
    what: str
    epoch: int


def say(study: str, number: int, fence: int, cell: str, seed: int, what: str, epoch: int) -> None:
    """Append a line; one write, so that lines of several processes do not mix."""
    said = Said(time.monotonic(), os.getpid(), study, number, fence, cell, seed, what, epoch)
    line = json.dumps(vars(said)) + "\n"
    descriptor = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def read(path: Path) -> list[Said]:
    """Every line so far, in the order in which they were written."""
    if not path.exists():
        return []
    return [Said(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
