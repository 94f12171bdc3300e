"""The processes of a campaign: hosts with their forkservers and trials, and who among them is killed or frozen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.faults.trap import alive

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Host:
    """A pool that is started again whenever it is dead."""

    name: str
    home: Path
    database: str
    log: Path
    environment: dict[str, str]
    workers: int = 2
    study: str = ""
    file: str = ""
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        """Start it, or start it again."""
        command = [
            sys.executable, "-m", "benchmarks.faults.host", "--home", str(self.home), "--database", self.database,
            "--study", self.study, "--host", self.name, "--workers", str(self.workers),
        ]  # fmt: skip
        if self.file:
            command += ["--file", self.file]
        paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, **self.environment, "PYTHONPATH": paths}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
            )

    @property
    def pid(self) -> int:
        return self.process.pid if self.process is not None else 0

    def ended(self) -> int | None:
        """Its exit code, None while it lives or where it never started."""
        return None if self.process is None else self.process.poll()

    def forkserver(self) -> int | None:
        """Its forkserver, None where there is none now."""
        return next((child.pid for child in _children(self.pid) if "forkserver" in _line(child)), None)

    def trials(self) -> list[int]:
        """The trial processes below its forkserver, or left by one that was killed."""
        server = self.forkserver()
        return [] if server is None else [child.pid for child in _children(server)]


def _children(pid: int) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return [child for child in psutil.Process(pid).children() if alive(child.pid)]
    return []


def _line(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def send(pid: int | None, number: signal.Signals) -> bool:
    """Signal a process; false where it is gone."""
    with suppress(ProcessLookupError):
        if pid:
            os.kill(pid, number)
            return True
    return False


def everything(marker: str) -> list[int]:
    """Every living process that has `marker` in its environment: all of the campaign, whoever started it."""
    found = []
    for process in psutil.process_iter(["pid"]):
        with suppress(psutil.Error, OSError):
            if process.environ().get("FAULTS_ROOT") == marker and alive(process.pid):
                found.append(process.pid)
    return found
