"""The tests a format must pass: subclass `WriterContract` in a test file of your own and name your format."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any, ClassVar

from posestudy.vocabulary import Outcome
from posestudy_reports.report import StudyReport
from posestudy_reports.writers import GROUP, names, writer
from posestudy_studies.designs.base import BASELINE, Proposal
from posestudy_studies.designs.contract import stage_view, study_with

STRANGE = r"<b>1</b> 50%_$&#{}~^\ | `x` *y* [a](b) ü 猫"
"""A row's label that means something in most languages."""


def report(results: tuple[float | Outcome | None, ...] = (0.25, 0.5, Outcome.OUT_OF_MEMORY)) -> StudyReport:
    """A study of one stage and three rows: baseline, one with a strange label, one more.

    Args:
        results: by row the final value of a completed trial, another outcome, or None for one that is waiting.
    """
    stage: dict[str, Any] = {
        "name": "rate",
        "design": "variants",
        "variants": {"fast": {"optimizer.lr": 0.01, "label": STRANGE}, "large": {"batch_size": 4096}},
    }
    study = study_with(stage)
    proposals = [Proposal(BASELINE, {}), *study.stages[0].opening(study.baseline)]
    return StudyReport(stage_view(study, proposals, results).snapshot, {})


class WriterContract:
    """What `posestudy report` relies on.

    Attributes:
        format: its name, as `report --format` takes it.
    """

    format: ClassVar[str]

    def text(self, files: dict[str, bytes]) -> str:
        """All that the files say; override it where they are no text in UTF-8."""
        return "\n".join(data.decode() for data in files.values())

    def test_installed_under_its_name(self) -> None:
        assert self.format in names(), f"no entry point '{self.format}' in group {GROUP}"

    def test_files_stay_in_their_folder(self) -> None:
        files = writer(self.format)(report())
        assert files
        for name, data in files.items():
            path = PurePosixPath(name)
            assert not path.is_absolute()
            assert ".." not in path.parts
            assert isinstance(data, bytes)

    def test_every_row_and_number_is_told(self) -> None:
        told = self.text(writer(self.format)(report()))
        for text in ("0.250", "0.500", "out of memory", "ü", "猫"):
            assert text in told

    def test_a_study_without_results_is_written(self) -> None:
        assert writer(self.format)(report((None, None, None)))

    def test_same_report_same_bytes(self) -> None:
        assert writer(self.format)(report()) == writer(self.format)(report())
