"""The front door: help, version, unknown commands, errors as text and as JSON, and what is not imported."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from posestudy.commands.app import main

HEAVY = ("torch", "mlflow", "mmengine", "mmpose", "pandas", "optuna", "plotly", "matplotlib")


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom posestudy.commands.app import main\ncode = main(['--help'])\n"
        f"heavy = [m for m in {HEAVY!r} if m in sys.modules]\n"
        "print('HEAVY', heavy)\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "HEAVY []" in done.stdout
    for command in ("init", "check", "plan", "launch", "worker", "status", "report", "ui", "sync", "doctor", "demo"):
        assert command in done.stdout


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == "0.1.0"


def test_unknown_command_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lunch"]) == 2
    assert "lunch" in capsys.readouterr().err


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
