"""Initial weights are fetched once, checked against the hash in their name, and missing ones are named."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from posestudy.errors import PoseStudyError
from posestudy.settings import Settings
from posestudy_runner import weights
from posestudy_runner.launching import run_study
from posestudy_studies.drawn_cats import draw
from posestudy_studies.spec import Study

CONTENT = b"PK\x03\x04 weights of a network"
DIGEST = hashlib.sha256(CONTENT).hexdigest()[:8]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


class Server:
    """Answers every GET with CONTENT, but for paths with 'short' (which break off) and 'gone'."""

    def __init__(self) -> None:
        asked = self.asked = list[str]()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                if "gone" in self.path:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(CONTENT)))
                self.end_headers()
                self.wfile.write(CONTENT[:5] if "short" in self.path else CONTENT)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.http.shutdown()
    running.http.server_close()


def study(init: str | None, variants: dict[str, Any] | None = None, stage: dict[str, Any] | None = None) -> Study:
    split = {"annotations": "a.json", "images": "i"}
    return Study.model_validate(
        {
            "study": "s",
            "dataset": {"keypoints": "cats", "root": "/data", "train": split, "val": split},
            "baseline": {
                "model": "resnet50",
                "init": init,
                "input_size": [64, 64],
                "epochs": 1,
                "batch_size": 2,
                "optimizer": {"lr": 0.1},
            },
            "stages": [
                stage or {"name": "one", "design": "variants", "variants": variants or {"v": {"batch_size": 4}}}
            ],
        }
    )


def test_weights_are_fetched_once_to_where_torch_looks(cache: Path, server: Server) -> None:
    said: list[str] = []
    name = f"net-{DIGEST}.pth"
    wanted = study(f"{server.url}/{name}", {"v": {"init": f"{server.url}/other.pth"}, "none": {"init": "none"}})
    weights.fetch(wanted, said.append)
    assert (cache / name).read_bytes() == (cache / "other.pth").read_bytes() == CONTENT
    assert Path(torch.hub.get_dir()) / "checkpoints" == cache
    assert sorted(path.name for path in cache.iterdir()) == [name, "other.pth"]
    assert len(said) == 2
    weights.fetch(wanted, said.append)
    assert server.asked == [f"/{name}", "/other.pth"]


def test_weights_among_levels_of_any_design_are_found() -> None:
    grid = {"name": "g", "design": "grid", "factors": {"init": ["https://a/a.pth", None, "https://a/b.pth"]}}
    assert weights.initial_weights(study("torchvision://resnet50", stage=grid)) == (
        "torchvision://resnet50",
        "https://a/a.pth",
        "https://a/b.pth",
    )


@pytest.mark.parametrize("path", ["short.pth", "gone.pth"])
def test_what_cannot_be_fetched_is_named_with_its_place(cache: Path, server: Server, path: str) -> None:
    with pytest.raises(PoseStudyError, match=f"cannot be fetched.*{path}.*put it into {cache}"):
        weights.fetch(study(f"{server.url}/{path}"), lambda _: None)
    assert list(cache.iterdir()) == []


def test_without_a_network_the_file_and_its_folder_are_named(cache: Path, server: Server) -> None:
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(PoseStudyError, match=f"expected the file {cache}/net.pth"):
        weights.fetch(study(f"{server.url}/net.pth"), lambda _: None)


def test_damaged_weights_are_refused_on_arrival_and_later(cache: Path, server: Server) -> None:
    with pytest.raises(PoseStudyError, match=f"starts with {DIGEST}, expected 00000000"):
        weights.fetch(study(f"{server.url}/net-00000000.pth"), lambda _: None)
    assert list(cache.iterdir()) == []
    (cache / "net-00000000_20220909.pth").write_bytes(CONTENT)
    with pytest.raises(PoseStudyError, match=r"damaged.*remove"):
        weights.fetch(study(f"{server.url}/net-00000000_20220909.pth"), lambda _: None)


def test_names_of_published_weights_have_an_address() -> None:
    assert str(weights.address("torchvision://resnet50")).startswith("https://download.pytorch.org/models/resnet50-")
    assert "resnet50-" in str(weights.address("torchvision://resnet50.imagenet1k_v2"))
    assert "resnest50" in str(weights.address("mmcls://resnest50"))
    assert weights.address("/home/someone/own.pth") is None
    with pytest.raises(PoseStudyError, match="did you mean 'resnet50'"):
        weights.address("torchvision://resnet5O")
    with pytest.raises(PoseStudyError, match="a file, https://, torchvision://"):
        weights.address("s3://bucket/net.pth")


def test_a_launch_says_so_before_anything_is_trained(cache: Path, server: Server, tmp_path: Path) -> None:
    draw(tmp_path / "cats", train=2, val=1, seed=0, size_px=48)
    split = {s: {"annotations": f"annotations/{s}.json", "images": "images"} for s in ("train", "val")}
    document = study(f"{server.url}/gone.pth").model_dump(mode="json")
    document["dataset"] = {"keypoints": "cats", "root": str(tmp_path / "cats"), **split}
    settings = Settings.resolve(str(tmp_path / "home"))
    with pytest.raises(PoseStudyError, match=r"gone\.pth cannot be fetched"):
        run_study(Study.model_validate(document), "", settings, say=lambda _: None)
    assert not list((tmp_path / "home").glob("runs/*"))
