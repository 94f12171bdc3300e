"""The ledger: the one truth about numbers, states, values and decisions of every study of a home."""

from posestudy.ledger.book import Ledger

__all__ = ["Ledger"]
