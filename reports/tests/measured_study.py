"""A study whose final values are COCOeval's own on drawn data, its matches in a home, for tests of the statistics."""

from __future__ import annotations

from functools import cache
from typing import Any

from coco_results import Drawn, evaluated, matches, write
from synthetic_report import Builder

from posestudy.home import Home
from posestudy_reports.bootstrap import Matches
from posestudy_reports.report import StudyReport
from posestudy_reports.saved_matches import SavedMatches

IMAGES = 60


@cache
def evaluation(noise: float, seed: int, images: int = IMAGES) -> tuple[float, Matches]:
    """AP and matches of predictions that are `noise` px off, on the one data set."""
    data = Drawn.make(images)
    results = data.predicted(noise, seed)
    return float(evaluated(data, results).stats[0]), matches(data, results)


class Measured(Builder):
    """A builder whose trials leave matches in `home`."""

    def __init__(self, home: Home, name: str = "cats_small", **document: Any) -> None:
        super().__init__(name, **document)
        self.home = home

    def row(self, name: str, noise: float, seeds: int = 1, *, images: int = IMAGES, **fields: Any) -> None:
        """A cell with replicates whose predictions are `noise` px off, each in its own way."""
        levels = {} if name == "baseline" else {"sigma": 1 + len(self.cells)}
        self.cell(name, levels)
        for seed in range(seeds):
            found, kept = evaluation(noise, seed + 10 * len(self.cells), images)
            self.trial(scores=(found / 2, found / 1.5, found / 1.2, found), seed=seed, **fields)
            self.keep(kept)

    def keep(self, found: Matches) -> None:
        """These matches for the last trial."""
        path = self.home.attempt(self.study.name, len(self.trials), 1).matches
        path.parent.mkdir(parents=True, exist_ok=True)
        write(found, path)

    def measured(self) -> StudyReport:
        return self.report(SavedMatches(self.home))


def several(home: Home, **document: Any) -> Measured:
    """A stage with three seeds each: far better, as good as the baseline, and one that predicts just as it does."""
    study = Measured(home, **document)
    study.stage("sigma", carried="better", carry_reason="best final AP")
    study.row("baseline", 7.0, 3)
    study.row("better", 3.0, 3)
    study.row("as_good", 7.0, 3)
    study.cell("same", {"sigma": 9.0})
    for seed in range(3):
        found, kept = evaluation(7.0, seed + 10)  # the baseline is the first cell
        study.trial(scores=(0.0, found), seed=seed, final_epoch=20)
        study.keep(kept)
    return study
