"""`posestudy report` writes the report of a study; `posestudy demo` makes one from nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from posestudy.commands.completion import listed
from posestudy_reports.writers import names as format_names


def report(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="A launched study's name.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the files; made where missing.")],
    formats: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="LIST",
            help="Of latex, markdown, csv, html, pdf, with commas between.",
            autocompletion=lambda incomplete: listed(format_names(), incomplete),
        ),
    ] = "latex,markdown,csv,html,pdf",
    text: Annotated[
        Path | None,
        typer.Option("--text", metavar="DIR", help="Folder with your own text, as introduction.md; for report.text."),
    ] = None,
    mlflow: Annotated[
        bool, typer.Option("--mlflow/--no-mlflow", help="Also put the files into the study's run in MLflow.")
    ] = True,
) -> None:
    """Write the tables, learning curves and the PDF of a study, finished or not."""
    import posestudy_reports
    from posestudy.errors import PoseStudyError

    wanted = _formats(formats)
    found = posestudy_reports.open(study)
    found.own_text = text
    try:
        out.mkdir(parents=True, exist_ok=True)
        paths = found.write(out, wanted)
    except OSError as error:
        raise PoseStudyError(f"the report cannot be written to {out}: {error.strerror or error}") from error
    for path in paths:
        typer.echo(path)
    for sentence in found.printed.warnings if "pdf" in wanted else ():
        typer.echo(f"warning: {sentence}")
    for sentence in found.still_open:
        typer.echo(f"still open: {sentence}")
    if mlflow:
        from posestudy.settings import Settings
        from posestudy_reports.published import publish

        typer.echo(f"report: {publish(study, out, paths, Settings.resolve())}")
    # The last line, below dozens of files.
    to_read = (path for name in ("report.pdf", "report.html", "report.md") for path in paths if path == out / name)
    if (first := next(to_read, None)) is not None:
        typer.echo(f"read first: {first}")


def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the report.")] = Path("out/demo"),
    workers: Annotated[int, typer.Option("--workers", min=1, help="Trials that run side by side.")] = 2,
) -> None:
    """Draw cats, train ten small networks on them in two stages, and write the report."""
    from posestudy_reports.demo import run_demo

    raise typer.Exit(run_demo(out, workers))


def _formats(text: str) -> tuple[str, ...]:
    """The formats in `text`, each once and known, before anything is read or drawn."""
    from posestudy.errors import NotFoundError
    from posestudy_reports.writers import FORMATS, check

    wanted = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not wanted:
        raise NotFoundError(f"found no format in {text!r}, expected some of {', '.join(FORMATS)}")
    for name in wanted:
        check(name)
    return wanted
