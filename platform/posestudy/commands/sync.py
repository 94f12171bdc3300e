"""`posestudy sync`: bring MLflow and Optuna's tables up to the ledger."""

from __future__ import annotations

from typing import Annotated

import typer

from posestudy.settings import Settings, masked


def sync(
    study: Annotated[str | None, typer.Argument(metavar="STUDY", help="Only this study; default all.")] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Send everything again and restore what was deleted in MLflow.")
    ] = False,
) -> None:
    """Bring MLflow and Optuna's tables up to the ledger, and the ledger up to tasks that reach no database.

    MLflow and Optuna's tables are copies: what was deleted there is sent again, what is there already stays one.
    """
    from posestudy.ledger import Ledger
    from posestudy.projections.backlog import keep_backlog
    from posestudy.projections.project import Projector
    from posestudy.projections.turn import turn
    from posestudy.task_journal import collect, take_back_lost, waiting_for_launch

    settings = Settings.resolve()
    settings.home.root.mkdir(parents=True, exist_ok=True)
    ledger = Ledger.open(settings.database_url)
    try:
        if study is not None:
            ledger.study(study)
        for line in collect(ledger, settings.home, study):
            typer.echo(line)
        for name in [known.name for known in ledger.studies()] if study is None else [study]:
            for line in take_back_lost(ledger, settings.home, name):
                typer.echo(line)
        for line in waiting_for_launch(ledger, settings.home, study):
            typer.echo(line)
        with turn(ledger) as held:
            delivery = Projector(settings, ledger).run(study, rebuild=rebuild, turn=held)
    finally:
        ledger.close()
    for sentence in delivery.notes:
        typer.echo(f"note: {sentence}")
    for sentence in delivery.problems:
        typer.echo(f"not sent: {sentence}", err=True)
    if delivery.problems or study is None:
        keep_backlog(settings.home, delivery.problems)
    if not delivery.complete:
        raise typer.Exit(1)
    done = f"sent {delivery.sent}" if delivery.sent else "nothing to send"
    typer.echo(f"{done}; MLflow at {masked(settings.mlflow_uri)} and Optuna's tables are up to the ledger")
