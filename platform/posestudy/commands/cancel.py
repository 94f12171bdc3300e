"""`posestudy cancel`: end a trial or a whole study; what is running stops at its worker's next renewal."""

from __future__ import annotations

from typing import Annotated

import typer

from posestudy.settings import Settings


def cancel(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="A launched study's name.")],
    trial: Annotated[int | None, typer.Option("--trial", metavar="N", help="Only this trial.")] = None,
) -> None:
    """Cancel every open trial of a study, or one of them; `launch --retry cancelled` takes it back."""
    from posestudy.ledger import Ledger
    from posestudy.task_journal import collect, take_back_lost

    settings = Settings.resolve()
    ledger = Ledger.open(settings.database_url, create=False)
    try:
        ledger.study(study)
        # What tasks without a database have measured so far stays with their trials.
        for line in collect(ledger, settings.home, study):
            typer.echo(line)
        count = ledger.cancel(study, trial)
        for line in take_back_lost(ledger, settings.home, study):
            typer.echo(line)
    finally:
        ledger.close()
    if count:
        typer.echo(f"cancelled {count} {'trial' if count == 1 else 'trials'} of '{study}'")
    else:
        what = f"trial {trial} of '{study}' is done already" if trial is not None else f"'{study}' has no open trial"
        typer.echo(f"{what}: nothing to cancel")
