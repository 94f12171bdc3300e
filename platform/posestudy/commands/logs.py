"""`posestudy logs`: what a trial's processes printed, attempt by attempt."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from posestudy.errors import NotFoundError
from posestudy.ledger.records import AttemptRecord
from posestudy.printable import printable
from posestudy.settings import Settings


def _heading(attempt: AttemptRecord) -> str:
    began = datetime.fromtimestamp(attempt.started, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    ending = f"{attempt.end}" if attempt.end else "running"
    why = f": {attempt.why}" if attempt.why else ""
    return f"==== attempt {attempt.fence}, {attempt.owner}, {began}, {ending}{why}"


def logs(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="A launched study's name.")],
    number: Annotated[int, typer.Argument(metavar="N", help="The trial's number, see `posestudy status STUDY`.")],
) -> None:
    """Print the training log of every attempt at a trial, oldest first."""
    from posestudy.ledger import Ledger

    settings = Settings.resolve()
    ledger = Ledger.open(settings.database_url, create=False)
    try:
        snapshot = ledger.snapshot(study, values=False)
    finally:
        ledger.close()
    trials = {trial.number: trial for trial in snapshot.trials}
    if number not in trials:
        raise NotFoundError(f"no trial {number} in the study '{study}': its trials are numbered 1 to {len(trials)}")
    attempts = [attempt for attempt in snapshot.attempts if attempt.trial_uid == trials[number].uid]
    if not attempts:
        typer.echo(f"trial {number} of '{study}' has not been started yet")
    for attempt in attempts:
        typer.echo(_heading(attempt))
        path = settings.home.attempt(study, number, attempt.fence).log
        try:
            with path.open(encoding="utf-8", errors="replace") as log:
                for line in log:
                    sys.stdout.write(printable(line))
        except FileNotFoundError:
            typer.echo(f"(no log at {path}: it ended before it printed, or it ran on another host)")
