"""Shell completion: quick, from the home that the line names, and silent where there is nothing to offer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from posestudy.commands.completion import listed
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.testing import put_small_study


def offered(line: str, **environment: str) -> list[str]:
    """What bash is given for the last word of `line`."""
    program = "from posestudy.commands.app import run; run()"
    kept = {name: text for name, text in os.environ.items() if not name.startswith("POSESTUDY_")}
    asked = {
        "_POSESTUDY_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**kept, **asked, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_studies_of_the_home_are_offered(home: Home, sqlite_ledger: Ledger, tmp_path: Path) -> None:
    put_small_study(sqlite_ledger)
    for line in ("status ", "logs sm", "worker ", "report s", "bundle ", "cancel ", "export sm"):
        assert offered(f"posestudy --home {home.root} {line}") == ["small"], line
    assert offered("posestudy status ", POSESTUDY_HOME=str(home.root)) == ["small"]
    assert offered(f"posestudy --home {home.root} status x") == []
    # A file is left to the shell, and asking makes no home.
    assert offered(f"posestudy --home {home.root} launch s") == []
    assert offered(f"posestudy --home {tmp_path / 'none'} status ") == []
    assert not (tmp_path / "none").exists()


@pytest.mark.postgres
def test_studies_of_a_server_are_offered_and_a_server_that_is_away_is_no_error(postgres_url: str) -> None:
    ledger = Ledger.open(postgres_url)
    put_small_study(ledger)
    ledger.close()
    assert offered("posestudy status ", POSESTUDY_DATABASE_URL=postgres_url) == ["small"]
    assert offered("posestudy status ", POSESTUDY_DATABASE_URL="postgresql://nobody@127.0.0.1:1/none") == []


def test_words_of_options_are_offered() -> None:
    assert {"local", "ray", "script", "slurm"} <= set(offered("posestudy launch --engine "))
    assert offered("posestudy launch s.yaml --retry failed,t") == ["failed,timed_out"]
    assert offered("posestudy report s --format latex,mark") == ["latex,markdown"]
    assert offered("posestudy laun") == ["launch"]
    assert "--notify" in offered("posestudy launch --no")
    assert listed(["a", "b"], "a,") == ["a,b"]


def test_neither_a_command_nor_a_database_is_loaded_to_complete() -> None:
    program = (
        "import sys\nfrom posestudy.commands.app import main\nmain()\n"
        "heavy = {'torch', 'sqlalchemy', 'mlflow', 'optuna', 'mmengine', 'pandas', 'numpy'} & set(sys.modules)\n"
        "print(*heavy, file=sys.stderr)"
    )
    for words in ("launch --engine ", "status ", "report s --format "):
        line = f"posestudy {words}"
        asked = {
            "_POSESTUDY_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split(" ")) - 1),
        }
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, **asked},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr.split() == [], words


def test_the_script_for_a_shell_is_shown() -> None:
    program = "from posestudy.commands.app import run; run()"
    environment = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program, "--show-completion", "zsh"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "#compdef posestudy" in done.stdout
