"""What a report shows of a home: pictures of predictions and of attention, where trials left some."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from posestudy.home import AttemptPaths, Home
from posestudy.ledger.records import TrialRecord
from posestudy_reports.saved_matches import attempts


class SavedPictures:
    """The pictures of trials, by their names without ending. Without a home there are none."""

    def __init__(self, home: Home | None = None) -> None:
        self._home = home

    def predictions(self, study: str, trial: TrialRecord) -> Mapping[str, Path]:
        """`{"001": path}`: predictions on validation images, of the latest attempt that left any."""
        return self._of(study, trial, lambda attempt: attempt.drawings)

    def attention(self, study: str, trial: TrialRecord) -> Mapping[str, Path]:
        """`{"001_dependency": path, "001_affect": path}`, of the latest attempt that left any."""
        return self._of(study, trial, lambda attempt: attempt.attention)

    def _of(self, study: str, trial: TrialRecord, folder: Callable[[AttemptPaths], Path]) -> Mapping[str, Path]:
        if self._home is None:
            return {}
        for attempt in attempts(self._home, study, trial):
            found = {path.stem: path for path in sorted(folder(attempt).glob("*.png"))}
            if found:
                return found
        return {}
