"""The background process that keeps MLflow and Optuna's tables up to date, so that no pool or trial imports them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO

from posestudy.home import Home
from posestudy_runner.stop import Stop

DRAIN_S = 600.0
KNOWN_OUTAGE_S = 20.0
"""How long the end of a pool waits for what was away already before it."""
FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 300.0
_NICE = 10
"""Above this process's own while trials train; no more: what is not sent meanwhile is waited for in the end."""


class Projector:
    """Runs `posestudy.projections.service` from `start` to `drain`; it dies with this process, whose pipe it reads.

    Where it dies before, it is started again, after a pause that doubles while it does not live longer than that.

    Args:
        home: whose ledger is sent.
        say: hears what the user shall read.
    """

    def __init__(self, home: Home, say: Callable[[str], None]) -> None:
        self._home = home
        self._say = say
        # As it is before trial processes are started: their environment is without the stores' places and passwords.
        self._environment = dict(os.environ)
        self._process: subprocess.Popen[bytes] | None = None
        self._ending = threading.Event()
        self._starting = threading.Lock()
        self._behind = False
        self._refused = ""  # why there is no process
        self._nice = 0

    def start(self) -> None:
        self._spawn()
        threading.Thread(target=self._attend, name="projector", daemon=True).start()

    def _spawn(self) -> None:
        command = [sys.executable, "-m", "posestudy.projections.service", "--home", str(self._home.root)]
        with self._starting:
            if self._ending.is_set():
                return
            # A session of its own: Ctrl-C in the terminal must not reach it before everything is sent.
            self._process = None
            try:
                process = subprocess.Popen(
                    command, env={**self._environment, **os.environ}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL, start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                # The machine has no process left to give; `_attend` tries again.
                self._refused = str(error)
                return
            self._process, self._refused = process, ""
            self._set_priority()
        if process.stdout is not None:
            threading.Thread(target=self._hear, args=(process.stdout,), name="projector's news", daemon=True).start()

    def give_way(self) -> None:
        """Compute less than others do from now on."""
        with self._starting:
            # Nobody but root may compute more than before.
            self._nice = min(19, os.getpriority(os.PRIO_PROCESS, 0) + _NICE)
            self._set_priority()

    def _set_priority(self) -> None:
        # One that has ended a moment ago is attended to elsewhere.
        if self._process is not None and self._nice:
            with suppress(ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, self._process.pid, self._nice)

    def _hear(self, lines: IO[bytes]) -> None:
        for line in lines:
            try:
                told = json.loads(line)
                text, self._behind = told["say"], bool(told["behind"])
            except (ValueError, KeyError, TypeError):
                continue  # a library prints something
            if text:
                self._say(str(text))

    def _attend(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._ending.is_set():
            started = time.monotonic()
            what = self._how_it_ends()
            if self._ending.is_set():
                return
            lived_s = time.monotonic() - started
            pause_s = FIRST_PAUSE_S if lived_s > pause_s else min(2 * pause_s, LONGEST_PAUSE_S)
            self._say(
                f"the process that sends to MLflow {what} and is started again in {pause_s:.0f} s; training goes on, "
                f"{self._home.projector_log} may say why"
            )
            if self._ending.wait(pause_s):
                return
            self._spawn()

    def _how_it_ends(self) -> str:
        """Returns when there is no process any more, with what became of it."""
        process = self._process
        if process is None:
            return f"could not be started ({self._refused})"
        code = process.wait()
        return f"ended ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"

    def send_the_rest(self, stop: Stop) -> None:
        """`drain` at the end of all training, given up where `stop` is asked for once more meanwhile."""
        asked = stop.requested
        self._say("bringing MLflow and Optuna's tables up to date")
        if not self.drain(lambda: stop.demanded or (stop.requested and not asked)):
            self._say("MLflow is not up to date yet; `posestudy sync` sends the rest")

    def drain(self, impatient: Callable[[], bool], timeout_s: float = DRAIN_S) -> bool:
        """Have it send the rest and leave; True where all was sent. Nothing is lost otherwise: `posestudy sync`.

        Args:
            impatient: asked twice a second; true ends it at once.
            timeout_s: ends it too; much sooner where it is known that what it sends to is away.
        """
        with self._starting:
            self._ending.set()
            process, self._process = self._process, None
        if process is None:
            return not self._refused
        if process.stdin is not None:
            process.stdin.close()
        begun = time.monotonic()
        while not impatient() and time.monotonic() - begun < (KNOWN_OUTAGE_S if self._behind else timeout_s):
            try:
                return process.wait(0.5) == 0
            except subprocess.TimeoutExpired:
                continue
        process.kill()
        process.wait()
        return False
