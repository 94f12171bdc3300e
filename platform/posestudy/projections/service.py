"""The background process that keeps MLflow and Optuna's tables up to the ledger while a pool trains.

`python -m posestudy.projections.service --home DIR` loops until SIGTERM, SIGINT or the end of its standard input, then
drains: it leaves with 0 once everything is delivered and with 1 where something had to stay behind for `sync`. On
standard output it says `{"say": TEXT or null, "behind": BOOL}` in one line of JSON, when something is to be told.
"""

from __future__ import annotations

import argparse
import contextlib
import json
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
from posestudy.masking import HidingFormatter
from posestudy.projections.delivery import Delivery
from posestudy.projections.news import News
from posestudy.projections.project import Projector, log
from posestudy.projections.quiet_mlflow import file_replaced
from posestudy.projections.reasons import GONE
from posestudy.projections.turn import BusyError, turn
from posestudy.settings import Settings, masked

PERIOD_S = 3.0
LONGEST_PAUSE_S = 60.0
DRAIN_TRIES = 3
_DRAIN = "--drain"
_LOG_BYTES = 1_000_000


class Service:
    """Passes in a loop, with pauses that double while something is down."""

    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        self._settings = settings
        self._stop = stop
        self._ledger: Ledger | None = None
        self._projector: Projector | None = None
        self._news = News(settings.home, log, _tell)
        self._failing = False

    def loop(self) -> int:
        """Until the stop event, then drain; 0 where everything is delivered, else 1."""
        # The first pass imports MLflow: at once, while nothing trains yet.
        pause = 0.0
        while not self._stop.wait(pause):
            delivered = self._pass()
            pause = PERIOD_S if delivered else min(max(PERIOD_S, pause * 2), LONGEST_PAUSE_S)
        # Where something was away just now, one look is enough: `sync` is there for the rest.
        for attempt in range(1 if self._failing else DRAIN_TRIES):
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
        except Exception as error:  # noqa: BLE001 - the boundary of the process: training goes on, the log keeps the reason
            self._forget()
            self._failing = True
            if isinstance(error, PoseStudyError):
                self._news.passed([str(error).rstrip(".") + "."])
            else:
                log.exception("a pass failed and will be tried again")
                self._news.passed([f"a pass failed ({type(error).__name__}), see {self._settings.home.projector_log}."])
            return False
        self._failing = bool(delivery.problems)
        self._news.passed(delivery.problems)
        self._news.note(delivery.notes)
        if any(GONE in problem for problem in delivery.problems) and not self._stop.is_set():
            self._start_over()
        if delivery.sent:
            log.info("sent %d", delivery.sent)
        return delivery.complete

    def _deliver(self) -> Delivery:
        if file_replaced(self._settings.mlflow_uri):
            self._start_over()
        if self._ledger is None:
            self._ledger = Ledger.open(self._settings.database_url)
        if self._projector is None:
            self._projector = Projector(self._settings, self._ledger)
        with turn(self._ledger) as held:
            return self._projector.run(turn=held)

    def _forget(self) -> None:
        ledger, self._ledger, self._projector = self._ledger, None, None
        if ledger is not None:
            # A ledger that just failed may fail at its closing too; the next pass opens another.
            with contextlib.suppress(PoseStudyError, SQLAlchemyError):
                ledger.close()

    def _start_over(self) -> None:
        """MLflow looks at a database once in a process and keeps a deleted SQLite file open: begin as a new process."""
        log.warning("MLflow's database was deleted or replaced; starting over")
        self._forget()
        # A new process has not heard of a signal that this one got.
        words = [*sys.argv[1:], *([_DRAIN] if self._stop.is_set() and _DRAIN not in sys.argv else [])]
        os.execv(sys.executable, [sys.executable, "-m", "posestudy.projections.service", *words])  # noqa: S606


def _tell(text: str | None, behind: bool) -> None:
    with contextlib.suppress(OSError, ValueError):
        print(json.dumps({"say": text, "behind": behind}), flush=True)


def _watch_stdin(stop: threading.Event) -> None:
    while sys.stdin is not None and sys.stdin.buffer.read(4096):
        pass
    stop.set()


def _log_to(home: Home) -> None:
    home.root.mkdir(parents=True, exist_ok=True)
    handler = logging.handlers.RotatingFileHandler(home.projector_log, maxBytes=_LOG_BYTES, backupCount=1)
    handler.setFormatter(HidingFormatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the service in this process; its exit code."""
    parser = argparse.ArgumentParser(prog="posestudy.projections.service", description=__doc__)
    parser.add_argument("--home", help="posestudy home; default POSESTUDY_HOME, then ./.posestudy")
    parser.add_argument(_DRAIN, action="store_true", help="send what is there and end")
    told = parser.parse_args(arguments)
    settings = Settings.resolve(told.home)
    _log_to(settings.home)
    stop = threading.Event()
    if told.drain:
        stop.set()
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
