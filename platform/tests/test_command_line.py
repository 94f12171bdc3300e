"""The front door: help, version, unknown commands, errors as text and as JSON, and what is not imported."""

from __future__ import annotations

import inspect
import json
import shlex
import subprocess
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest
import typer

from posestudy.commands import app
from posestudy.commands.app import GROUP, main
from posestudy.commands.summaries import summary
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.testing import put_small_study

HEAVY = ("torch", "mlflow", "mmengine", "mmpose", "pandas", "optuna", "plotly", "matplotlib", "scipy", "ray")
SLOW = (*HEAVY, "sqlalchemy", "numpy", "cv2", "alembic", "pyarrow", "PIL", "ruamel", "asyncio")
STUDIES = Path(__file__).parents[2] / "studies"


def imported(
    commands: list[list[str]], modules: tuple[str, ...], codes: tuple[int, ...] = (0,)
) -> tuple[str, list[str]]:
    """What a fresh process printed that ran the commands, and which of the modules it has imported."""
    program = (
        "import json, sys\nfrom posestudy.commands.app import main\n"
        f"codes = [main(command) for command in {commands!r}]\n"
        f"print('IMPORTED', json.dumps([codes, [name for name in {modules!r} if name in sys.modules]]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    printed, _, told = done.stdout.rpartition("IMPORTED ")
    found, loaded = json.loads(told)
    assert set(found) <= set(codes), done.stdout + done.stderr
    return printed, loaded


def test_help_lists_every_command_and_imports_none_of_them() -> None:
    own = tuple({entry.module for entry in entry_points(group=GROUP)})
    printed, loaded = imported([["--help"]], (*SLOW, "pydantic", *own))
    assert loaded == []
    for command in ("init", "check", "plan", "launch", "worker", "status", "report", "ui", "sync", "doctor", "demo"):
        assert command in printed


def test_what_help_says_of_a_command_is_what_the_command_says_of_itself() -> None:
    told = {entry.name: (summary(entry), entry.load()) for entry in entry_points(group=GROUP)}
    assert len(told) > 20
    for name, (text, command) in told.items():
        own = command.info.help if isinstance(command, typer.Typer) else inspect.getdoc(command)
        assert text == own, name


THIRD_PARTY = '''
import typer
from third_party import made
first = made("Computed.")
from third_party import made as second
third = typer.Typer(help="An " + "app.")

def fourth(broken) -> None:
    """Said."""
'''


def test_a_command_whose_source_does_not_tell_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "third_party"
    package.mkdir()
    (package / "__init__.py").write_text(
        "def made(text):\n    def it(): pass\n    it.__doc__ = text\n    return it\n", encoding="utf-8"
    )
    (package / "commands.py").write_text(THIRD_PARTY, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    entries = {name: EntryPoint(name, f"third_party.commands:{name}", GROUP) for name in ("first", "second", "third")}
    assert [summary(entry) for entry in entries.values()] == [None, None, None]
    assert summary(EntryPoint("fourth", "third_party.commands:fourth", GROUP)) == "Said."
    assert summary(EntryPoint("fifth", "no_such_package.commands:fifth", GROUP)) is None
    monkeypatch.setattr(app, "_commands", lambda: entries)
    assert app.LazyGroup().get_command(None, "first").help == "Computed."


def test_no_help_imports_what_only_its_command_needs() -> None:
    helps = [[entry.name, "--help"] for entry in entry_points(group=GROUP)]
    assert imported(helps, (*HEAVY, "sqlalchemy", "alembic"))[1] == []


def test_status_of_a_ledger_in_a_file_asks_sqlite_alone(home: Home, sqlite_ledger: Ledger) -> None:
    put_small_study(sqlite_ledger)
    place = ["--home", str(home.root)]
    every = [[*place, "status"], [*place, "status", "small"], [*place, "status", "small", "--json"]]
    assert imported(every, SLOW, codes=(1,))[1] == []


@pytest.mark.slow
def test_check_and_plan_import_neither_what_trains_nor_what_reports() -> None:
    study = str(STUDIES / "cat_pose.yaml")
    # The photographs are not there, which `check` says.
    assert imported([["check", study], ["plan", study]], HEAVY, codes=(0, 2))[1] == []


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == "0.1.0"


def test_unknown_command_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lunch"]) == 2
    assert "lunch" in capsys.readouterr().err


@pytest.mark.parametrize(("typed", "meant"), [("statsu", "status"), ("lanch", "launch"), ("repot", "report")])
def test_a_misspelt_command_names_the_nearest(typed: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([typed]) == 2
    assert f"Did you mean '{meant}'" in capsys.readouterr().err


def test_a_call_without_standard_streams_works(home: Home, sqlite_ledger: Ledger) -> None:
    """As some daemons and job systems start programs."""
    put_small_study(sqlite_ledger)
    program = "from posestudy.commands.app import run; run()"
    command = shlex.join([sys.executable, "-c", program, "--home", str(home.root), "status"])
    done = subprocess.run(["sh", "-c", f"{command} <&- >&-"], stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert subprocess.run(["sh", "-c", f"{command} --watch nothing 2>&- >&- <&-"], check=False).returncode == 2


def test_an_error_of_the_user_is_a_sentence_not_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "no_such_study.yaml"]) == 2
    err = capsys.readouterr().err
    assert "no_such_study.yaml" in err
    assert "Traceback" not in err


def test_errors_as_json_have_the_promised_shape(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "no_such_study.yaml", "--json"]) == 2
    (error,) = json.loads(capsys.readouterr().out)["errors"]
    assert set(error) == {"file", "line", "column", "path", "found", "expected", "hint"}
    assert error["file"].endswith("no_such_study.yaml")
