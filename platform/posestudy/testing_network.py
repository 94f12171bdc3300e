"""Proxies before real servers, for tests: they lose requests and answers, refuse, hang, and kill in between."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Fault = Callable[[int], str | int | None]
"""What happens to the n-th request (1-based): None passes it on; `lost` and `unanswered` cut the connection before and
after it was delivered, `kill before` and `kill after` call `kill` at these moments; `hang` accepts it and never
answers; `hold` says `held` and delivers the request when `released` is set; a number is the HTTP status of an error."""


class FaultyProxy:
    """Passes requests on to `port` on loopback, but for what `fault` says; `seen` counts them."""

    def __init__(self, port: int) -> None:
        self.upstream = port
        self.fault: Fault = lambda number: None
        self.kill: Callable[[], None] = lambda: None
        self.held, self.released = threading.Event(), threading.Event()
        self.seen = 0
        self.paths: list[str] = []
        self._counting = threading.Lock()
        self._gone = threading.Event()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None: ...

            def __getattr__(self, name: str) -> Any:
                if name.startswith("do_"):
                    return self.serve
                raise AttributeError(name)

            def serve(self) -> None:
                proxy.serve(self)

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """The client was killed: that is what this is for."""

        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def count_from_here(self, fault: Fault) -> None:
        with self._counting:
            self.seen, self.paths, self.fault = 0, [], fault

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        body = _body(request)
        with self._counting:
            self.seen += 1
            number, fault = self.seen, self.fault
            self.paths.append(f"{request.command} {request.path.partition('?')[0]}")
        what = fault(number)
        if what == "kill before":
            self.kill()
        if what in ("lost", "kill before"):
            request.close_connection = True
            return
        if what == "hang":
            self._gone.wait()
            request.close_connection = True
            return
        if what == "hold":
            self.held.set()
            self.released.wait()
        if isinstance(what, int):
            said = b"the test says no"
            request.send_response(what)
            request.send_header("Content-Length", str(len(said)))
            request.end_headers()
            request.wfile.write(said)
            return
        try:
            status, headers, answer = self._ask(request, body)
        except OSError:
            request.close_connection = True
            return
        if what == "kill after":
            self.kill()
        if what in ("unanswered", "kill after"):
            request.close_connection = True
            return
        request.send_response(status)
        for name, value in headers:
            if name.lower() not in ("transfer-encoding", "connection", "content-length", "date", "server"):
                request.send_header(name, value)
        request.send_header("Content-Length", str(len(answer)))
        request.end_headers()
        request.wfile.write(answer)

    def _ask(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        link = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=60)
        try:
            headers = {name: value for name, value in request.headers.items() if name.lower() not in _OF_ONE_HOP}
            headers["Host"] = f"127.0.0.1:{self.upstream}"
            link.request(request.command, request.path, body, headers)
            answer = link.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            link.close()

    def close(self) -> None:
        self._gone.set()
        with suppress(OSError):
            self._server.shutdown()
            self._server.server_close()


_OF_ONE_HOP = ("connection", "transfer-encoding", "content-length")


def _body(request: BaseHTTPRequestHandler) -> bytes:
    if "chunked" not in request.headers.get("Transfer-Encoding", ""):
        return request.rfile.read(int(request.headers.get("Content-Length") or 0))
    found = b""
    while size := int(request.rfile.readline().split(b";")[0], 16):
        found += request.rfile.read(size)
        request.rfile.readline()
    request.rfile.readline()
    return found


@contextmanager
def faulty_proxy(port: int) -> Iterator[FaultyProxy]:
    proxy = FaultyProxy(port)
    try:
        yield proxy
    finally:
        proxy.close()


def free_port() -> int:
    """A port of loopback on which nobody listens just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], Any], limit_s: float = 120.0) -> Any:
    """The first true answer of `condition`."""
    ends = time.monotonic() + limit_s
    while not (answer := condition()):
        if time.monotonic() > ends:
            raise TimeoutError("what the test waits for did not happen")
        time.sleep(0.05)
    return answer


class TcpProxy:
    """Passes TCP connections on to `port` on loopback.

    `mode` may be changed at any time: `pass`; `refuse` closes the listening socket and cuts what is open; `swallow`
    accepts and delivers nothing, in what is open too, as a firewall does that drops packets.
    """

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._mode = "pass"
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = self._listen(0)
        self.port = int(self._listener.getsockname()[1])

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client = listener.accept()[0]
                try:
                    server = socket.create_connection(("127.0.0.1", self._upstream), timeout=10)
                except OSError:
                    client.close()
                    continue
                server.settimeout(None)
                self._pairs.append((client, server))
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if self._mode == "pass":
                    self._deliver(data, source, target)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _deliver(self, data: bytes, source: socket.socket, target: socket.socket) -> None:
        """Hand on what came; an OSError ends both connections."""
        target.sendall(data)

    def _asks(self, source: socket.socket) -> bool:
        """Whether it is a client's side of a connection, not the server's."""
        return any(source is client for client, _ in self._pairs)

    def cut(self) -> None:
        """End every connection that is open now."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    @property
    def mode(self) -> str:
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        before, self._mode = self._mode, mode
        if mode == "refuse":
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self.cut()
        elif before == "refuse":
            self._listener = self._listen(self.port)
        if before == "swallow":
            # What was swallowed is missing in these streams.
            self.cut()

    def close(self) -> None:
        self.mode = "refuse"
