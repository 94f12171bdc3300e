"""The sub-commands about study files: `init`, `check` and `plan`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posestudy.errors import InputError, PoseStudyError, Problem

if TYPE_CHECKING:
    from posestudy_studies.spec import Study

MAX_ROWS = 40
StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study file.", show_default=False)]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a value, as dataset.root=DIR; may be repeated."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def init(
    file: Annotated[Path, typer.Argument(metavar="[FILE]", help="The file to write.")] = Path("study.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a commented study to edit, with its JSON Schema for editors."""
    from importlib.resources import files

    from posestudy_studies import editor_schema

    if file.exists() and not force:
        raise InputError([Problem(str(file), 0, 0, "", "a file of that name", "a new file", "--force replaces it")])
    schema = file.with_name("study.schema.json")
    text = files("posestudy_studies").joinpath("template.yaml").read_text(encoding="utf-8")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        schema.write_text(json.dumps(editor_schema.schema(), indent=2) + "\n", encoding="utf-8")
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise PoseStudyError(f"cannot write {error.filename or file}: {error.strerror}") from error
    typer.echo(f"wrote {file} and {schema}; next: edit it, then `posestudy check {file}`")


def check(study: StudyFile, as_json: AsJson = False, sets: Sets = None) -> None:
    """Print every mistake of a study file and of its data set."""
    from posestudy_studies import dataset, file

    loaded = file.load(study, sets or [])
    seen = dataset.inspect(loaded)
    if seen.problems:
        raise InputError(seen.problems)
    counts = {name: {"images": f.images, "instances": f.instances} for name, f in seen.facts.items()}
    if as_json:
        typer.echo(json.dumps({"study": loaded.study, "errors": [], "notes": seen.notes, "dataset": counts}, indent=2))
        return
    for note in seen.notes:
        typer.echo(f"note: {note}")
    typer.echo(f"OK: study '{loaded.study}', {_stages(loaded)}; {_counts(counts)}.")


def _stages(study: Study) -> str:
    names = ", ".join(f"{stage.name} ({stage.design})" for stage in study.stages)
    return f"{len(study.stages)} stage{'s' if len(study.stages) > 1 else ''}: {names}"


def _counts(counts: dict[str, dict[str, int]]) -> str:
    parts = []
    for name, count in counts.items():
        instances = "" if name == "test" else f" with {count['instances']} instances"
        parts.append(f"{name} {count['images']} images{instances}")
    return "; ".join(parts)


def plan(study: StudyFile, as_json: AsJson = False, sets: Sets = None) -> None:
    """Show the cells of a study and what differs in each, without running anything."""
    from posestudy_studies import file
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
    joint: dict[tuple[str, str], list[str]] = {}
    for cell in result["joint"]:
        joint.setdefault((cell["stage"], ", ".join(cell["factors"])), []).append(cell["cell"])
    for (name, changed), names in joint.items():
        which = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
        text = f"joint change in {name}: {which} change {changed} at once"
        console.print(text, markup=False, soft_wrap=True)
    console.print(f"{result['estimate']['trials']} trials; time unknown until one has run.", markup=False)
