"""Reports: the frame of a study, its tables and figures, and the PDF."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from posestudy.settings import Settings
    from posestudy_reports.report import StudyReport

__all__ = ["open"]


def open(study_name: str, settings: Settings | None = None) -> StudyReport:  # noqa: A001 - read as posestudy_reports.open
    """The report of a study of the home that `settings` (or the environment) names, as the ledger holds it now.

    >>> import posestudy_reports
    >>> report = posestudy_reports.open("cat_pose")         # doctest: +SKIP
    >>> report.frame.groupby("cell").final.max()            # doctest: +SKIP

    Raises:
        NotFoundError: no study of that name (the message names the nearest), or no ledger at all.
        LedgerError: the ledger cannot be read.
    """
    from functools import partial

    from posestudy.ledger import Ledger
    from posestudy.settings import Settings
    from posestudy_reports.report import StudyReport
    from posestudy_reports.saved_matches import SavedMatches, disk_bytes
    from posestudy_reports.saved_pictures import SavedPictures

    places = settings or Settings.resolve()
    ledger = Ledger.open(places.database_url, create=False)
    try:
        runs = {uid: run.run_id for uid, run in ledger.projected("mlflow").items()}
        snapshot = ledger.snapshot(study_name)
    finally:
        ledger.close()
    home = places.home
    return StudyReport(snapshot, runs, SavedMatches(home), partial(disk_bytes, home, snapshot), SavedPictures(home))
