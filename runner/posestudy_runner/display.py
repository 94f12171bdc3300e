"""What a pool shows: a live table in a terminal, plain lines with the time elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from posestudy.terminal import Column, Stamps, fitted, paints

_NOWHERE = suppress(OSError, SystemExit)
"""A full disk, or a reader that is gone, of which Rich makes an exit: what is said is worth less than the training."""


@dataclass(frozen=True)
class SlotView:
    """What one slot does now; `trial` None: nothing. `node` names its machine where there are several."""

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
    node: str = ""

    @property
    def place(self) -> str:
        """Where it is: the device, and its machine where there are several."""
        return f"{self.node} {self.device}".strip()

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
        return (f"{self.node}: " if self.node else "") + "  ".join(parts)


def duration(seconds: float) -> str:
    """`95` as `1:35`, `3700` as `1:01:40`."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Pace:
    """How many of the known trials are done, and how long the others take if it goes on as since the first look."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first: tuple[float, int] | None = None
        self.done = self.total = 0

    def look(self, done: int, total: int) -> bool:
        """Take what is done now; true where more is than at the last look."""
        more = self._first is not None and done > self.done
        if self._first is None or done < self.done:
            # Trials that are put back to run begin a new count.
            self._first = self._clock(), done
        self.done, self.total = done, total
        return more

    @property
    def seconds_left(self) -> float | None:
        """For the known trials that are not done; None before one was seen to end."""
        if self._first is None or self.done <= self._first[1] or self.done >= self.total:
            return None
        began, before = self._first
        return (self._clock() - began) / (self.done - before) * (self.total - self.done)

    def sentence(self) -> str:
        """`3 of 12 trials done, about 1:20:00 for the 9 others`; later stages may add to them."""
        if not self.total:
            return "no trial is known yet"
        left, others = self.seconds_left, self.total - self.done
        rest = (
            "" if left is None else f", about {duration(left)} for the {f'{others} others' if others > 1 else 'other'}"
        )
        return f"{self.done} of {self.total} trials done{rest}"


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
        self._pace = Pace()
        self._stamp = Stamps()
        self._lock = threading.Lock()

    def __enter__(self) -> LineDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def say(self, text: str) -> None:
        with self._lock, _NOWHERE:
            self._console.print(f"{self._stamp()}  {text}", markup=False, highlight=False, soft_wrap=True)

    def show(self, slot: int, view: SlotView, *, news: bool = False) -> None:
        if news and view.trial is not None:
            self.say(view.line(self._metric))

    def standing(self, done: int, total: int) -> None:
        with self._lock:
            more, sentence = self._pace.look(done, total), self._pace.sentence()
        if more:
            self.say(sentence)


class TableDisplay:
    """A table that lives at the bottom of the terminal, events scrolling above it."""

    def __init__(self, console: Console, metric: str, title: str) -> None:
        self._metric = metric
        self._console = console
        self._title = title
        self._views: dict[int, SlotView] = {}
        self._pace = Pace()
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._live = Live(console=console, get_renderable=self._screen, refresh_per_second=2, transient=True)

    def __enter__(self) -> TableDisplay:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def say(self, text: str) -> None:
        with _NOWHERE:
            self._console.print(escape(text), highlight=False)

    def show(self, slot: int, view: SlotView, *, news: bool = False) -> None:
        with self._lock:
            self._views[slot] = view

    def standing(self, done: int, total: int) -> None:
        with self._lock:
            self._pace.look(done, total)

    def _screen(self) -> RenderableType:
        with self._lock:
            views, standing = dict(self._views), self._pace.sentence()
        running = duration(time.monotonic() - self._started)
        title = Text(f"{self._title}: {standing}; running for {running}", style="italic")
        columns = [replace(column, name=column.name or self._metric) for column in _COLUMNS]
        rows = [_row(views[slot]) for slot in sorted(views)]
        return Group(title, "", fitted(columns, rows, self._console.width))


# The name of the metric is the study's. In a narrow terminal names give way, then what `status` tells as well.
_COLUMNS = (
    *(Column("device", is_name=True, goes=2), Column("stage", is_name=True, goes=1), Column("trial")),
    *(Column("cell", is_name=True), Column("epoch"), Column(""), Column("best", goes=3), Column("left", goes=4)),
)


def _row(view: SlotView) -> tuple[str, ...]:
    if view.trial is None:
        return (view.place, "", "", view.note or "waits for a trial", "", "", "", "")
    best = "" if view.best is None else f"{view.best_epoch}: {view.best:.4f}"
    left = view.note or ("" if view.seconds_left is None else duration(view.seconds_left))
    return (
        view.place,
        view.stage,
        str(view.trial),
        f"{view.cell} (seed {view.seed})",
        f"{view.epoch}/{view.epochs}",
        "" if view.metric is None else f"{view.metric:.4f}",
        best,
        left,
    )


def display_for(metric: str, title: str, console: Console | None = None) -> LineDisplay | TableDisplay:
    """The table where it can be painted over, lines elsewhere."""
    if console is None:
        # Not as Rich finds it: a file is no terminal, whatever FORCE_COLOR says.
        console = Console(force_terminal=paints(sys.stdout))
    return TableDisplay(console, metric, title) if console.is_terminal else LineDisplay(console, metric)
