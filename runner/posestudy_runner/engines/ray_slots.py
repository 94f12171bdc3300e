"""How large a worker's place in a Ray cluster is, and how many of them the nodes have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Node:
    """What a node offers in all, used or not; `name` is Ray's identifier of it."""

    cpus: float
    gpus: float
    name: str = ""


@dataclass(frozen=True)
class SlotSize:
    """What one worker asks of a node.

    Attributes:
        cores: CPU cores; 0 where the node has fewer of them than GPUs.
        gpus: GPUs; below 1 where several workers share one, 0 for trials on the CPU.
        processes: computing processes of one trial, of which each has a GPU, or its share of the cores.
    """

    cores: int
    gpus: float
    processes: int = 1

    @property
    def words(self) -> str:
        """As one says it: `1 GPU and 4 cores`."""
        cores = f"{self.cores} {'core' if self.cores == 1 else 'cores'}"
        if not self.gpus:
            return cores
        gpus = f"{self.gpus:g} {'GPU' if self.gpus <= 1 else 'GPUs'}"
        return f"{gpus} and {cores}" if self.cores else gpus

    def fits(self, node: Node) -> int:
        """How many such workers `node` has room for."""
        by = [int(node.cpus / self.cores)] if self.cores else []
        if self.gpus:
            # As many as share a GPU, for each GPU: a trial's share never lies on two of them.
            by.append(int(node.gpus / self.gpus) if self.gpus >= 1 else int(node.gpus) * round(1 / self.gpus))
        return min(by, default=0)


def slot_size(nodes: Sequence[Node], workers: int | None, per_gpu: int, processes: int) -> SlotSize:
    """The size that suits every node which can take a worker at all.

    With GPUs in the cluster, a worker has its share of a GPU and, of the node with the fewest cores a GPU, as many
    cores. Without, it has all cores of the smallest node, or as many as leave room for all `workers`.

    Args:
        nodes: those that are alive.
        workers: how many there shall be; None: one a device.
        per_gpu: workers that share a GPU.
        processes: see `SlotSize`; more than one takes so many whole GPUs.
    """
    # Where none is large enough, workers wait for one that is: the CPU would give other numbers.
    with_gpus = [n for n in nodes if n.gpus >= processes] or [n for n in nodes if n.gpus > 0]
    if with_gpus:
        gpus = float(processes) if processes > 1 else 1 / per_gpu
        return SlotSize(int(min(node.cpus / node.gpus for node in with_gpus) * gpus), gpus, processes)
    sizes = [int(node.cpus) for node in nodes if node.cpus >= processes]
    cores = min(sizes, default=processes)
    while workers is not None and cores > processes and _room(nodes, SlotSize(cores, 0.0, processes)) < workers:
        cores -= 1
    return SlotSize(cores, 0.0, processes)


def _room(nodes: Sequence[Node], size: SlotSize) -> int:
    return sum(size.fits(node) for node in nodes)


def room(nodes: Sequence[Node], size: SlotSize) -> int:
    """How many workers of that size the nodes have room for, at least one: a cluster may have to grow first."""
    return max(1, _room(nodes, size))
