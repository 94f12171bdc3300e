"""What the background process says of itself: each trouble once, and once that it is over."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence

from posestudy.home import Home
from posestudy.projections.backlog import keep_backlog, read_backlog

_PATIENCE = 2
_CAUGHT_UP = "MLflow and Optuna's tables have caught up"
_NUMBER = re.compile(r"[0-9a-f]{16,}|\d+")


class News:
    """Follows passes: writes to the log, keeps the backlog of the home, tells the pool.

    Args:
        home: where the backlog is kept.
        log: hears every trouble at once.
        tell: hears what a user shall read, or None, and whether something waits. A trouble that is over with the next
            pass, such as a server that restarts, is not worth a line.
    """

    def __init__(self, home: Home, log: logging.Logger, tell: Callable[[str | None, bool], None]) -> None:
        self._home = home
        self._log = log
        self._tell = tell
        self._logged: set[str] = set()
        self._told: set[str] = set()
        self._failed = 0
        # What the process before this one could not send, and perhaps told of.
        self._inherited: bool | None = None

    def passed(self, problems: Sequence[str]) -> None:
        """One pass is over; `problems`: sentences about what must be tried again, none where all was sent."""
        if self._inherited is None:
            self._inherited = read_backlog(self._home) is not None
            if not problems:
                self._tell(_CAUGHT_UP if self._inherited else None, False)
        backlog = keep_backlog(self._home, problems)
        if backlog is None:
            self._caught_up()
            return
        self._failed += 1
        # How many trials wait changes with every epoch and is no news.
        kinds = {_NUMBER.sub("#", problem): problem for problem in problems}
        for kind, problem in kinds.items():
            if kind not in self._logged:
                self._log.warning(problem)
        self._logged |= kinds.keys()
        text = None
        if self._failed >= _PATIENCE and not kinds.keys() <= self._told:
            text = f"MLflow or Optuna's tables are {str(backlog).rstrip('.')}. Training goes on."
            self._told |= kinds.keys()
        self._tell(text, True)

    def _caught_up(self) -> None:
        if not self._failed:
            return
        self._log.info("caught up: MLflow and Optuna's tables are up to the ledger again")
        self._tell(_CAUGHT_UP if self._told or self._inherited else None, False)
        self._failed = 0
        self._logged, self._told = set(), set()
        self._inherited = False

    def note(self, sentences: Sequence[str]) -> None:
        """What was left alone on purpose."""
        for sentence in sentences:
            if sentence not in self._logged:
                self._log.info(sentence)
        self._logged |= set(sentences)
