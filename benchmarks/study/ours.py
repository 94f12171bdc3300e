"""The same study with `posestudy launch`, whole or with a part left out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.study.rivals import Ran, environment, timed
from benchmarks.study.the_study import TheStudy
from posestudy_runner.components import VARIABLE

POSESTUDY = (str(Path(sys.executable).with_name("posestudy")),)
SPAWN, STOCK_DATA = "forkserver", "data_path"
"""Parts that are no components: how processes start, and the study's own key."""


def posestudy(study: TheStudy, work: Path, workers: int, without: str = "") -> Ran:
    """From a home that does not exist to the last trial, MLflow and Optuna's tables brought up to it."""
    home = work / "home"
    file = study.write(work / "speed.yaml")
    options = ["--workers", str(workers)]
    if without == SPAWN:
        options += ["--start", "spawn"]
    elif without == STOCK_DATA:
        options += ["--set", "data_path=stock"]
    left_out = without if without not in ("", SPAWN, STOCK_DATA) else ""
    command = [*POSESTUDY, "--home", str(home), "launch", str(file), *options]
    seconds = timed(command, work / "launch.log", **{VARIABLE: left_out})
    return Ran(seconds, _finals(home))


def _finals(home: Path) -> dict[str, float]:
    command = [*POSESTUDY, "--home", str(home), "status", "speed", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    rows = json.loads(done.stdout)["trials"]
    return {f"{row['cell']}-{row['seed']}": float(row["final"]["value"]) for row in rows}
