"""A pool of stand-in trials as a process of its own, to be frozen and killed: `... HOME URL CELLS OPTIONS` (JSON)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from standin_pool import Standin

from posestudy.home import Home
from posestudy.ledger import Ledger


def start(home: Home, url: str, cells: dict[str, Any], output: Path, **options: Any) -> subprocess.Popen[bytes]:
    """The pool with one worker; what it says goes to the end of `output`."""
    arguments = [str(home.root), url, json.dumps(cells), json.dumps(options)]
    with output.open("ab") as stream:
        return subprocess.Popen([sys.executable, __file__, *arguments], stdout=stream, stderr=subprocess.STDOUT)


def main(home: str, url: str, cells: str, options: str) -> None:
    study = Standin(Home.resolve(home), Ledger.open(url), json.loads(cells), output=sys.stdout)  # type: ignore[arg-type]
    study.pool(**json.loads(options)).run(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
