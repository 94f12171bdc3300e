"""When a process of this machine started: with its id, what tells it from a later one that was given the same id."""

from __future__ import annotations

from pathlib import Path


def start_ticks(pid: int) -> str | None:
    """Clock ticks from the boot to the start of `pid`; None where it is gone, or dead and not yet reaped."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The command name in parentheses may hold spaces; the start time is the 20th field after it.
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]
