"""The sub-commands about study files and data: `init`, `check` and `draw`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posestudy import given_paths
from posestudy.errors import InputError, PoseStudyError, Problem
from posestudy.next_command import next_command

if TYPE_CHECKING:
    from posestudy_studies.spec import Study

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

    if given_paths.exists(file) and not force:
        raise InputError([Problem(str(file), 0, 0, "", "a file of that name", "a new file", "--force replaces it")])
    schema = file.with_name("study.schema.json")
    text = files("posestudy_studies").joinpath("template.yaml").read_text(encoding="utf-8")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        schema.write_text(json.dumps(editor_schema.schema(), indent=2) + "\n", encoding="utf-8")
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise PoseStudyError(f"cannot write {error.filename or file}: {error.strerror}") from error
    typer.echo(f"wrote {file} and {schema}; next: edit it, then `{next_command('check', str(file))}`")


def check(study: StudyFile, as_json: AsJson = False, sets: Sets = None) -> None:
    """Print every mistake of a study file and of its data set."""
    from posestudy_studies import dataset, file, trusted_code
    from posestudy_studies.plan import joint_changes
    from posestudy_studies.plan import plan as planned

    loaded = file.load(study, sets or [])
    plan = planned(loaded)
    seen = dataset.inspect(loaded)
    seen.notes[:0] = trusted_code.sentences(loaded)
    if not as_json:
        for note in (*seen.notes, *joint_changes(plan)):
            typer.echo(f"note: {note}")
    if seen.problems:
        raise InputError(seen.problems)
    counts = {name: {"images": f.images, "instances": f.instances} for name, f in seen.facts.items()}
    if as_json:
        typer.echo(
            json.dumps(
                {"study": loaded.study, "errors": [], "notes": seen.notes, "dataset": counts, "joint": plan["joint"]},
                indent=2,
            )
        )
        return
    typer.echo(f"OK: study '{loaded.study}', {_stages(loaded)}; {_counts(counts)}.")
    typer.echo(f"plan with: {next_command('plan', str(study), *again(sets))}")


def again(sets: Iterable[str] | None) -> Iterator[str]:
    """The words that say the same `--set` to another command."""
    for given in sets or ():
        yield from ("--set", given)


def _stages(study: Study) -> str:
    names = ", ".join(f"{stage.name} ({stage.design})" for stage in study.stages)
    return f"{len(study.stages)} stage{'s' if len(study.stages) > 1 else ''}: {names}"


def _counts(counts: dict[str, dict[str, int]]) -> str:
    parts = []
    for name, count in counts.items():
        instances = "" if name == "test" else f" with {count['instances']} instances"
        parts.append(f"{name} {count['images']} images{instances}")
    return "; ".join(parts)


def draw(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make.", show_default=False)],
    train: Annotated[int, typer.Option("--train", min=1, max=100_000, help="Training pictures.")] = 400,
    val: Annotated[int, typer.Option("--val", min=1, max=100_000, help="Validation pictures.")] = 64,
    test: Annotated[int, typer.Option("--test", min=0, max=100_000, help="Test pictures, without labels.")] = 0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another seed draws other cats.")] = 7,
) -> None:
    """Draw a data set of cats with 17 keypoints: something to try a study on."""
    from posestudy_studies import drawn_cats

    if given_paths.exists(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError([Problem(str(folder), 0, 0, "", "something there already", "a new or empty folder")])
    try:
        drawn_cats.draw(folder, train=train, val=val, test=test, seed=seed)
    except OSError as error:
        raise PoseStudyError(f"cannot write {error.filename or folder}: {error.strerror}") from error
    counts = {"training": train, "validation": val, "test": test}
    *first, last = [f"{count} {name}" for name, count in counts.items() if count]
    typer.echo(f"drew {', '.join(first)} and {last} pictures in {folder}")
