"""`posestudy register`: a trial's network as a registered MLflow model."""

from __future__ import annotations

from typing import Annotated

import typer


def register(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="A launched study's name.")],
    trial: Annotated[
        str, typer.Option("--trial", metavar="N|best", help="The trial's number, or the best completed one.")
    ] = "best",
) -> None:
    """Register a trial's network in MLflow under the study's name, with the alias best."""
    from posestudy.settings import Settings, masked
    from posestudy_reports.registering import register as put

    settings = Settings.resolve()
    chosen, found = put(study, trial, settings)
    known = "is already" if found.reused else "is now"
    typer.echo(f"trial {chosen.number} {known} version {found.version} of {found.name}: {found.uri}")
    typer.echo(f"to serve it: export MLFLOW_TRACKING_URI='{masked(settings.mlflow_uri)}'")
    typer.echo(f"mlflow models serve --env-manager local --host 127.0.0.1 --port 5001 -m '{found.uri}'")
