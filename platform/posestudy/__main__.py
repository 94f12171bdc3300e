"""`python -m posestudy`: the command line where no script of that name is on the path."""

from __future__ import annotations

from posestudy.commands.app import run

if __name__ == "__main__":
    run()
