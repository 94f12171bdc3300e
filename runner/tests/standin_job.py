"""What a job's command starts, with stand-in trials: `python standin_job.py COMMAND...` reads home and study in it."""

from __future__ import annotations

import sys
from pathlib import Path

from standin_pool import STUDY, Standin

from posestudy.home import Home
from posestudy.ledger import Ledger


def main(words: list[str]) -> None:
    if words[words.index("worker") + 1] != STUDY:
        raise ValueError(words)
    home = Home(Path(words[words.index("--home") + 1]))
    ledger = Ledger.open(f"sqlite:///{home.database}", create=False)
    document = ledger.study(STUDY).document
    Standin(home, ledger, document["cells"]).pool(poll_s=0.1).run(1)


if __name__ == "__main__":
    main(sys.argv[1:])
