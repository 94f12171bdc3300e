"""`posestudy import`: results from elsewhere become trials."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posestudy import given_paths
from posestudy.errors import InputError, PoseStudyError, Problem, nearest
from posestudy.next_command import next_command
from posestudy_studies.commands import Sets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from posestudy.ledger import Ledger


def import_results(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="CSV tables of results; logs of MMPose 0.x (*.log.json) and 1.x (scalars.json); work dirs.",
            show_default=False,
        ),
    ],
    study: Annotated[
        Path | None,
        typer.Option(
            "--study", metavar="STUDY.yaml", help="Bring CSV rows, or the runs of its export, into this study."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Make a study of its own of what is imported.")] = None,
    metric: Annotated[str, typer.Option("--metric", help="With --name: the metric that is compared.")] = "coco/AP",
    sets: Sets = None,
) -> None:
    """Bring results from elsewhere into the ledger: logs, work dirs, CSV tables."""
    from posestudy.ledger import Ledger
    from posestudy.settings import Settings

    if (study is None) == (name is None):
        raise PoseStudyError(
            "say either --study STUDY.yaml (CSV rows, or runs of its export, for its cells) or --name NAME (a study of "
            "its own)"
        )
    missing = [
        Problem(str(f), 0, 0, "", "no such file", "a CSV table, a log or a work dir")
        for f in files
        if not given_paths.exists(f)
    ]
    if missing:
        raise InputError(missing)
    settings = Settings.resolve()
    settings.home.root.mkdir(parents=True, exist_ok=True)
    ledger = Ledger.open(settings.database_url)
    try:
        left = (
            _into_study(ledger, study, files, sets or []) if study else _alone(ledger, name or "", metric, files, sets)
        )
    finally:
        ledger.close()
    if left:
        raise typer.Exit(1)


def _into_study(ledger: Ledger, path: Path, files: Sequence[Path], sets: Sequence[str]) -> int:
    """Import tables, and runs of the exported study, into a study; returns how many results were left out."""
    from posestudy_studies import file
    from posestudy_studies.imports import exported_runs, logged_rows, matching, staged

    loaded = file.load(path, sets)
    tables = matching.entries([f for f in files if _is_table(f)])
    rows, left_out = logged_rows.filled(tables, loaded.metric, loaded)
    runs, cut_off = exported_runs.entries([f for f in files if not _is_table(f)], loaded.metric)
    done = staged.import_table(ledger, loaded, path.read_text(encoding="utf-8"), [*rows, *runs])
    done.left_out = [*left_out, *cut_off, *done.left_out]
    for title, lines in (
        ("note", done.notes),
        ("remark", done.remarks),
        ("deviation", done.deviations),
        ("left out", done.left_out),
        ("waits to be trained", done.waiting),
    ):
        for line in lines:
            typer.echo(f"{title}: {line}")
    typer.echo(f"study '{loaded.study}' holds {done.results} imported results of {done.rows} rows")
    if done.waiting:
        typer.echo(f"go on with: {next_command('launch', str(path))}")
    typer.echo(f"report with: {next_command('report', loaded.study, '--out', f'out/{loaded.study}')}")
    return len(done.left_out)


def _alone(ledger: Ledger, name: str, metric: str, files: Sequence[Path], sets: Sequence[str] | None) -> int:
    from posestudy.vocabulary import METRICS
    from posestudy_studies.fields import NAME_RULE, is_name
    from posestudy_studies.imports import log_files, logged_rows, matching, standalone

    if sets:
        raise PoseStudyError("--set changes a study file, so it goes with --study")
    if not is_name(name):
        raise InputError([Problem("--name", 0, 0, "", repr(name), NAME_RULE)])
    if metric not in METRICS:
        expected = f"one of {', '.join(METRICS)}"
        raise InputError([Problem("--metric", 0, 0, "", repr(metric), expected, nearest(metric, METRICS))])
    rows, left_out = logged_rows.filled(matching.entries([f for f in files if _is_table(f)]), metric)
    for line in left_out:
        typer.echo(f"left out: {line}")
    stages = standalone.tabled_stages(rows, metric)
    logs = [run for f in files if not _is_table(f) for run in log_files.runs(f)]
    logged = standalone.logged_stages(logs, metric)
    if twice := next((stage.name for stage in logged if stage.name in {table.name for table in stages}), None):
        raise PoseStudyError(f"a stage of the tables is called '{twice}', as one of the logs is")
    stages += logged
    if not stages:
        # An empty study would take the name.
        return len(left_out)
    new = standalone.import_closed(ledger, name, metric, stages)
    for stage in stages:
        for cell in stage.cells:
            for result in cell.known.values():
                for remark in [*result.source["remarks"], *([result.message] if result.message else [])]:
                    typer.echo(f"{result.source['file']}: {remark}")
    whole, count = standalone.completed(stages)
    if not new:
        typer.echo(f"study '{name}' holds just these results already")
    typer.echo(f"study '{name}' holds {count} imported results, {whole} of completed trainings")
    typer.echo(f"report with: {next_command('report', name, '--out', f'out/{name}')}")
    return len(left_out)


def _is_table(file: Path) -> bool:
    return file.suffix.lower() in (".csv", ".tsv")
