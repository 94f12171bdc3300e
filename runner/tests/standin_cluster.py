"""A Ray cluster of several nodes on this machine, as a process of its own: `python standin_cluster.py FOLDER`.

It speaks a line of JSON for a line of JSON, as `{"do": "add", "cpus": 1, "gpus": 0, "has": FOLDER}` or
`{"do": "kill", "node": ID, "whole": true}` or `{"do": "behead"}`.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

TOKEN = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "PYTHONPATH": str(Path(__file__).parent),
}
"""What the cluster and those who use it have in their environment; it listens on 127.0.0.1 alone."""

# A node that dies is noticed in a second or two; Ray's own patience is made for networks.
_SOON = {"health_check_initial_delay_ms": 500, "health_check_period_ms": 500, "health_check_timeout_ms": 500,
         "health_check_failure_threshold": 3}  # fmt: skip


class Nodes:
    """The cluster, asked by pipe."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process = process
        self.folder = folder
        self.alive: list[str] = []
        self.address = str(self._answer()["address"])

    def add(self, *, cpus: int = 1, gpus: int = 0, has: Path | None = None) -> str:
        """A further node, on which Python finds also what is in the folder `has`; its identifier."""
        node = str(self._ask({"do": "add", "cpus": cpus, "gpus": gpus, "has": str(has or "")})["node"])
        self.alive.append(node)
        return node

    def kill(self, node: str, *, whole: bool = True) -> None:
        """SIGKILL to every process on a node; or to Ray's own alone, so that its worker finds out by itself."""
        self._ask({"do": "kill", "node": node, "whole": whole})
        self.alive.remove(node)

    def behead(self) -> None:
        """SIGKILL to what keeps the cluster together; its nodes find out by themselves."""
        self._ask({"do": "behead"})

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the cluster has died")
        return dict(json.loads(line))


@contextlib.contextmanager
def started(log: Path) -> Iterator[Nodes]:
    """A cluster with a head that takes no worker; whatever happens, nothing of it is left at the end."""
    # Ray's sockets lie here, and the path of a socket is short.
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, __file__, folder], env={**os.environ, **TOKEN, "RAY_TMPDIR": folder}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
        )  # fmt: skip
    try:
        yield Nodes(process, Path(folder))
    finally:
        end(*marked(folder), process.pid)
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def marked(word: str) -> list[int]:
    """Processes with `word` in their arguments or their environment, those that Ray has renamed too."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if word in " ".join(process.cmdline()) or word in " ".join(process.environ().values()):
                found.append(process.pid)
    return found


def end(*pids: int) -> None:
    """SIGKILL to these processes and all they have started."""
    doomed = []
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            doomed += [process, *process.children(recursive=True)]
    for process in doomed:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(doomed, timeout=10)


def main(folder: str) -> None:
    # What Ray prints would come between the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    (Path(folder) / "ray").mkdir()
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, "_system_config": _SOON}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes: dict[str, Any] = {}
    print(json.dumps({"address": cluster.address}), file=answers)
    for line in sys.stdin:
        order = json.loads(line)
        told = {}
        if order["do"] == "add":
            os.environ["PYTHONPATH"] = f"{Path(__file__).parent}:{order['has']}".rstrip(":")
            node = cluster.add_node(num_cpus=order["cpus"], num_gpus=order["gpus"])
            nodes[node.node_id] = node
            told["node"] = node.node_id
        elif order["do"] == "behead":
            assert cluster.head_node is not None
            cluster.head_node.kill_gcs_server()
        else:
            node = nodes.pop(order["node"])
            if order["whole"]:
                end(*(kept.process.pid for kind in node.all_processes.values() for kept in kind))
            cluster.remove_node(node, allow_graceful=False)
        print(json.dumps(told), file=answers)


if __name__ == "__main__":
    main(sys.argv[1])
