"""Starting trial processes: from a forkserver that holds the heavy imports, or from a fresh interpreter (`spawn`)."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import multiprocessing.forkserver as mp_forkserver
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any

from posestudy import masking
from posestudy.errors import MissingPieceError

PRELOAD = "posestudy_runner.preload"

# OpenMP and BLAS threads started by an import would be lost in the fork and deadlock the child. The NVML check
# answers `torch.cuda.is_available()`, which mmengine asks while it is imported, without touching CUDA itself.
CHILD_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
    "NO_ALBUMENTATIONS_UPDATE": "1",
}

# What only the parent needs: a trial speaks to its worker alone, and its code may print or send its environment.
PARENT_ONLY = (
    "POSESTUDY_DATABASE_URL",
    "POSESTUDY_DATABASE_PASSWORD_FILE",
    "PGPASSWORD",
    "MLFLOW_TRACKING_URI",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_PASSWORD_FILE",
    "MLFLOW_TRACKING_TOKEN",
    "RAY_AUTH_TOKEN",
)


class StartMethod(StrEnum):
    """How a trial process comes into being; both give the same results."""

    FORKSERVER = "forkserver"
    SPAWN = "spawn"


def preload_problem(preload: str | None) -> str | None:
    """Asked in a child: a sentence when the forkserver did not load `preload`, else None."""
    if preload is None or getattr(sys.modules.get(preload), "LOADED", False):
        return None
    return import_problem(preload) or f"the forkserver did not preload {preload}, although it can be imported here"


def import_problem(module: str | None) -> str | None:
    """A sentence when `module` cannot be imported in this process, else None."""
    if module is None:
        return None
    try:
        importlib.import_module(module)
    except Exception as error:  # noqa: BLE001 - whatever the import raised is what the user must read
        return f"the training packages cannot be imported: {type(error).__name__}: {error}"
    return None


class Starter:
    """Starts processes by one method, from any thread. Use it as a context: it sets the children's environment.

    Within the context this process's own environment is the children's: without what `PARENT_ONLY` names.

    Args:
        method: forkserver, or spawn as the fallback.
        preload: module that must be importable in a child, which the forkserver imports once for all; None for none.
    """

    def __init__(self, method: StartMethod = StartMethod.FORKSERVER, preload: str | None = PRELOAD) -> None:
        self.method = method
        self.needs = preload
        self.preload = preload if method is StartMethod.FORKSERVER else None
        # multiprocessing polls all children whenever one is started; two threads reading one exit status at
        # the same time would lose it, so everything that may reap goes through this lock.
        self._lock = threading.Lock()
        self._saved: dict[str, str | None] = {}
        self._hidden: dict[str, str] = {}
        self._context: ForkServerContext | SpawnContext
        if not hasattr(os, "pidfd_open"):
            raise MissingPieceError("trials need Linux 5.3 or newer: this system has no pidfd_open")

    def __enter__(self) -> Starter:
        self._saved = {name: os.environ.get(name) for name in CHILD_ENVIRONMENT}
        os.environ.update(CHILD_ENVIRONMENT)
        # A process gets the environment that its starter has, and multiprocessing gives no say in it.
        masking.remember_environment()
        self._hidden = {name: os.environ.pop(name) for name in PARENT_ONLY if name in os.environ}
        if self.method is StartMethod.SPAWN:
            self._context = multiprocessing.get_context("spawn")
        else:
            self._context = multiprocessing.get_context("forkserver")
            self._context.set_forkserver_preload([self.preload] if self.preload else [])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.method is StartMethod.FORKSERVER:
            self._stop_server()
        for name, value in self._saved.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        os.environ.update(self._hidden)

    def pipe(self) -> tuple[Connection, Connection]:
        """A two-way pipe: the end that stays here and the end to give to the child."""
        return self._context.Pipe(duplex=True)

    def start(self, target: Callable[..., None], arguments: tuple[Any, ...], name: str) -> BaseProcess:
        """A started process. The first one waits for the forkserver's imports (about 30 s on a slow machine)."""
        process = self._context.Process(target=target, args=arguments, name=name)
        with self._lock:
            process.start()
        return process

    def exit_code(self, process: BaseProcess, timeout_s: float = 5.0) -> int | None:
        """The exit code of a process known to be dead, -N for signal N; None where the forkserver died with it."""
        deadline = time.monotonic() + timeout_s
        wait([process.sentinel], timeout_s)
        # A dying process closes its files, the sentinel of `spawn` among them, an instant before it can be reaped.
        while (code := self._reaped(process)) is None and time.monotonic() < deadline:
            time.sleep(0.001)
        # 255 is what multiprocessing answers when the forkserver is gone and nobody knows.
        return None if code == 255 and self.method is StartMethod.FORKSERVER else code

    def _reaped(self, process: BaseProcess) -> int | None:
        with self._lock:
            return process.exitcode

    def forget(self, process: BaseProcess) -> None:
        """Give back what the parent holds of a dead process."""
        with self._lock, contextlib.suppress(ValueError):
            process.close()

    def server_pid(self) -> int | None:
        """The forkserver's process id, None before the first start and with spawn."""
        # The standard library keeps one forkserver a process and offers no public way to name or stop it.
        pid = vars(mp_forkserver._forkserver).get("_forkserver_pid")
        return int(pid) if pid is not None else None

    def _stop_server(self) -> None:
        pid = self.server_pid()
        if pid is None:
            return
        # Without the signal the server would wait for every process that inherited its "alive" pipe. A start that
        # waits for its imports fails with it.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with self._lock, contextlib.suppress(ChildProcessError):
            mp_forkserver._forkserver._stop()  # type: ignore[attr-defined]
