"""The process that sends to MLflow: at once while nothing trains, and behind those who train."""

from __future__ import annotations

import os

from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy_runner.projector import Projector


def test_it_gives_way_when_training_begins(home: Home, sqlite_ledger: Ledger) -> None:
    projector = Projector(home, print)
    projector.give_way()
    own = os.getpriority(os.PRIO_PROCESS, 0)
    projector.start()
    try:
        assert projector._process is not None
        late = projector._process.pid
        assert os.getpriority(os.PRIO_PROCESS, late) == min(19, own + 10), "one that is started again gives way too"
    finally:
        projector.drain(lambda: True)
    projector = Projector(home, print)
    projector.start()
    try:
        assert projector._process is not None
        pid = projector._process.pid
        assert os.getpriority(os.PRIO_PROCESS, pid) == own
        projector.give_way()
        assert os.getpriority(os.PRIO_PROCESS, pid) == min(19, own + 10)
    finally:
        projector.drain(lambda: True)
