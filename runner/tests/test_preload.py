"""The real preload: children of it compute, with as many threads as they ask for, and fork their data loaders."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch_children
from standin_pool import importable_standins

from posestudy_runner.forkserver import PRELOAD, Starter, StartMethod
from posestudy_runner.probe import probe

__all__ = ["importable_standins"]


@pytest.mark.slow
def test_children_of_the_preload_compute_and_fork_their_loaders() -> None:
    with Starter(StartMethod.FORKSERVER, PRELOAD) as starter:
        assert probe(starter)["problem"] is None
        for _ in range(2):
            ours, theirs = starter.pipe()
            process = starter.start(torch_children.compute, (theirs,), "compute")
            theirs.close()
            assert ours.poll(120), "a tensor operation in the child hangs"
            answer = json.loads(ours.recv_bytes())
            starter.exit_code(process)
            assert answer["sum"] == 512.0**3
            assert answer["threads"] == 2
            assert answer["default_start"] == "forkserver"
            assert answer["start"] == "fork"
            assert answer["loader_parents"] == [answer["pid"]]


@pytest.mark.slow
def test_the_preload_starts_no_threads_and_loads_no_mlflow() -> None:
    program = (
        "import os, sys, posestudy_runner.preload\n"
        "print(len(os.listdir('/proc/self/task')), 'mlflow' in sys.modules, 'optuna' in sys.modules, "
        "'sqlalchemy' in sys.modules)"
    )
    environment = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=400, env={**environment}
    )
    assert done.stdout.split()[-4:] == ["1", "False", "False", "False"], done.stderr


def test_the_pool_itself_never_loads_torch() -> None:
    program = (
        "import sys, posestudy_runner.commands, posestudy_runner.launching, posestudy_runner.engines.local\n"
        "print('torch' in sys.modules, 'mlflow' in sys.modules, 'pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=400)
    assert done.stdout.split() == ["False", "False", "False"], done.stderr
