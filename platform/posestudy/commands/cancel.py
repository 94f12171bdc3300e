"""`posestudy cancel`: end a trial or a whole study; what is running stops at its worker's next renewal."""

from __future__ import annotations

from typing import Annotated

import typer

from posestudy.settings import Settings


def cancel(
    study: Annotated[str, typer.Argument(metavar="STUDY")],
    trial: Annotated[int | None, typer.Option("--trial", metavar="N", help="Only this trial.")] = None,
) -> None:
    """Cancel every open trial of a study, or one of them; `launch --retry cancelled` takes it back."""
    from posestudy.ledger import Ledger

    ledger = Ledger.open(Settings.resolve().database_url, create=False)
    try:
        count = ledger.cancel(study, trial)
    finally:
        ledger.close()
    if count:
        typer.echo(f"cancelled {count} {'trial' if count == 1 else 'trials'} of '{study}'")
    else:
        what = f"trial {trial} of '{study}' is done already" if trial is not None else f"'{study}' has no open trial"
        typer.echo(f"{what}: nothing to cancel")
