"""What of the ledger MLflow and Optuna's tables do not have yet, and why: kept in the home for `posestudy status`."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from posestudy.durable import write_text
from posestudy.home import Home


@dataclass(frozen=True)
class Backlog:
    """Sentences that say what waits; `since`: seconds since the epoch at which the first of them was noticed."""

    since: float
    sentences: tuple[str, ...]

    def __str__(self) -> str:
        return f"behind since {clock(self.since)}: {'; '.join(self.sentences)}"


def clock(seconds: float) -> str:
    """A moment in the local zone: `10:32` today, with its date on other days."""
    moment, now = datetime.fromtimestamp(seconds).astimezone(), datetime.now().astimezone()
    return moment.strftime("%H:%M" if moment.date() == now.date() else "%Y-%m-%d %H:%M")


def read_backlog(home: Home) -> Backlog | None:
    """What `keep_backlog` kept last; None where nothing waits."""
    try:
        kept = json.loads(home.backlog.read_text(encoding="utf-8"))
        return Backlog(float(kept["since"]), tuple(str(sentence) for sentence in kept["sentences"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep_backlog(home: Home, sentences: Sequence[str]) -> Backlog | None:
    """Replace what is kept; none where `sentences` is empty. A disk that cannot be written is no reason to stop."""
    if not sentences:
        with suppress(OSError):
            home.backlog.unlink(missing_ok=True)
        return None
    before = read_backlog(home)
    made = Backlog(before.since if before else time.time(), tuple(sentences))
    if made != before:
        with suppress(OSError):
            write_text(home.backlog, json.dumps({"since": made.since, "sentences": list(made.sentences)}))
    return made
