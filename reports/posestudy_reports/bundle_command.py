"""`posestudy bundle`: the archive to hand in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from posestudy_runner.trained import BEST_RULE


def bundle(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="A launched study's name.")],
    name: Annotated[str, typer.Option("--name", metavar="ID", help="What the archive is called, as a student's id.")],
    trial: Annotated[str, typer.Option("--trial", metavar="N|best", help=f"The trial's number; {BEST_RULE}.")] = "best",
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for ID.zip; made where missing.")] = Path(
        "out"
    ),
    limit: Annotated[
        float | None, typer.Option("--max-mb", min=0.001, help="The most MB the files may have in all.")
    ] = None,
    device: Annotated[
        str, typer.Option("--device", help="Where to predict; on a GPU the last digits depend on the batch.")
    ] = "cpu",
) -> None:
    """Put report, code, model, log and predictions of the test split into ID.zip, checked and run once without us."""
    # Loads torch, so only once the cheap mistakes are out of the way.
    from posestudy_reports.bundle import make

    size = None if limit is None else round(limit * 1e6)
    made = make(study, trial, name, out, size, device, say=lambda step: typer.echo(f"{step} ...", err=True))
    for line in made.told:
        typer.echo(line)
    typer.echo(str(made.path))
