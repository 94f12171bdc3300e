"""What the sections of a report are made of: the study's results and whatever of its files is still there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from posestudy.errors import PoseStudyError
from posestudy.home import Home
from posestudy.ledger.records import TrialRecord
from posestudy_reports.results import StudyResult
from posestudy_reports.saved_pictures import SavedPictures
from posestudy_studies import layouts
from posestudy_studies.layouts import Layout
from posestudy_studies.spec import Study

if TYPE_CHECKING:
    from posestudy_reports.comparison import Comparison

Predicted = Callable[[TrialRecord], Path | None]


@dataclass(frozen=True)
class Material:
    """A study at one moment and its files.

    Attributes:
        compare: the rows of each stage against its baseline, in order of the stages; computed at the first call.
        pictures: of predictions and attention.
        predictions: the file of the predictions that gave a trial its final value; None: not there.
        best_predictions: likewise of its best value.
        home: where posestudy keeps things, None: nowhere; `home.cache` may hold what is dear to compute.
    """

    result: StudyResult
    compare: Callable[[], Sequence[Comparison]]
    pictures: SavedPictures
    predictions: Predicted
    best_predictions: Predicted
    home: Home | None = None

    @cached_property
    def study(self) -> Study | None:
        """The study file as it was launched; None where this posestudy does not understand it (imports, tests)."""
        try:
            return Study.model_validate(dict(self.result.snapshot.study.document))
        except ValueError:
            return None

    @cached_property
    def layout(self) -> Layout | None:
        """The keypoints of the data set; None where they are not known any more."""
        try:
            return layouts.layout(self.study.dataset.keypoints) if self.study else None
        except PoseStudyError:
            return None
