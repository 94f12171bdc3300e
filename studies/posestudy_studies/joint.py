"""Joint changes: cells that change more than one factor at once, and so are the effect of none of them alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from posestudy_studies import factors


def changed(levels: Mapping[str, Any], config: Mapping[str, Any], start: Mapping[str, Any]) -> list[str]:
    """The declared factors whose level differs between two nested configurations, sorted.

    A group given as one level, such as `augmentation: {...}`, is one factor.

    Args:
        levels: what the cell sets.
        config, start: the cell's configuration and the one its stage starts from, as the ledger holds them.
    """
    return sorted(f for f in levels if factors.get(config, f) != factors.get(start, f))


def factors_at_once(names: Sequence[str], as_one: Sequence[Sequence[str]]) -> list[str]:
    """The changed factors `names` where they count as more than one, else an empty list.

    Args:
        names: as `changed` gives them.
        as_one: groups of factors that count as one.
    """
    left = set(names)
    count = 0
    for group in as_one:
        if left & set(group):
            left -= set(group)
            count += 1
    return list(names) if count + len(left) > 1 else []
