"""Servers that lie: one that refers to a file or to a plain address, and one that sends without end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from posestudy.errors import PoseStudyError
from posestudy_runner import weights

TARGETS: dict[str, str] = {}


class Liar(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        name = self.path.strip("/")
        if name in TARGETS:
            self.send_response(302)
            self.send_header("Location", TARGETS[name])
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"\x80\x81" * 2500)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    http = ThreadingHTTPServer(("127.0.0.1", 0), Liar)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()


def fetched(tmp_path: Path) -> list[str]:
    return [path.name for path in (tmp_path / "torch").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://192.0.2.1/net.pth", "http://u:hunter2@192.0.2.1/x"]
)
def test_a_server_may_not_refer_elsewhere(target: str, server: str, tmp_path: Path) -> None:
    TARGETS["net.pth"] = target
    url = f"{server}/net.pth"
    with pytest.raises(PoseStudyError) as raised:
        weights._present(url, url, lambda _: None)
    # Files urllib refuses by itself.
    assert ("not allowed" if target.startswith("file") else "its server refers to") in str(raised.value)
    assert "hunter2" not in str(raised.value)
    assert fetched(tmp_path) == []


def test_a_server_may_refer_to_another_place_of_its_kind(server: str, tmp_path: Path) -> None:
    TARGETS["there.pth"] = f"{server}/other"
    url = f"{server}/there.pth"
    weights._present(url, url, lambda _: None)
    assert fetched(tmp_path) == ["there.pth"]


def test_a_server_that_sends_on_and_on_is_left(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "MOST_BYTES", 1000)
    url = f"{server}/endless.pth"
    with pytest.raises(PoseStudyError, match="GB came"):
        weights._present(url, url, lambda _: None)
    assert fetched(tmp_path) == []


@pytest.mark.parametrize("init", ["file:///etc/passwd", "http://h/x.pth", "https://u:hunter2@h/x.pth", "ftp://h/x"])
def test_a_model_file_may_not_name_another_kind_of_address(init: str) -> None:
    with pytest.raises(PoseStudyError) as raised:
        weights.address(init)
    assert "hunter2" not in str(raised.value)
