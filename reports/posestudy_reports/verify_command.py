"""`posestudy verify` holds the numbers of a paper against the predictions they were computed from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from posestudy_reports.paper_files import PaperFile
    from posestudy_reports.verifying import Quoted, Verdict

_MOST_TOLD = 40


def verify(
    paper: Annotated[Path, typer.Argument(metavar="FILE.tex", help="A paper that takes in a report's numbers.tex.")],
) -> None:
    """Evaluate the saved predictions again and compare the numbers that a paper quotes; 1 where one differs."""
    from posestudy_reports.paper_files import read_paper
    from posestudy_reports.verifying import of_the_paper, quoted_reports

    files = read_paper(paper)
    reports = quoted_reports(files)
    meddled = of_the_paper(files, reports)
    for mistake in meddled:
        typer.echo(mistake)
    wrong = len(meddled)
    for quoted in reports:
        verdict = _verified(files, quoted)
        wrong += len(verdict.mistakes)
        for mistake in verdict.mistakes[:_MOST_TOLD]:
            typer.echo(mistake)
        if len(verdict.mistakes) > _MOST_TOLD:
            typer.echo(f"and {len(verdict.mistakes) - _MOST_TOLD} more")
        rest = "rest on the ledger or the data set (costs, times, imported results)"
        rest = f", {verdict.stated} {rest}" if verdict.stated else ""
        state = f"{len(verdict.mistakes)} mistakes" if verdict.mistakes else "verified"
        typer.echo(f"study '{quoted.study}': {state}; {verdict.checked} numbers were computed from predictions{rest}")
    raise typer.Exit(1 if wrong else 0)


def _verified(files: tuple[PaperFile, ...], quoted: Quoted) -> Verdict:
    from posestudy.ledger import Ledger
    from posestudy.settings import Settings
    from posestudy_reports.recomputed import recomputed
    from posestudy_reports.verifying import changed_data
    from posestudy_reports.verifying import verify as held_against
    from posestudy_reports.writers.latex import tex_files
    from posestudy_runner.re_evaluation import ReEvaluation

    settings = Settings.resolve()
    ledger = Ledger.open(settings.database_url, create=False)
    try:
        snapshot = ledger.snapshot(quoted.study)
    finally:
        ledger.close()
    # The runs that were looked up then: MLflow's ids may change, and are no number.
    runs = {uid: str(row["mlflow_run"]) for uid, row in quoted.document["trials"].items() if row.get("mlflow_run")}
    again = recomputed(snapshot, runs, settings.home, quoted.document.get("disk_bytes"), ReEvaluation)
    if quoted.document.get("own_text"):
        again.report.own_text = Path(str(quoted.document["own_text"]))
    verdict = held_against(files, quoted, again, tex_files(again.report))
    verdict.mistakes[:0] = changed_data(again.report.material.study)
    return verdict
