"""`posestudy import`: earlier runs become trials."""

from __future__ import annotations

from posestudy.errors import PoseStudyError


def import_results() -> None:
    """Bring results from elsewhere into a study."""
    raise PoseStudyError("not written yet")
