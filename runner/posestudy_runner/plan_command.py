"""`posestudy plan`: what a study will train, what differs in each cell, and what it will cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from posestudy.next_command import next_command
from posestudy.printable import printable
from posestudy.settings import Settings
from posestudy_studies.commands import AsJson, Sets, StudyFile, again

if TYPE_CHECKING:
    from rich.console import Console

MAX_ROWS = 40


def plan(
    study: StudyFile,
    as_json: AsJson = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Train a few iterations of each cost class on the device to be used.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option("--workers", "-n", min=1, max=1024, help="Trials at a time; default: one a device.")
    ] = None,
    results: Annotated[
        list[Path] | None,
        typer.Option(
            "--results", metavar="FILE.csv", help="Suppose these results where there are none; may be repeated."
        ),
    ] = None,
    sets: Sets = None,
) -> None:
    """Show the cells of a study, what differs in each and what it will cost; trains nothing unless --measure."""
    from posestudy_runner import pricing
    from posestudy_studies import file, trained_before
    from posestudy_studies.imports import logged_rows, matching
    from posestudy_studies.plan import plan as planned

    settings = Settings.resolve()
    loaded, snapshot, snapshots = pricing.standing(file.load(study, sets or []), settings)
    rows, cut_off = logged_rows.filled(matching.entries(results or []), loaded.metric, loaded)
    supposed = matching.TableResults(loaded, rows)
    known = trained_before.results(loaded, snapshots, supposed)
    result = planned(loaded, snapshot=snapshot, results=known, elsewhere=snapshots)
    for line in cut_off:
        typer.echo(f"left out: {line}", err=True)
    for row in supposed.rows:
        if row.place not in supposed.used:
            what = f"as things stand stage '{row.row.stage}' has no '{row.row.shown}' that waits for a result"
            typer.echo(f"{row.place}: not used; {supposed.early.get(row.place, what)}", err=True)
    estimate = pricing.estimate(
        loaded,
        settings,
        snapshot=snapshot,
        snapshots=snapshots,
        results=supposed,
        workers=workers,
        measure=measure,
        say=lambda line: typer.echo(line, err=True),
    )
    to_train = estimate.pop("trials")
    result["estimate"] = {**result["estimate"], **estimate, "to_train": to_train}
    if as_json:
        typer.echo(json.dumps(result, indent=2))
        return
    from rich.console import Console

    _show(result, loaded.metric, Console())
    if to_train:
        at_a_time = [] if workers is None else ["--workers", str(workers)]
        typer.echo(f"launch with: {next_command('launch', str(study), *at_a_time, *again(sets))}")


def _show(result: dict[str, Any], metric: str, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    from posestudy_studies.cells import level_text
    from posestudy_studies.plan import joint_changes, resolvable

    for stage in result["stages"]:
        table = Table(title=f"{stage['name']} ({stage['design']}, carries {stage['carry']})", title_justify="left")
        for column in ("cell", "label", "differs in", "decided"):
            table.add_column(column, overflow="fold")  # a name is needed whole, for `carry`
        for cell in stage["cells"][:MAX_ROWS]:
            levels = ", ".join(f"{factor} {level_text(level, factor)}" for factor, level in cell["levels"].items())
            decided = "yes" if cell["decided"] else "by results"
            # A label is the user's: brackets in it are no markup.
            table.add_row(*(Text(printable(text)) for text in (cell["name"], cell["label"], levels or "-", decided)))
        if len(stage["cells"]) > MAX_ROWS:
            table.add_row(f"... {len(stage['cells']) - MAX_ROWS} more", "", "", "")
        console.print(table)
        if stage["carry_reason"]:
            console.print(f"carried {stage['carry_reason']}", markup=False, soft_wrap=True)
        for text in stage["decisions"]:
            console.print(text, markup=False, soft_wrap=True)
    for text in (*resolvable(result, metric), *result["stop"], *joint_changes(result)):
        console.print(text, markup=False, soft_wrap=True)
    for text in price(result["estimate"]):
        console.print(text, markup=False, soft_wrap=True)


def price(estimate: dict[str, Any]) -> list[str]:
    """The estimate in sentences."""
    from posestudy_studies.stop_rules import short

    lines = [f"{estimate['trials']} trials, {estimate['to_train']} of them still to train"]
    if estimate["to_train"] and estimate["gpu_hours"] is None:
        lines[0] += "; time unknown: `posestudy plan --measure` tries a few iterations, and what has run is remembered"
    elif estimate["to_train"]:
        based = "measured iterations" if estimate["basis"] == "measured" else "earlier trials"
        lines[0] += (
            f": {_hours(estimate['gpu_hours'])} of device time, {_hours(estimate['wall_hours'])} from start to end, "
            f"by {based}"
        )
        if estimate["disk_gb"]:
            peak = estimate.get("disk_peak_gb")
            most = f", {short(peak)} GB at most while it runs, with MLflow's copies of the best weights" if peak else ""
            lines.append(f"disk: {short(estimate['disk_gb'])} GB stay{most}")
        if estimate["peak_memory_mb"]:
            lines.append(f"peak memory of a trial: {estimate['peak_memory_mb']:.0f} MiB")
        for word, cells in (("scaled from other sizes", estimate["scaled"]), ("not in it", estimate["unknown"])):
            if cells:
                lines.append(f"{word}: {', '.join(cells[:10])}{' ...' if len(cells) > 10 else ''}")
    if estimate["out_of_memory"]:
        lines.append(f"measured to run out of memory: {', '.join(estimate['out_of_memory'])}")
    return [f"{line}." for line in lines]


def _hours(hours: float) -> str:
    minutes = hours * 60
    if minutes < 1:
        return f"{minutes * 60:.0f} s"
    return f"{minutes:.0f} min" if minutes < 90 else f"{hours:.1f} h"
