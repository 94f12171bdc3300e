"""How long a user waits for the command line itself, against the import of what trains.

    python -m benchmarks.command_line [--rounds 5] [--trials 10000] [--epochs 20]

Every row is a whole process as a user types it, from its start to its end: wall and CPU seconds, median and range over
rounds in which all of them take turns. The ledger (SQLite) of `status` holds a made-up study of `--trials` completed
trials; the other commands have an empty home.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.frame import STUDY, fill
from benchmarks.interleaved import Measured, interleaved

_STUDIES = Path(__file__).parents[1] / "studies"
_VALIDATE_EVERY = 10
_STACK = "import of the training stack"


def commands() -> dict[str, list[str]]:
    """What is run, by its name in the table; `check` and `plan` may find mistakes, which is their work as well."""
    posestudy = [sys.executable, "-c", "from posestudy.commands.app import run; run()"]
    study = str(_STUDIES / "cat_pose.yaml")
    return {
        "`posestudy --help`": [*posestudy, "--help"],
        "`posestudy launch --help`": [*posestudy, "launch", "--help"],
        f"`posestudy status {STUDY}`": [*posestudy, "status", STUDY],
        f"`posestudy status {STUDY} --json`": [*posestudy, "status", STUDY, "--json"],
        "`posestudy check studies/cat_pose.yaml`": [*posestudy, "check", study],
        "`posestudy plan studies/cat_pose.yaml`": [*posestudy, "plan", study],
        _STACK: [sys.executable, "-c", "import posestudy_runner.preload"],
    }


class Timed:
    """Runs a command on a home and answers its wall time; keeps its CPU times aside."""

    def __init__(self, command: Sequence[str], home: Path) -> None:
        self._command, self._environment = list(command), {**os.environ, "POSESTUDY_HOME": str(home)}
        self._environment.pop("POSESTUDY_DATABASE_URL", None)
        self.cpu: list[float] = []

    def __call__(self) -> float:
        before, began = os.times(), time.perf_counter()
        done = subprocess.run(self._command, env=self._environment, capture_output=True, text=True, check=False)
        wall, after = time.perf_counter() - began, os.times()
        if "Traceback" in done.stderr:
            raise RuntimeError(f"{self._command}: {done.stderr}")
        self.cpu.append(sum(after[2:4]) - sum(before[2:4]))
        return wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=20)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        home.mkdir()
        fill(f"sqlite:///{home / 'posestudy.db'}", chosen.trials, chosen.epochs, _VALIDATE_EVERY)
        # The made-up study is only there to be looked at: `plan` would price its cells by what it cost.
        homes = {name: home if "status" in name else Path(folder) / "empty" for name in commands()}
        timed = {name: Timed(command, homes[name]) for name, command in commands().items()}
        for call in timed.values():
            call()  # files into the page cache, and bytecode where there is none yet
            call.cpu.clear()
        rivals: dict[str, Callable[[], float]] = dict(timed)
        walls = interleaved(rivals, chosen.rounds)
    cpus = {name: Measured(name, tuple(call.cpu)) for name, call in timed.items()}
    print(f"A study of {chosen.trials} trials with {chosen.epochs} epochs each; {chosen.rounds} rounds.\n")
    print("| | wall [s] | CPU [s] | wall, share of the stack's | CPU, share of the stack's |")
    print("|---|---|---|---|---|")
    for name, wall in walls.items():
        shares = wall.median / walls[_STACK].median, cpus[name].median / cpus[_STACK].median
        texts = " | ".join(f"1/{1 / share:.1f}" for share in shares)
        print(f"| {name} | {wall.shown()} | {cpus[name].shown()} | {texts} |")


if __name__ == "__main__":
    main()
