"""The `posestudy` command: finds the sub-commands of all parts by entry points and loads only the one called."""

from __future__ import annotations

import functools
import io
import json
import os
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from types import TracebackType
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

import posestudy
from posestudy.commands.completion import complete
from posestudy.commands.summaries import summary
from posestudy.errors import InputError, PoseStudyError, Problem
from posestudy.masking import hidden
from posestudy.next_command import given_home
from posestudy.printable import printable

GROUP = "posestudy.commands"


@functools.cache
def _commands() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


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
    """A group whose commands are entry points: `posestudy launch` never imports what `posestudy ui` needs.

    Commands that are only listed are told by `summary`; the one that is called is loaded.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        return list(_commands())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        entry = _commands().get(cmd_name)
        if entry is None:
            return None
        text = summary(entry)
        return _loaded(entry) if text is None else TyperCommand(cmd_name, help=text, add_help_option=False)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        # Here Typer looks for a name that is spelt alike; commands come from `get_command` alone.
        self.commands: Any = dict.fromkeys(_commands())
        name, listed, rest = super().resolve_command(ctx, args)
        return name, _loaded(_commands()[name]) if listed is not None and name in _commands() else listed, rest


def _loaded(entry: EntryPoint) -> Any:
    return complete(build(entry.name, entry.load()))


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
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    given_home(home)
    if home is not None:
        os.environ["POSESTUDY_HOME"] = home


def _fail(error: PoseStudyError, as_json: bool) -> int:
    if as_json:
        problems = [p.as_json() for p in error.problems] if isinstance(error, InputError) else []
        if not problems:
            problems = [Problem("", 0, 0, "", str(error), "").as_json()]
        typer.echo(hidden(json.dumps({"errors": problems}, indent=2)))
    else:
        text = printable(hidden(str(error)))
        typer.echo(f"error: {text}" if not isinstance(error, InputError) else text, err=True)
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
    except OSError as error:
        # What a command expects of files it tells itself; this is a home, a folder or a disk that nobody can use.
        if "--debug" in arguments or error.errno is None:
            raise
        return _fail(PoseStudyError(_told(error)), "--json" in arguments)
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 0
    finally:
        given_home(None)
    return 0


def _told(error: OSError) -> str:
    if isinstance(error, FileNotFoundError) and not error.filename and not _has_folder():
        return "the current directory is gone; change to one that is there"
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{(error.strerror or str(error)).lower()}"


def _has_folder() -> bool:
    try:
        return bool(os.getcwd())
    except OSError:
        return False


def report_mistake(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A traceback, which only a mistake of posestudy's own or `--debug` brings about, without secrets."""
    sys.stderr.write(hidden("".join(traceback.format_exception(kind, error, trace))))


def run() -> None:
    """Console entry point."""
    sys.excepthook = report_mistake
    _open_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the terminal cannot show is no reason to stop.
            stream.reconfigure(errors="backslashreplace")
    sys.exit(_flushed(main()))


def _open_streams() -> None:
    """Where the caller closed a standard stream, the next file would take its number, and get what is printed."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 (for as long as the process)


def _flushed(code: int) -> int:
    """`code`, or 2 where what was printed cannot be written, as to a full disk."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        # Else the interpreter tries again as it ends, and fails in its own words.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return code or (0 if isinstance(error, BrokenPipeError) else _fail(PoseStudyError(_told(error)), as_json=False))
    return code
