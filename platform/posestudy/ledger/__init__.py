"""The ledger: the one truth about numbers, states, values and decisions of every study of a home."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posestudy.ledger.book import Ledger

__all__ = ["Ledger"]


def __getattr__(name: str) -> Any:
    # The row types of `records` are used where SQL must not be loaded: plans, pure functions, trial processes.
    if name == "Ledger":
        from posestudy.ledger.book import Ledger

        return Ledger
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
