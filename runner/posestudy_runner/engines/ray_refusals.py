"""Which nodes of a Ray cluster cannot take a worker, as those have told that were placed there."""

from __future__ import annotations

import math
import time
from collections.abc import Set

_NODE = "ray.io/node-id"


class Refusals:
    """The nodes on which the last worker could not work."""

    def __init__(self) -> None:
        self._nodes: dict[str, float] = {}
        """With the time of the first refusal, on the monotonic clock."""
        self._unplaced = 0

    def leave_hope(self, node: str, placed: float) -> bool:
        """Whether a worker may yet work on `node`: it came before the first refusal there, or there was none.

        Args:
            placed: when it came, on the monotonic clock.
        """
        return placed <= self._nodes.get(node, math.inf)

    def add(self, node: str | None) -> None:
        """A worker could not work on `node`; None: it did not come so far as to say where it is."""
        if node is None:
            self._unplaced += 1
        else:
            self._nodes.setdefault(node, time.monotonic())

    def forget(self, node: str) -> None:
        """A worker is at work on `node`."""
        self._nodes.pop(node, None)
        self._unplaced = 0

    def elsewhere(self) -> dict[str, str]:
        """The labels that Ray shall look for to place a worker elsewhere; none where any node will do."""
        return {_NODE: f"!in({','.join(sorted(self._nodes))})"} if self._nodes else {}

    def everywhere(self, able: Set[str], workers: int) -> bool:
        """Whether all was tried in vain.

        Args:
            able: the nodes that are large enough for a worker.
            workers: how many there shall be.
        """
        return able <= self._nodes.keys() or self._unplaced >= max(workers, len(able))
