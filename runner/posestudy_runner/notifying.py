"""Runs a command of the user's where a stage closes, a trial fails or a study is done, once for each."""

from __future__ import annotations

import json
import os
import queue
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from posestudy.durable import make_folder
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import Snapshot, StageRecord, TrialRecord
from posestudy.masking import hidden, secret_part
from posestudy.printable import printable
from posestudy.vocabulary import Outcome
from posestudy_runner.context import owner_name

VARIABLE: Final = "POSESTUDY_NOTIFY"
LIMIT_S: Final = 60.0
"""Seconds that the command has."""
_QUIET_S: Final = 5.0
_FOREVER_S: Final = 100 * 365 * 86400.0
_MOST_OUTPUT: Final = 500
_MOST_MESSAGE: Final = 1000
_URLS: Final = ("POSESTUDY_DATABASE_URL", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_BACKEND_STORE_URI")
_SECRETS: Final = (
    *("PGPASSWORD", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "MLFLOW_FLASK_SERVER_SECRET_KEY"),
)


class Event(StrEnum):
    """What the command is run for, as `POSESTUDY_EVENT` says it."""

    STAGE = "stage"
    FAILED = "failed"
    STUDY = "study"


@dataclass(frozen=True)
class Happening:
    """One event: `key` is its own in the study, the others are what the command is told."""

    key: str
    event: Event
    message: str
    stage: str = ""
    trial: int | None = None
    outcome: str = ""

    @property
    def title(self) -> str:
        """How a message to the user calls it."""
        if self.event is Event.FAILED:
            return f"trial {self.trial}"
        return f"stage '{self.stage}'" if self.event is Event.STAGE else "the study"

    def variables(self, study: str, home: Home) -> dict[str, str]:
        """What the command finds in its environment."""
        told = {
            "EVENT": self.event.value,
            "STUDY": study,
            "STAGE": self.stage,
            "TRIAL": "" if self.trial is None else str(self.trial),
            "OUTCOME": self.outcome,
            "MESSAGE": _sentence(printable(hidden(self.message))),
            "HOME": str(home.root),
        }
        return {f"POSESTUDY_{name}": text for name, text in told.items()}


def _sentence(text: str) -> str:
    # The system takes no variable of more than 128 KiB, and an error may hold a whole array.
    return text if len(text) <= _MOST_MESSAGE else f"{text[: _MOST_MESSAGE - 4]} ..."


def happenings(snapshot: Snapshot) -> Iterator[Happening]:
    """Everything that has happened in the study, failures first, the end of the study last."""
    stage_of = {cell.id: cell.stage_id for cell in snapshot.cells}
    stages = {stage.id: stage for stage in snapshot.stages}
    for trial in snapshot.trials:
        if trial.outcome is Outcome.FAILED:
            yield _failure(trial, stages[stage_of[trial.cell_id]].name)
    for stage in snapshot.stages:
        if stage.state == "closed":
            trials = [trial for trial in snapshot.trials if stage_of[trial.cell_id] == stage.id]
            message = f"stage '{stage.name}' is done: {_counts(trials)}{_carried(stage)}"
            yield Happening(f"stage:{stage.id}", Event.STAGE, message, stage.name)
    if snapshot.study.state == "closed":
        # A study that is edited, or whose trials are tried again, is done another time.
        grants = sum(trial.fence for trial in snapshot.trials)
        key = f"study:{max(stages, default=0)}:{len(snapshot.trials)}:{grants}"
        message = f"study '{snapshot.study.name}' is done: {_counts(snapshot.trials)}"
        yield Happening(key, Event.STUDY, message)


def _failure(trial: TrialRecord, stage: str) -> Happening:
    why = (trial.message or "no message").splitlines()[0]
    key = f"trial:{trial.uid}:{trial.fence}"
    return Happening(key, Event.FAILED, f"trial {trial.number} failed: {why}", stage, trial.number, "failed")


def _counts(trials: tuple[TrialRecord, ...] | list[TrialRecord]) -> str:
    words = [trial.outcome.value if trial.outcome else trial.state.value.lower() for trial in trials]
    told = ", ".join(f"{words.count(word)} {word}" for word in sorted(set(words)))
    return f"{len(words)} trials ({told})" if len(words) != 1 else f"1 trial ({told})"


def _carried(stage: StageRecord) -> str:
    return f"; {stage.carried_because}" if stage.carried_because else ""


def harmless(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` without the passwords that posestudy itself is given."""
    secret = {name for name in _URLS if secret_part(environment.get(name, "")) is not None} | set(_SECRETS)
    return {name: text for name, text in environment.items() if name not in secret}


@contextmanager
def telling(
    command: str | None, ledger: Ledger, home: Home, study: str, say: Callable[[str], None]
) -> Iterator[Callable[[Snapshot], None] | None]:
    """What a pool's workers give each look at the study to; None where there is no command."""
    if command is None:
        yield None
        return
    notifier = Notifier(ledger, home, study, command, say)
    notifier.begin()
    try:
        yield notifier.see
    finally:
        notifier.close()


class Notifier:
    """Tells of what happens in one study, by one command.

    Who tells is settled in the ledger, so that of many workers one does. What had happened before a notifier first
    looked at the study is not told. An event whose teller is killed while the command runs is not told again.

    Args:
        say: where it is shown that the command failed.
        limit_s: seconds the command has.
    """

    def __init__(
        self,
        ledger: Ledger,
        home: Home,
        study: str,
        command: str,
        say: Callable[[str], None],
        limit_s: float = LIMIT_S,
    ) -> None:
        self._ledger = ledger
        self._home = home
        self._study = study
        self._command = command
        self._say = say
        self._limit_s = limit_s
        self._settled: set[str] = set()
        self._lock = threading.Lock()
        self._waiting: queue.Queue[Happening | None] = queue.Queue()
        # A daemon: a command that hangs must not keep the pool from ending.
        self._thread = threading.Thread(target=self._run, name="notify", daemon=True)

    def begin(self) -> None:
        """Remember what had happened before, where nobody did yet; called before anything is changed.

        Raises:
            LedgerUnavailableError: the ledger cannot be reached.
        """
        snapshot = self._ledger.snapshot(self._study, values=False)
        begun = self._name(snapshot, "begun")
        if self._ledger.lock_holder(begun) is None:
            for happening in happenings(snapshot):
                self._take(snapshot, happening.key)
            self._ledger.lock(begun, owner_name(0), _FOREVER_S)
        self._thread.start()

    def see(self, snapshot: Snapshot) -> None:
        """Tell of what is new in `snapshot` and was told by nobody; returns at once.

        Raises:
            LedgerUnavailableError: the ledger cannot be reached; the next look tells.
        """
        with self._lock:
            for happening in happenings(snapshot):
                if happening.key not in self._settled and self._take(snapshot, happening.key):
                    self._waiting.put(happening)

    def close(self) -> None:
        """Wait for the commands that are still to run, as long as one of them may take."""
        if not self._thread.is_alive():
            return
        self._waiting.put(None)
        until = time.monotonic() + self._limit_s + 1.0
        self._thread.join(min(_QUIET_S, self._limit_s + 1.0))
        if self._thread.is_alive() and time.monotonic() < until:
            self._say(f"notify: waits for the command, {self._limit_s:g} s at most")
            self._thread.join(until - time.monotonic())
        if self._thread.is_alive():
            self._say("notify: the command still runs; what it was not run for is not told")

    def _take(self, snapshot: Snapshot, key: str) -> bool:
        # Another holder each time: whoever is the same would be granted the lock again.
        holder = f"{owner_name(0)}/{id(self)}/{time.monotonic_ns()}"
        mine = self._ledger.lock(self._name(snapshot, key), holder[-200:], _FOREVER_S)
        self._settled.add(key)
        return mine

    def _name(self, snapshot: Snapshot, key: str) -> str:
        return f"notify:{snapshot.study.id}:{key}"

    def _run(self) -> None:
        while (happening := self._waiting.get()) is not None:
            began = time.monotonic()
            code, output = self._called(happening)
            output = printable(hidden(output.strip()))[-_MOST_OUTPUT:]
            if code != 0:
                how = f"ended with {code}" if code is not None else f"did not end in {self._limit_s:g} s"
                told = f": {output.splitlines()[-1]}" if output else ""
                self._say(f"notify: the command for {happening.title} {how}{told}; training goes on")
            self._write_down(happening, code, output, time.monotonic() - began)

    def _called(self, happening: Happening) -> tuple[int | None, str]:
        """The command's exit code, None where it took too long, and what it printed."""
        environment = {**harmless(os.environ), **happening.variables(self._study, self._home)}
        try:
            # The user's own shell line, with facts in variables: nothing of a name or a message is taken for code.
            process = subprocess.Popen(
                ["/bin/sh", "-c", self._command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            return 127, error.strerror or str(error)
        deadline = time.monotonic() + self._limit_s
        with process:
            output = _last_words(process, deadline)
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            if time.monotonic() < deadline:
                return process.returncode, output
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        return None, output

    def _write_down(self, happening: Happening, code: int | None, output: str, seconds: float) -> None:
        line = {
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "event": happening.event.value,
            "stage": happening.stage,
            "trial": happening.trial,
            "message": hidden(happening.message),
            "exit_code": code,
            "output": output,
            "seconds": round(seconds, 1),
        }
        path = self._home.notifications(self._study)
        # A full disk is no reason to stop.
        with suppress(OSError):
            make_folder(path.parent)
            with path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")


def _last_words(process: subprocess.Popen[bytes], deadline: float) -> str:
    """The end of what `process` prints, until it prints no more or `deadline`; all of it might fill the memory."""
    kept = b""
    if process.stdout is None:
        return ""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if not selector.select(left):
                continue
            part = os.read(process.stdout.fileno(), 65536)
            if not part:
                break
            kept = (kept + part)[-8 * _MOST_OUTPUT :]
    return kept.decode(errors="replace")
