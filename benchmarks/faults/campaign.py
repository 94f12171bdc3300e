"""Rounds of faults: a study, two hosts that train it, and a seed that says who dies when."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.faults import power_cut, witness
from benchmarks.faults.host import LEASE_S
from benchmarks.faults.hosts import ROOT, Host, everything, send
from benchmarks.faults.planted import VARIABLE as PLANTED
from benchmarks.faults.trap import Instant, Trap, alive

KILLS_A_ROUND = 14
ROUND_LIMIT_S = 400.0
PLANTED_LIMIT_S = 45.0
"""A study that advances twice over may never end."""
_SETTLE_S = 30.0

VICTIMS = {"itself": 40, "worker": 18, "forkserver": 9, "everything": 8, "power": 13, "pause": 9, "projector": 3}
"""Who is killed how often, per cent: the process at the instant (or a trial), its worker, ...; a pause is no kill."""
REAL_VICTIMS = {"itself": 63, "worker": 9, "forkserver": 9, "everything": 5, "power": 9, "pause": 5}
"""The same with MMPose, where a host takes half a minute to start."""

TRIAL_INSTANTS = (
    Instant("sync", "epoch_", after=False),
    Instant("sync", "epoch_", after=True),
    Instant("rename", "epoch_", after=False),
    Instant("rename", "epoch_", after=True),
    Instant("sync", "/journal", after=False),
    Instant("sync", "/journal", after=True),
)
SQLITE_INSTANTS = (Instant("sync", "posestudy.db", after=False), Instant("sync", "posestudy.db", after=True))
POSTGRES_INSTANTS = (Instant("commit", "", after=False), Instant("commit", "", after=True))
OTHER_INSTANTS = (Instant("rename", "order.json", after=False), Instant("rename", "order.json", after=True))


@dataclass
class Tally:
    """What a campaign did and found."""

    kills: Counter[str] = field(default_factory=Counter)
    at_instants: Counter[str] = field(default_factory=Counter)
    pauses: int = 0
    rounds: int = 0
    violations: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.kills.values())


class Campaign:
    """One home, one ledger, and what happens to them.

    Args:
        folder: empty; home, logs and the trap are made in it.
        database: the ledger's URL, or None for SQLite in the home.
        seed: of every choice.
        plant: a mistake to plant, see `planted`; empty for none.
        real: MMPose instead of stand-in trials.
        only: the victims to choose from; all of them where it is empty.
        tell: hears of every fault.
    """

    def __init__(
        self,
        folder: Path,
        database: str | None,
        seed: int,
        *,
        plant: str = "",
        real: bool = False,
        only: Collection[str] = (),
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        self.database = database or f"sqlite:///{self.home / 'posestudy.db'}"
        self.on_sqlite = database is None
        self.tally = Tally()
        self.pauses: list[tuple[float, float]] = []
        self.rng = random.Random(seed)
        self.tell = tell
        self.trap = Trap(folder, self.home)
        self.witness = folder / "witness"
        self._real = real
        victims = REAL_VICTIMS if real else VICTIMS
        self._victims = {name: share for name, share in victims.items() if not only or name in only}
        self._environment = {
            **self.trap.environment,
            witness.VARIABLE: str(self.witness),
            PLANTED: plant,
            "POSESTUDY_DATABASE_URL": self.database,
            "MLFLOW_TRACKING_URI": f"sqlite:///{self.home / 'mlflow.db'}",
        }
        self.hosts = [
            Host(name, self.home, self.database, folder / f"{name}.log", self._environment)
            for name in (("first",) if real else ("first", "second"))
        ]
        self._projector: subprocess.Popen[bytes] | None = None
        self._seen_closed = False
        instants = SQLITE_INSTANTS if self.on_sqlite else POSTGRES_INSTANTS
        self._instants = TRIAL_INSTANTS + instants * 2 + OTHER_INSTANTS

    # ---- rounds

    def round(self, study: str, kills: int) -> None:
        """Train `study` under `kills` faults, then let it end in peace.

        Args:
            study: its name; for MMPose the path of its file.
            kills: the round ends sooner where the study does.
        """
        self.tally.rounds += 1
        self._seen_closed = False
        limit_s = PLANTED_LIMIT_S if self._environment[PLANTED] else ROUND_LIMIT_S * (3 if self._real else 1)
        ends = time.monotonic() + limit_s
        before = self.faults
        for host in self.hosts:
            host.study, host.file = (Path(study).stem, study) if self._real else (study, "")
            host.start()
        self._ensure_projector()
        while self.faults - before < kills and not self._closed() and time.monotonic() < ends:
            self._fault()
            self._revive()
        while not self._closed() or any(host.ended() is None for host in self.hosts):
            if time.monotonic() > ends + _SETTLE_S:
                self.tally.violations.append(f"{study}: not done {limit_s:.0f} s after it began")
                break
            self._revive()
            time.sleep(0.1)
        self._stop_all()

    def settle(self) -> None:
        """Call it after looking at the files between two rounds."""
        power_cut.settle(self.home, self.trap.events)

    def close(self) -> None:
        """End every process of the campaign."""
        self._stop_all()
        self._stop_projector()

    def sync(self) -> None:
        """Bring MLflow up to the ledger, as a user does after the worst."""
        self._stop_projector()
        command = [sys.executable, "-c", "from posestudy.commands.app import run; run()", "--home", str(self.home)]
        done = subprocess.run([*command, "sync"], env=self._plain(), capture_output=True, text=True, check=False)
        if done.returncode:
            self.tally.violations.append(f"posestudy sync ended with {done.returncode}: {done.stdout}{done.stderr}")

    def _plain(self) -> dict[str, str]:
        names = ("POSESTUDY_DATABASE_URL", "MLFLOW_TRACKING_URI")
        return {**os.environ, **{name: self._environment[name] for name in names}}

    def _closed(self) -> bool:
        """Whether a host has seen the study closed. The campaign itself stays away from the ledger while faults fall:
        what it would sync there no power cut would know of."""
        return self._seen_closed or any(host.ended() == 0 for host in self.hosts)

    def _revive(self) -> None:
        self._seen_closed = self._closed()
        for host in self.hosts:
            if host.ended() is not None and not self._seen_closed:
                host.start()

    def _stop_all(self) -> None:
        for host in self.hosts:
            send(host.pid, signal.SIGCONT)
            send(host.pid, signal.SIGKILL)
            if host.process is not None:
                host.process.wait()
        left = [pid for pid in everything(str(self.home)) if self._projector is None or pid != self._projector.pid]
        for pid in left:
            send(pid, signal.SIGKILL)
        _gone(left)

    # ---- one fault

    def _fault(self) -> None:
        victim = self.rng.choices(list(self._victims), list(self._victims.values()))[0]
        if victim == "projector":
            return self._kill_projector()
        if self.rng.random() < (0.95 if self._real else 0.6):
            self._await_training()
        if self.rng.random() < 0.65:
            instant = self._instant()
            self.trap.arm(instant)
            frozen = self.trap.wait(20.0 if self._real else 4.0)
            if frozen is None:
                return None
            if self._kill(victim, frozen, f"{instant}"):
                self.tally.at_instants[str(instant)] += 1
            send(frozen, signal.SIGCONT)
            return None
        time.sleep(self.rng.uniform(0.0, 0.8))
        running = [pid for host in self.hosts for pid in host.trials()]
        chosen = self.rng.choice(running) if running else None
        self._kill(victim, chosen, "any time")
        return None

    @property
    def faults(self) -> int:
        """Kills; pauses as well where nothing else is asked for."""
        return self.tally.pauses if set(self._victims) == {"pause"} else self.tally.total

    def _await_training(self) -> None:
        """Until a trial says a word: without it most kills would fall into the hosts' start."""
        size = _size(self.witness)
        ends = time.monotonic() + (90.0 if self._real else 4.0)
        while _size(self.witness) == size and not self._closed() and time.monotonic() < ends:
            self._revive()
            time.sleep(0.02)

    def _instant(self) -> Instant:
        chosen = self.rng.choice(self._instants)
        return Instant(chosen.call, chosen.path, chosen.after, self.rng.randint(1, 6))

    def _kill(self, victim: str, pid: int | None, when: str) -> bool:
        """Do it; false where there was nobody to do it to."""
        host = self._host_of(pid)
        if victim == "pause":
            return self._pause(host, pid, when)
        what = ""
        if victim == "everything" or victim == "power":
            what = self._kill_everything(power=victim == "power")
        elif victim == "worker":
            if not send(host.pid, signal.SIGKILL):
                return False
            if host.process is not None:
                host.process.wait()
        elif victim == "forkserver":
            if not send(host.forkserver(), signal.SIGKILL):
                return False
        elif not send(pid, signal.SIGKILL):
            return False
        self.tally.kills[victim] += 1
        self.tell(f"{self.tally.total}: {victim} killed, {when}{', ' if what else ''}{what}")
        return True

    def _host_of(self, pid: int | None) -> Host:
        for host in self.hosts:
            if pid is not None and (pid == host.pid or pid in host.trials()):
                return host
        return self.rng.choice(self.hosts)

    def _pause(self, host: Host, frozen: int | None, when: str) -> bool:
        """Freeze a worker for longer than its lease, sometimes with its trials, and let it wake up."""
        group = [host.pid]
        if self.rng.random() < 0.4:
            group += [pid for pid in (host.forkserver(), *host.trials()) if pid]
        if sum(send(pid, signal.SIGSTOP) for pid in group) < len(group):
            return False
        if frozen is not None and frozen not in group:
            send(frozen, signal.SIGCONT)
        since = time.monotonic()
        time.sleep(LEASE_S + self.rng.uniform(0.5, 2.5))
        for pid in group:
            send(pid, signal.SIGCONT)
        self.pauses.append((since, time.monotonic()))
        self.tally.pauses += 1
        self.tell(f"-: {len(group)} processes frozen past their lease, {when}")
        return True

    def _kill_everything(self, *, power: bool) -> str:
        pids = everything(str(self.home))
        for pid in pids:
            send(pid, signal.SIGSTOP)
        for pid in pids:
            send(pid, signal.SIGKILL)
        for host in self.hosts:
            if host.process is not None:
                host.process.wait()
        if self._projector is not None:
            self._projector.wait()
            self._projector = None
        _gone(pids)
        return power_cut.cut(self.home, self.trap.events, self.trap.stash, self.rng) if power else ""

    # ---- the projector

    def _ensure_projector(self) -> None:
        if self._projector is None or self._projector.poll() is not None:
            command = [sys.executable, "-m", "posestudy.projections.service", "--home", str(self.home)]
            self._projector = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **self._environment},
                start_new_session=True,
                cwd=ROOT,
            )

    def _kill_projector(self) -> None:
        if self._projector is None or self._projector.poll() is not None:
            self._ensure_projector()
            return
        self.trap.arm(Instant("sync", "mlflow.db", self.rng.random() < 0.5, self.rng.randint(1, 12)))
        frozen = self.trap.wait(2.0)
        self._projector.kill()
        self._projector.wait()
        if frozen is not None and frozen != self._projector.pid:
            send(frozen, signal.SIGCONT)
        self.tally.kills["projector"] += 1
        self.tell(f"{self.tally.total}: projector killed, {'in a sync of mlflow.db' if frozen else 'any time'}")

    def _stop_projector(self) -> None:
        if self._projector is not None:
            self._projector.kill()
            self._projector.wait()
            self._projector = None


def _gone(pids: list[int]) -> None:
    ends = time.monotonic() + 10
    while any(alive(pid) for pid in pids) and time.monotonic() < ends:
        time.sleep(0.01)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
