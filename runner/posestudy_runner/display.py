"""What a pool shows: a live table in a terminal, plain lines with the time elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

_NOWHERE = suppress(OSError, SystemExit)
"""A full disk, or a reader that is gone, of which Rich makes an exit: what is said is worth less than the training."""


@dataclass(frozen=True)
class SlotView:
    """What one slot does now; `trial` None: nothing."""

    device: str
    stage: str = ""
    cell: str = ""
    trial: int | None = None
    seed: int = 0
    epoch: int = 0
    epochs: int = 0
    metric: float | None = None
    best: float | None = None
    best_epoch: int | None = None
    seconds_left: float | None = None
    note: str = ""

    def line(self, metric: str) -> str:
        """The same as a sentence of one line."""
        name = f"{self.stage}: trial {self.trial} ({self.cell}, seed {self.seed})"
        parts = [name, f"epoch {self.epoch}/{self.epochs}"]
        if self.metric is not None:
            parts.append(f"{metric} {self.metric:.4f}")
        if self.best is not None:
            parts.append(f"best {self.best:.4f} at {self.best_epoch}")
        if self.seconds_left is not None:
            parts.append(f"{duration(self.seconds_left)} left")
        return "  ".join(parts)


def duration(seconds: float) -> str:
    """`95` as `1:35`, `3700` as `1:01:40`."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Display(Protocol):
    """Where a pool reports; every method may be called from any thread."""

    def __enter__(self) -> Display: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def say(self, text: str) -> None:
        """Something happened that stays worth reading."""

    def show(self, slot: int, view: SlotView, *, news: bool = False) -> None:
        """What a slot does now; `news` where a line of its own is worth it."""

    def standing(self, done: int, total: int) -> None:
        """How many of the known trials are done."""


class LineDisplay:
    """One line an event, for logs and pipes."""

    def __init__(self, console: Console, metric: str) -> None:
        self._console = console
        self._metric = metric
        self._lock = threading.Lock()

    def __enter__(self) -> LineDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def say(self, text: str) -> None:
        stamp = datetime.now().astimezone().strftime("%H:%M:%S")
        with self._lock, _NOWHERE:
            self._console.print(f"{stamp}  {text}", markup=False, highlight=False, soft_wrap=True)

    def show(self, slot: int, view: SlotView, *, news: bool = False) -> None:
        if news and view.trial is not None:
            self.say(view.line(self._metric))

    def standing(self, done: int, total: int) -> None:
        return None


class TableDisplay:
    """A table that lives at the bottom of the terminal, events scrolling above it."""

    def __init__(self, console: Console, metric: str, title: str) -> None:
        self._metric = metric
        self._title = title
        self._views: dict[int, SlotView] = {}
        self._standing = (0, 0)
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._live = Live(console=console, get_renderable=self._table, refresh_per_second=2, transient=True)

    def __enter__(self) -> TableDisplay:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def say(self, text: str) -> None:
        with _NOWHERE:
            self._live.console.print(escape(text), highlight=False)

    def show(self, slot: int, view: SlotView, *, news: bool = False) -> None:
        with self._lock:
            self._views[slot] = view

    def standing(self, done: int, total: int) -> None:
        with self._lock:
            self._standing = (done, total)

    def _table(self) -> Table:
        with self._lock:
            views, (done, total) = dict(self._views), self._standing
        running = duration(time.monotonic() - self._started)
        table = Table(title=f"{escape(self._title)}: {done} of {total} trials done, {running}", title_justify="left")
        for name in ("device", "stage", "trial", "cell", "epoch", self._metric, "best", "left"):
            table.add_column(name, justify="left" if name in ("device", "stage", "cell") else "right", no_wrap=True)
        for slot in sorted(views):
            table.add_row(*_row(views[slot]))
        return table


def _row(view: SlotView) -> Iterable[str]:
    if view.trial is None:
        return (view.device, escape(view.note or "-"), "", "", "", "", "", "")
    best = "" if view.best is None else f"{view.best_epoch}: {view.best:.4f}"
    left = view.note or ("" if view.seconds_left is None else duration(view.seconds_left))
    return (
        view.device,
        escape(view.stage),
        str(view.trial),
        escape(f"{view.cell} (seed {view.seed})"),
        f"{view.epoch}/{view.epochs}",
        "" if view.metric is None else f"{view.metric:.4f}",
        best,
        escape(left),
    )


def display_for(metric: str, title: str, console: Console | None = None) -> LineDisplay | TableDisplay:
    """The table in a terminal, lines elsewhere."""
    console = console or Console()
    return TableDisplay(console, metric, title) if console.is_terminal else LineDisplay(console, metric)
