"""The background process that keeps MLflow and Optuna's tables up to the ledger while a pool trains.

`python -m posestudy.projections.service --home DIR` loops until SIGTERM, SIGINT or the end of its standard input, then
drains: it leaves with 0 once everything is delivered and with 1 where something had to stay behind for `sync`.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import logging.handlers
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence

from sqlalchemy.exc import SQLAlchemyError

from posestudy.errors import PoseStudyError
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.projections.delivery import Delivery
from posestudy.projections.project import Projector, log, report
from posestudy.projections.turn import BusyError, turn
from posestudy.settings import Settings, masked

PERIOD_S = 3.0
LONGEST_PAUSE_S = 60.0
DRAIN_TRIES = 3
_LOG_BYTES = 1_000_000


class Service:
    """Passes in a loop, with pauses that double while something is down."""

    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        self._settings = settings
        self._stop = stop
        self._ledger: Ledger | None = None
        self._projector: Projector | None = None
        self._store = _identity(settings)

    def loop(self) -> int:
        """Until the stop event, then drain; 0 where everything is delivered, else 1."""
        pause = PERIOD_S
        while not self._stop.wait(pause):
            delivered = self._pass()
            pause = PERIOD_S if delivered else min(pause * 2, LONGEST_PAUSE_S)
        for attempt in range(DRAIN_TRIES):
            if attempt:
                time.sleep(PERIOD_S)
            if self._pass():
                log.info("drained: MLflow and Optuna's tables are up to the ledger")
                return 0
        log.warning("left with something undelivered; `posestudy sync` sends it later")
        return 1

    def close(self) -> None:
        if self._ledger is not None:
            self._ledger.close()

    def _pass(self) -> bool:
        """One pass; False where it must be tried again. Nothing that happens in it may end the service."""
        try:
            delivery = self._deliver()
        except BusyError:
            return False
        except Exception:  # noqa: BLE001 - the boundary of the process: training goes on, the log keeps the reason
            log.exception("a pass failed and will be tried again")
            self._forget()
            return False
        report(delivery)
        if delivery.sent:
            log.info("sent %d", delivery.sent)
        return delivery.complete

    def _deliver(self) -> Delivery:
        if self._store != _identity(self._settings):
            self._start_over()
        if self._ledger is None:
            self._ledger = Ledger.open(self._settings.database_url)
        if self._projector is None:
            self._projector = Projector(self._settings, self._ledger)
        with turn(self._ledger) as keep:
            delivery = self._projector.run(keep=keep)
        self._store = self._store or _identity(self._settings)
        return delivery

    def _forget(self) -> None:
        ledger, self._ledger, self._projector = self._ledger, None, None
        if ledger is not None:
            # A ledger that just failed may fail at its closing too; the next pass opens another.
            with contextlib.suppress(PoseStudyError, SQLAlchemyError):
                ledger.close()

    def _start_over(self) -> None:
        """MLflow keeps a deleted SQLite file open for ever and would write into nothing: begin as a new process."""
        log.warning("MLflow's database file was deleted or replaced; starting over")
        self._forget()
        os.execv(sys.executable, [sys.executable, "-m", "posestudy.projections.service", *sys.argv[1:]])  # noqa: S606


def _identity(settings: Settings) -> tuple[int, int] | None:
    """Device and inode of MLflow's SQLite file; None where it is no file or not there."""
    if not settings.mlflow_uri.startswith("sqlite:///"):
        return None
    try:
        stat = os.stat(settings.mlflow_uri.removeprefix("sqlite:///"))
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


def _watch_stdin(stop: threading.Event) -> None:
    while sys.stdin is not None and sys.stdin.buffer.read(4096):
        pass
    stop.set()


def _log_to(home: Home) -> None:
    home.root.mkdir(parents=True, exist_ok=True)
    handler = logging.handlers.RotatingFileHandler(home.projector_log, maxBytes=_LOG_BYTES, backupCount=1)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the service in this process; its exit code."""
    parser = argparse.ArgumentParser(prog="posestudy.projections.service", description=__doc__)
    parser.add_argument("--home", help="posestudy home; default POSESTUDY_HOME, then ./.posestudy")
    settings = Settings.resolve(parser.parse_args(arguments).home)
    _log_to(settings.home)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=_watch_stdin, args=(stop,), name="stdin", daemon=True).start()
    log.info("sending %s to %s", masked(settings.database_url), masked(settings.mlflow_uri))
    service = Service(settings, stop)
    try:
        return service.loop()
    finally:
        service.close()


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    # The thread that waits on standard input holds a lock that the interpreter's own way out wants.
    os._exit(code)
