"""Which nodes of a Ray cluster cannot take a worker, as those have told that were placed there."""

from __future__ import annotations

from collections.abc import Set

_NODE = "ray.io/node-id"


class Refusals:
    """The nodes on which the last worker could not work."""

    def __init__(self) -> None:
        self._nodes: set[str] = set()
        self._unplaced = 0

    def __contains__(self, node: str) -> bool:
        return node in self._nodes

    def add(self, node: str | None) -> None:
        """A worker could not work on `node`; None: it did not come so far as to say where it is."""
        if node is None:
            self._unplaced += 1
        else:
            self._nodes.add(node)

    def forget(self, node: str) -> None:
        """A worker is at work on `node`."""
        self._nodes.discard(node)
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
        return able <= self._nodes or self._unplaced >= max(workers, len(able))
