"""What is said of an MLflow server elsewhere: reachable or not, whether it lets the user in, and no password of his."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from posestudy.projections import tracking_check

PASSWORD = "right-password"


class Server(BaseHTTPRequestHandler):
    """Answers as MLflow does, and with a redirection below /moved."""

    asked: list[str]

    def do_GET(self) -> None:
        given = self.headers.get("Authorization", "")
        type(self).asked.append(f"{self.path} {given}")
        right = "Basic " + base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
        if self.path == "/moved/version":
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
        elif self.path != "/version":
            self.send_response(404)
        else:
            self.send_response(200 if given == right else 401)
        self.end_headers()
        self.wfile.write(b"3.17.2")

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("USERNAME", "PASSWORD", "PASSWORD_FILE", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    Server.asked = []
    with HTTPServer(("127.0.0.1", 0), Server) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


def test_the_right_password_from_the_file_tells_the_version(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "password").write_text(PASSWORD + "\n")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD_FILE", str(tmp_path / "password"))
    found = tracking_check.ask(f"{server}/")
    assert (found.usable, found.version) == (True, "3.17.2")


def test_a_password_in_the_address_is_used_and_not_shown(server: str) -> None:
    found = tracking_check.ask(server.replace("://", f"://admin:{PASSWORD}@"))
    assert found.usable
    assert PASSWORD not in found.sentence


def test_a_wrong_password_is_told_of(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong-password")
    found = tracking_check.ask(server)
    assert not found.usable
    assert "user name and password" in found.sentence
    assert "wrong-password" not in found.sentence


def test_a_server_that_sends_elsewhere_gets_the_password_once(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    found = tracking_check.ask(f"{server}/moved")
    assert not found.usable
    assert "302" in found.sentence
    assert [line.split()[0] for line in Server.asked] == ["/moved/version"]


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "http://", "http://[::1"])
def test_nobody_there_is_one_sentence(uri: str) -> None:
    found = tracking_check.ask(uri)
    assert not found.usable
    assert "does not answer" in found.sentence
