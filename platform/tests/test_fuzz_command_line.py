"""Whatever is typed, and wherever it runs: exit codes 0, 1 and 2, sentences, no traceback."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from posestudy import fuzzing
from posestudy.commands.app import main

COMMANDS = (
    "status",
    "check",
    "plan",
    "logs",
    "cancel",
    "import",
    "verify",
    "report",
    "dataset",
    "sync",
    "bundle",
)
"""Those that come to their mistakes without training packages."""
OPTIONS = (
    "--json", "--set", "--home", "--study", "--name", "--out", "--trial", "--format", "--metric", "--nope", "-x", "--",
    "--train", "--val", "--seed", "--follow", "--retry", "--workers", "--version", "--help",
)  # fmt: skip
TABLE = "stage,label,final\na,b,20: 0.1\n"


def typed(chance):
    words = [
        *fuzzing.TEXTS,
        "study.yaml",
        "t.csv",
        "folder",
        "noise",
        "1",
        "-1",
        "99999999999999999999",
        "a=b",
        "study=x",
    ]
    return [
        chance.choice(COMMANDS),
        *(chance.choice((chance.choice(OPTIONS), chance.choice(words))) for _ in range(chance.randrange(5))),
    ]


@fuzzing.drawn(30)
def test_whatever_is_typed(tmp_path_factory, seed):
    folder, before = tmp_path_factory.mktemp("typed"), Path.cwd()
    (folder / "study.yaml").write_text("study: x\n")
    (folder / "t.csv").write_text(TABLE)
    (folder / "noise").write_bytes(random.Random(seed).randbytes(300))
    (folder / "folder").mkdir()
    os.chdir(folder)
    kept = {name: os.environ.pop(name, None) for name in ("POSESTUDY_HOME", "POSESTUDY_DATABASE_URL")}
    try:
        assert main(typed(random.Random(seed))) in (0, 1, 2)
    finally:
        os.chdir(before)
        os.environ.pop("POSESTUDY_HOME", None)
        os.environ.update({name: value for name, value in kept.items() if value is not None})


@pytest.mark.parametrize(
    ("home", "said"),
    [
        ("t.csv", "t.csv: file exists"),
        ("t.csv/x", "t.csv/x: not a directory"),
        ("x" * 300, "file name too long"),
        ("/proc/x", "/proc/x: no such file or directory"),
    ],
)
def test_a_home_that_cannot_be(tmp_path, monkeypatch, capsys, home, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POSESTUDY_HOME", home)
    Path("t.csv").write_text(TABLE)
    assert main(["import", "--name", "x", "t.csv"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error


def run(folder, *arguments, stdout=subprocess.PIPE, **environment):
    """A process of its own: the streams and the locale of one cannot be tried in another."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("POSESTUDY_")}
    return subprocess.run(
        [sys.executable, "-c", "from posestudy.commands.app import run; run()", *map(str, arguments)],
        cwd=folder, env={**kept, **environment}, stdout=stdout, stderr=subprocess.PIPE, timeout=400, check=False,
    )  # fmt: skip


def test_a_current_directory_that_is_gone(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    program = (
        "import os, sys; os.rmdir(os.getcwd()); from posestudy.commands.app import run; "
        "sys.argv = ['posestudy', 'status']; run()"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("POSESTUDY_")}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=gone, env=kept, capture_output=True, timeout=400, check=False)
    assert done.returncode == 2
    assert done.stderr == b"error: the current directory is gone; change to one that is there\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_output_that_cannot_be_written(tmp_path):
    with open("/dev/full", "wb") as full:
        done = run(tmp_path, "init", "study.yaml", stdout=full)
    assert done.returncode == 2
    assert done.stderr == b"error: no space left on device\n"
    assert (tmp_path / "study.yaml").is_file()


def test_names_that_the_terminal_cannot_show(tmp_path):
    (tmp_path / "ä\U0001f431.yaml").write_text("study: ä\U0001f431\n", encoding="utf-8")
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    done = run(tmp_path, "check", "ä\U0001f431.yaml", **plain)
    assert done.returncode == 2
    assert b"expected a name of at most 80 letters" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_reader_that_has_seen_enough(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    done = run(tmp_path, "--help", stdout=writing, COLUMNS="1")
    os.close(writing)
    assert done.returncode in (0, 1)
    assert b"Traceback" not in done.stderr
    assert b"BrokenPipe" not in done.stderr
