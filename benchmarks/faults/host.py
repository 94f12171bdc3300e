"""One host of the campaign: a pool in a process of its own, as `posestudy launch` has it.

python -m benchmarks.faults.host --home DIR --database URL --study NAME --host NAME --workers N [--file STUDY.yaml]
"""

from __future__ import annotations

import argparse
import socket
import sys
from pathlib import Path

from rich.console import Console

from benchmarks.faults import ladder
from benchmarks.faults.planted import plant
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.vocabulary import METRICS, Verdict
from posestudy_runner import worker
from posestudy_runner.context import PoolOptions
from posestudy_runner.display import LineDisplay
from posestudy_runner.pool import Goal, Pool
from posestudy_runner.steering import Steering, study_steering
from posestudy_studies.dataset import sealed
from posestudy_studies.file import load

LEASE_S = 3.0


def main() -> int:
    """0 when the study is closed."""
    parser = argparse.ArgumentParser()
    for name in ("--home", "--database", "--study", "--host"):
        parser.add_argument(name, required=True)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--file", type=Path, help="a study file to train with MMPose; stand-in trials without")
    given = parser.parse_args()
    plant()
    # Another machine by name: that a worker of it is dead cannot be seen from here, its leases have to run out.
    socket.gethostname = lambda: given.host
    # Three deaths in a row without an epoch make a trial `failed`; here every death is the campaign's doing.
    worker.MOST_LOSSES = 10**6
    ledger = Ledger.open(given.database)
    if given.file is None:
        ledger.put_study(given.study, ladder.document(given.study), "")
    else:
        ledger.put_study(given.study, sealed(load(given.file)).model_dump(mode="json"), given.file.read_text())
    steering = (
        study_steering() if given.file else Steering(ladder.advance, lambda claim: False, lambda *_: (Verdict.GO, {}))
    )
    metric = METRICS[ladder.METRIC]
    options = PoolOptions(
        lease_s=LEASE_S,
        target="benchmarks.faults.real_trial:main" if given.file else "benchmarks.faults.standin:train",
        preload="posestudy_runner.preload" if given.file else "benchmarks.faults.light_preload",
        poll_s=0.2,
        stop_grace_s=5.0,
        disk_retry_s=1.0,
        projects=False,
    )
    display = LineDisplay(Console(file=sys.stdout, width=200), metric.name)
    goal = Goal(given.study, metric.name, metric.direction.value)
    Pool(ledger, Home.resolve(given.home), goal, steering, display, options).run(given.workers)
    return 0 if ledger.study(given.study).state == "closed" else 1


if __name__ == "__main__":
    sys.exit(main())
