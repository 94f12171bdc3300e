"""The background process that keeps MLflow and Optuna's tables up to date, so that no pool or trial imports them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

from posestudy.home import Home

DRAIN_S = 600.0
_NICE = 10


class Projector:
    """Runs `posestudy.projections.service` from `start` to `drain`; it dies with this process, whose pipe it reads."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "posestudy.projections.service", "--home", str(self._home.root)]
        # A session of its own: Ctrl-C in the terminal must not reach it before everything is sent.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        os.setpriority(os.PRIO_PROCESS, self._process.pid, _NICE)

    def drain(self, impatient: Callable[[], bool], timeout_s: float = DRAIN_S) -> bool:
        """Have it send the rest and leave; True where all was sent. Nothing is lost otherwise: `posestudy sync`.

        Args:
            impatient: asked twice a second; true ends it at once.
            timeout_s: ends it too.
        """
        process, self._process = self._process, None
        if process is None:
            return True
        if process.stdin is not None:
            process.stdin.close()
        ends = time.monotonic() + timeout_s
        while not impatient() and time.monotonic() < ends:
            try:
                return process.wait(0.5) == 0
            except subprocess.TimeoutExpired:
                continue
        process.kill()
        process.wait()
        return False
