"""What a shell offers for the words of a command line: studies of the home and outcomes, in a few milliseconds."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from typing import Any, Final

from posestudy.home import Home
from posestudy.vocabulary import Outcome

_BUSY_S: Final = 0.2


def complete(command: Any) -> Any:
    """`command`, with what a shell offers for those of its parameters that every command means alike.

    A parameter called `study` is the name of a launched one, unless its metavar says that it is a file; `--retry` is a
    list of outcomes. What a parameter offers by itself stays.
    """
    for child in getattr(command, "commands", {}).values():
        complete(child)
    for parameter in command.params:
        offer = _offer(parameter)
        if offer is not None and parameter._custom_shell_complete is None:
            parameter._custom_shell_complete = offer
    return command


def _offer(parameter: Any) -> Callable[[Any, Any, str], list[str]] | None:
    if parameter.name == "study" and ".yaml" not in str(parameter.metavar or ""):
        return lambda context, _, begun: [name for name in study_names(_home(context)) if name.startswith(begun)]
    if "--retry" in parameter.opts:
        return lambda context, _, begun: listed([outcome.value for outcome in Outcome], begun)
    return None


def listed(words: Iterable[str], begun: str) -> list[str]:
    """The lists that go on from `begun`, words with commas between, by one of `words` that it does not have."""
    *there, last = begun.split(",")
    before = "".join(f"{word}," for word in there)
    return [f"{before}{word}" for word in words if word.startswith(last) and word not in there]


def study_names(home: Home) -> list[str]:
    """The studies of the ledger, read without what opening it takes; none where it is away, busy or not there."""
    if os.environ.get("POSESTUDY_DATABASE_URL"):
        return _names_on_server()
    with suppress(sqlite3.Error, OSError):
        address = f"{home.database.as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=_BUSY_S)) as connection:
            return [str(name) for (name,) in connection.execute("SELECT name FROM study ORDER BY name")]
    return []


def _names_on_server() -> list[str]:
    from posestudy.errors import PoseStudyError
    from posestudy.ledger import Ledger
    from posestudy.settings import Settings

    # Nothing is said while somebody types.
    with suppress(PoseStudyError):
        ledger = Ledger.open(Settings.resolve().database_url, create=False)
        with closing(ledger):
            return sorted(study.name for study in ledger.studies())
    return []


def _home(context: Any) -> Home:
    """The home that `--home` before the command names, or the environment."""
    return Home.resolve(context.find_root().params.get("home"))
