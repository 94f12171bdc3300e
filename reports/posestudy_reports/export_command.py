"""`posestudy export`: a study as plain MMPose configs and job scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="A study file, or a launched study's name.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder, or an empty one.")],
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the study file; repeatable."),
    ] = None,
    profile: Annotated[
        Path | None,
        typer.Option("--profile", metavar="FILE.yaml", help="What the study's `cluster` does not say."),
    ] = None,
) -> None:
    """Write every config and job script, runnable without posestudy."""
    from posestudy.settings import Settings
    from posestudy_reports.export_writing import export_study

    for line in export_study(study, folder, Settings.resolve(), sets or (), profile):
        typer.echo(line)
