"""The `posestudy` command: finds the sub-commands of all parts by entry points and loads only the one called."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import posestudy
from posestudy.errors import InputError, PoseStudyError, Problem

GROUP = "posestudy.commands"


def _commands() -> dict[str, EntryPoint]:
    return {ep.name: ep for ep in entry_points(group=GROUP)}


def build(name: str, loaded: Callable[..., Any] | typer.Typer) -> Any:
    """The command that an entry point holds: a function, or a Typer app whose commands become sub-commands."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    if isinstance(loaded, typer.Typer):
        app.add_typer(loaded, name=name)
        group: Any = typer.main.get_command(app)
        return group.commands[name]
    app.command(name)(loaded)
    return typer.main.get_command(app)


class LazyGroup(TyperGroup):
    """A group whose commands are entry points: `posestudy launch` never imports what `posestudy ui` needs."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(_commands())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        entry = _commands().get(cmd_name)
        return build(cmd_name, entry.load()) if entry else None


app = typer.Typer(
    cls=LazyGroup,
    name="posestudy",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="One study YAML becomes trained pose-estimation trials, ablation tables, figures and a PDF.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(posestudy.__version__)
        raise typer.Exit


@app.callback()
def root(
    home: Annotated[
        str | None, typer.Option("--home", metavar="DIR", help="Where studies are kept [POSESTUDY_HOME, ./.posestudy].")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,
) -> None:
    if home is not None:
        os.environ["POSESTUDY_HOME"] = home


def _fail(error: PoseStudyError, as_json: bool) -> int:
    if as_json:
        problems = [p.as_json() for p in error.problems] if isinstance(error, InputError) else []
        if not problems:
            problems = [Problem("", 0, 0, "", str(error), "").as_json()]
        typer.echo(json.dumps({"errors": problems}, indent=2))
    else:
        typer.echo(f"error: {error}" if not isinstance(error, InputError) else str(error), err=True)
    return error.exit_code


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 done, 1 a trial failed or cells are open, 2 bad input."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        app(args=arguments, prog_name="posestudy")
    except PoseStudyError as error:
        if "--debug" in arguments:
            raise
        return _fail(error, "--json" in arguments)
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 0
    return 0


def run() -> None:
    """Console entry point."""
    sys.exit(main())
