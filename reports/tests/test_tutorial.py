"""The tutorial, as a reader would follow it: its files and commands in order, and the output that it shows."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from posestudy.testing_network import free_port

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
_BLOCK = re.compile(r"^```(?P<kind>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_AT_THE_END = ", at the end"
_PATIENCE_S = 400.0


@dataclass
class Command:
    """A command of the page and the lines that it shows as its output."""

    line: str
    shown: list[str]

    @property
    def exit_code(self) -> int:
        said = re.search(r"# exit code (\d)", self.line)
        return int(said[1]) if said else 0


def commands(text: str) -> Iterator[Command]:
    """The commands of a block, each with what stands below it."""
    found: list[Command] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:], []))
        elif line.strip() != "...":
            found[-1].shown.append(line)
    yield from found


def pattern(line: str) -> str:
    """A line of the page as a pattern: any numbers, any white space, and `...` for anything."""
    parts = re.split(r"(\.\.\.|\d+|\s+)", line.strip())
    return "".join(
        ".*" if part == "..." else r"\d+" if part.isdigit() else r"\s+" if part.isspace() else re.escape(part)
        for part in parts
    )


def assert_shown(command: Command, output: str) -> None:
    for line in command.shown:
        assert re.search(pattern(line), output), f"$ {command.line}\nshows no line as {line!r}, but:\n{output}"


def follow(command: Command, folder: Path, environment: dict[str, str]) -> None:
    """Run a command that ends by itself."""
    done = subprocess.run(
        ["bash", "-c", command.line], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    output = done.stdout + done.stderr
    assert done.returncode == command.exit_code, output
    assert_shown(command, output)


def serve(command: Command, folder: Path, environment: dict[str, str]) -> None:
    """Run a command that serves pages until Ctrl-C, at ports that are free here, and look at them."""
    line = f"exec {command.line} --port {free_port()} --optuna-port {free_port()}"
    log = folder / "served.txt"
    with log.open("w") as output:
        served = subprocess.Popen(
            ["bash", "-c", line], cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        limit = time.monotonic() + _PATIENCE_S
        while "Ctrl-C" not in log.read_text() and served.poll() is None and time.monotonic() < limit:
            time.sleep(0.2)
        assert_shown(command, log.read_text())
        for address in re.findall(r"http://127\.0\.0\.1:\d+", log.read_text()):
            with urllib.request.urlopen(address, timeout=30) as page:
                assert page.status == 200
    finally:
        served.send_signal(signal.SIGINT)
        assert served.wait(timeout=400) == 0


@pytest.mark.slow
def test_every_command_does_what_the_page_shows(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("POSESTUDY_", "MLFLOW_T"))}
    environment |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "PYTHONUNBUFFERED": "1"}
    done = 0
    for block in _BLOCK.finditer(PAGE.read_text(encoding="utf-8")):
        title = block["title"] or ""
        if block["kind"] == "yaml":
            file = tmp_path / title.removesuffix(_AT_THE_END)
            before = file.read_text(encoding="utf-8") if title.endswith(_AT_THE_END) else ""
            file.write_text(before + block["text"], encoding="utf-8")
            continue
        for command in commands(block["text"]):
            (serve if "until Ctrl-C" in title else follow)(command, tmp_path, environment)
            done += 1
    assert done > 10
    assert (tmp_path / "out" / "cats" / "report.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "hand_in" / "12345.zip").is_file()
