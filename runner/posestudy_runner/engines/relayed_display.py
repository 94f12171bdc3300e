"""A display whose events are fetched by another process and shown on the display there."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from types import TracebackType

from posestudy_runner.display import Display, SlotView


@dataclass(frozen=True)
class Said:
    """A line worth reading; `preparing` where no slot was at work yet."""

    text: str
    preparing: bool


@dataclass(frozen=True)
class Shown:
    """What a slot does now, as `Display.show` was told."""

    view: SlotView
    news: bool


@dataclass(frozen=True)
class Stood:
    """How many trials are done of how many."""

    done: int
    total: int


Event = Said | Shown | Stood


class RelayedDisplay:
    """Keeps what is told until it is fetched; of several states that are no news only the last."""

    def __init__(self) -> None:
        self._told: list[Event] = []
        self._changed = threading.Condition()
        self._entered = False
        self._closed = False

    def __enter__(self) -> RelayedDisplay:
        self._entered = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def say(self, text: str) -> None:
        self._tell(Said(text, preparing=not self._entered))

    def show(self, slot: int, view: SlotView, *, news: bool = False) -> None:
        self._tell(Shown(view, news))

    def standing(self, done: int, total: int) -> None:
        self._tell(Stood(done, total))

    def close(self) -> None:
        """Nothing more will be told: who waits in `fetch` need not."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def fetch(self, wait_s: float) -> tuple[list[Event], bool]:
        """What was told since the last call, waited for up to `wait_s` seconds, and whether it was the last of it."""
        with self._changed:
            self._changed.wait_for(lambda: self._told or self._closed, wait_s)
            told, self._told = self._told, []
            return told, self._closed

    def _tell(self, event: Event) -> None:
        with self._changed:
            if self._told and _outdated(self._told[-1], event):
                self._told.pop()
            self._told.append(event)
            self._changed.notify_all()


def _outdated(before: Event, now: Event) -> bool:
    if isinstance(before, Shown) and isinstance(now, Shown):
        return not before.news
    return isinstance(before, Stood) and isinstance(now, Stood)


def replay(event: Event, display: Display, slot: int, node: str) -> None:
    """Show `event` of a worker on `node` as that of the slot with this number."""
    if isinstance(event, Said):
        display.say(f"{node}: {event.text}")
    elif isinstance(event, Shown):
        display.show(slot, replace(event.view, node=node), news=event.news)
    else:
        display.standing(event.done, event.total)
