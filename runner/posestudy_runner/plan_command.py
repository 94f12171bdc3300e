"""`posestudy plan`: what a study will train, what differs in each cell, and what it will cost."""

from __future__ import annotations

import json

import typer

from posestudy_studies.commands import AsJson, Sets, StudyFile

MAX_ROWS = 40


def plan(study: StudyFile, as_json: AsJson = False, sets: Sets = None) -> None:
    """Show the cells of a study and what differs in each, without running anything."""
    from posestudy_studies import file
    from posestudy_studies.plan import joint_changes
    from posestudy_studies.plan import plan as planned

    loaded = file.load(study, sets or [])
    result = planned(loaded)
    if as_json:
        typer.echo(json.dumps(result, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    from posestudy_studies.cells import level_text

    console = Console()
    for stage in result["stages"]:
        table = Table(title=f"{stage['name']} ({stage['design']}, carries {stage['carry']})", title_justify="left")
        for column in ("cell", "label", "differs in", "decided"):
            table.add_column(column)
        for cell in stage["cells"][:MAX_ROWS]:
            levels = ", ".join(f"{factor} {level_text(level, factor)}" for factor, level in cell["levels"].items())
            table.add_row(cell["name"], cell["label"], levels or "-", "yes" if cell["decided"] else "by results")
        if len(stage["cells"]) > MAX_ROWS:
            table.add_row(f"... {len(stage['cells']) - MAX_ROWS} more", "", "", "")
        console.print(table)
    for text in joint_changes(result):
        console.print(text, markup=False, soft_wrap=True)
    console.print(f"{result['estimate']['trials']} trials; time unknown until one has run.", markup=False)
