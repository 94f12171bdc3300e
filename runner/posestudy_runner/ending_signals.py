"""The signals that end what runs: each tells a function instead of ending the process at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


@contextmanager
def told_to(hear: Callable[[str], None]) -> Iterator[None]:
    """While it is entered, `hear` gets the name of every such signal; only the main thread can set that up.

    Args:
        hear: called between two steps of whatever runs, so it must not wait for anything.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(number: int, _frame: FrameType | None) -> None:
        hear(signal.Signals(number).name)

    # What is ignored stays so: `nohup` ignores the end of the terminal.
    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, on_signal) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
