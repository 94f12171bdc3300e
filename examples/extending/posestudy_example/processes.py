"""An engine: every worker in a process of its own, as a scheduler would start it on another machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from types import FrameType

from posestudy.errors import PoseStudyError
from posestudy_runner.engines import Ended, Placement

_POSESTUDY = (sys.executable, "-m", "posestudy")


def run(placement: Placement) -> Ended:
    """Start `posestudy worker STUDY` as often as workers are asked for, and wait until all have ended.

    Raises:
        PoseStudyError: a worker could not work; it has said why.
    """
    options, settings = placement.options, placement.settings
    command = [*_POSESTUDY, "worker", placement.study.study, "--start", options.start, "--lease", str(options.lease_s)]
    if options.memory_limit_mb is not None:
        command += ["--memory-limit", str(options.memory_limit_mb)]
    # By environment, not by argument: a URL may hold a password, and everybody may read a command line.
    environment = {
        **os.environ,
        "POSESTUDY_HOME": str(settings.home.root),
        "POSESTUDY_DATABASE_URL": settings.database_url,
        "MLFLOW_TRACKING_URI": settings.mlflow_uri,
    }
    # In sessions of their own, so that Ctrl-C reaches each worker once: through `pass_on`.
    workers = [
        subprocess.Popen(command, env=environment, start_new_session=True) for _ in range(placement.workers or 1)
    ]
    asked: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        del frame
        asked.append(number)
        for worker in workers:
            worker.terminate()  # once: it saves and gives its trial back; twice: it ends at once

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        codes = [worker.wait() for worker in workers]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    # 0: done, 1: a trial failed or cells are open, which the ledger knows and `launch` tells.
    if not asked and any(code not in (0, 1) for code in codes):
        raise PoseStudyError(f"workers ended with the exit codes {codes}")
    return Ended.BY_USER if asked else Ended.DONE
