"""The two web pages of `posestudy ui`: MLflow's server as a process, optuna-dashboard as a thread, both on loopback."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from posestudy.errors import MissingPieceError
from posestudy.masking import hidden
from posestudy.projections.quiet_mlflow import prepare
from posestudy.settings import Settings

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

HOST = "127.0.0.1"
START_S = 180.0
_STOP_S = 10.0
_LOCAL_NAMES = frozenset({HOST, "localhost"})


def require_free(port: int, option: str) -> None:
    """MissingPieceError where something listens on `port` already; the message names `option` and a free port."""
    with socket.socket() as probe:
        # As the servers do: an address of a connection just closed counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            reason = "is in use" if not isinstance(error, PermissionError) else "may not be used by this user"
            raise MissingPieceError(
                f"port {port} on {HOST} {reason}; choose another with {option}, for example {option} {_free_port()}"
            ) from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class MlflowServer:
    """MLflow's UI and REST server in a process group of its own."""

    def __init__(self, settings: Settings, port: int) -> None:
        self.address = f"http://{HOST}:{port}"
        self._settings = settings
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, stop: threading.Event | None = None) -> None:
        """Start and wait until it answers; MissingPieceError with its last words where it does not."""
        home = self._settings.home
        home.root.mkdir(parents=True, exist_ok=True)
        environment = dict(os.environ)
        prepare(environment)
        # By environment, for the command line of a process is readable by every user and the URI may hold a password.
        environment["MLFLOW_BACKEND_STORE_URI"] = self._settings.mlflow_uri
        environment["MLFLOW_DEFAULT_ARTIFACT_ROOT"] = home.artifacts.as_uri()
        # A web page whose name is made to lead to loopback is refused, whatever the user's shell allows elsewhere.
        environment["MLFLOW_SERVER_ALLOWED_HOSTS"] = ",".join(f"{name}:{self._port}" for name in sorted(_LOCAL_NAMES))
        environment["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] = self.address
        command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(self._port)]
        command += ["--workers", "1", "--no-serve-artifacts"]
        with open(home.ui_log, "wb") as out:
            self._process = subprocess.Popen(
                command, env=environment, cwd=home.root, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True,
            )  # fmt: skip
        self._await(stop or threading.Event())

    def _await(self, stop: threading.Event) -> None:
        deadline = time.monotonic() + START_S
        while not stop.wait(0.3):
            if not self.running:
                raise MissingPieceError(f"MLflow's server ended at its start; its last words: {self._last_words()}")
            if time.monotonic() > deadline:
                raise MissingPieceError(f"MLflow's server did not answer in {START_S:.0f} s; see {self._log}")
            try:
                with urllib.request.urlopen(f"{self.address}/health", timeout=2):  # noqa: S310 - loopback
                    return
            except OSError:
                continue

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def _log(self) -> str:
        return str(self._settings.home.ui_log)

    def _last_words(self) -> str:
        lines = self._settings.home.ui_log.read_text(errors="replace").strip().splitlines()
        return hidden(" / ".join(lines[-3:])) or "none"

    def experiment_page(self, study: str) -> str | None:
        """The address of the study's experiment, or None where MLflow has none of that name."""
        query = urllib.parse.urlencode({"experiment_name": study})
        address = f"{self.address}/api/2.0/mlflow/experiments/get-by-name?{query}"
        try:
            with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310 - loopback
                found = json.load(answer)
        except urllib.error.HTTPError:
            return None
        return f"{self.address}/#/experiments/{found['experiment']['experiment_id']}/runs"

    def stop(self) -> None:
        """End the whole group: the server starts workers that would outlive it."""
        if self._process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)
                self._process.wait(_STOP_S)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        self._process.wait()


class OptunaServer:
    """optuna-dashboard over Optuna's tables, through its Python API: its own command takes the URL as an argument."""

    def __init__(self, url: str, port: int) -> None:
        self.address = f"http://{HOST}:{port}"
        self._url = url
        self._port = port
        self._server: WSGIServer | None = None

    def start(self) -> None:
        from posestudy.projections.optuna_tables import open_storage

        storage = open_storage(self._url)
        app = dashboard(storage)
        self._server = make_server(HOST, self._port, app, server_class=_Threaded, handler_class=_Quiet)
        threading.Thread(target=self._server.serve_forever, name="optuna-dashboard", daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


class _Threaded(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """A line a request is of no use to the user in front of the terminal."""


def dashboard(storage: Any) -> WSGIApplication:
    """optuna-dashboard's WSGI application, answering only to this machine's own names and to its own page.

    The dashboard itself looks at neither header, so any web page could rebind its name to loopback and read and delete
    studies, or send a form to it.
    """
    from optuna_dashboard import wsgi

    inner: Callable[..., Iterable[bytes]] = wsgi(storage)

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        host, origin = str(environ.get("HTTP_HOST", "")), environ.get("HTTP_ORIGIN")
        # A page from elsewhere can send a form here without asking; only what it reads back is kept from it.
        if _is_local(host) and (origin is None or origin == f"http://{host}"):
            return inner(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"this page answers to 127.0.0.1 and localhost only\n"]

    return guarded


def _is_local(host: str) -> bool:
    """Whether `host`, with or without a port, is a name of this machine."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() else host) in _LOCAL_NAMES
