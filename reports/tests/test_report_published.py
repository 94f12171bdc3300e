"""A report and a network in MLflow: what `posestudy report` and `posestudy register` leave there, and a real server."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bundled_study
import pytest
from synthetic_report import finished

from posestudy.commands.app import main
from posestudy.errors import NotFoundError
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.settings import Settings
from posestudy.testing import put_small_study
from posestudy.testing_network import free_port
from posestudy_reports.published import publish


def place(home: Home, uri: str = "") -> Settings:
    mlflow = uri or f"sqlite:///{home.mlflow_database}"
    return Settings(home, f"sqlite:///{home.database}", mlflow, f"sqlite:///{home.optuna_database}")


@pytest.fixture
def small(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home with a study that waits for workers."""
    for name in ("POSESTUDY_DATABASE_URL", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("POSESTUDY_HOME", str(home.root))
    home.root.mkdir(parents=True)
    ledger = Ledger.open(f"sqlite:///{home.database}")
    put_small_study(ledger)
    ledger.close()
    return home


def test_without_a_store_the_report_is_kept_for_the_first_sync(small: Home, tmp_path: Path, capsys) -> None:
    assert main(["report", "small", "--out", str(tmp_path / "out"), "--format", "csv"]) == 0
    assert "`posestudy sync small` makes its store and sends it" in capsys.readouterr().out
    assert not small.mlflow_database.exists()
    kept = small.report("small")
    assert (kept / "trials.csv").read_bytes() == (tmp_path / "out" / "trials.csv").read_bytes()
    (kept / "old.csv").write_text("of another report")
    assert main(["report", "small", "--out", str(tmp_path / "out"), "--format", "csv"]) == 0
    assert {p.name for p in kept.rglob("*") if p.is_file()} == {
        p.name for p in (tmp_path / "out").rglob("*") if p.is_file()
    }


def test_no_mlflow_keeps_and_sends_nothing(small: Home, tmp_path: Path, capsys) -> None:
    assert main(["report", "small", "--out", str(tmp_path / "out"), "--format", "csv", "--no-mlflow"]) == 0
    assert "MLflow" not in capsys.readouterr().out
    assert not small.report("small").exists()


def test_a_home_that_cannot_be_written_costs_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    paths = finished().report().write(tmp_path / "out", ["csv"])
    assert publish("x", tmp_path / "out", paths, place(Home(tmp_path / "file"))).startswith("not kept for MLflow")


@pytest.mark.slow
def test_mlflow_down_costs_a_sentence_and_loses_nothing(small: Home, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:secret@127.0.0.1:{free_port()}")
    assert main(["report", "small", "--out", str(tmp_path / "out"), "--format", "csv"]) == 0
    said = capsys.readouterr().out
    assert "kept, not in MLflow yet" in said
    assert "secret" not in said
    assert (small.report("small") / "trials.csv").is_file()


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Any]:
    """A home with a network that is registered as its study's model."""
    from posestudy_reports.registering import register

    home = bundled_study.make(tmp_path_factory.mktemp("registered"))
    _, found = register(bundled_study.NAME, "best", place(home))
    return home, found


def model_folder(home: Home) -> Path:
    return sorted(home.artifacts.rglob("MLmodel"))[0].parent


@pytest.mark.slow
def test_a_network_becomes_a_version_once(registered: tuple[Home, Any]) -> None:
    import torch

    from posestudy.projections.quiet_mlflow import open_client
    from posestudy_reports.registering import register

    home, found = registered
    assert (found.name, found.version, found.reused) == ("handed", "1", False)
    client = open_client(place(home).mlflow_uri)
    version = client.get_model_version_by_alias("handed", "best")
    assert str(version.version) == "1"
    run = client.get_run(version.run_id)
    assert run.data.tags["posestudy.trial"] == version.tags["posestudy.trial"]

    trial, again = register(bundled_study.NAME, "1", place(home))
    assert (trial.number, again.version, again.reused) == (1, "1", True)

    weights = home.attempt(bundled_study.NAME, 1, 2).best_weights
    kept = weights.read_bytes()
    try:
        state = torch.load(weights, weights_only=True)
        state[next(iter(state))] += 1
        torch.save(state, weights)
        _, other = register(bundled_study.NAME, "best", place(home))
        assert (other.version, other.reused) == ("2", False)
        assert str(client.get_model_version_by_alias("handed", "best").version) == "2"
    finally:
        weights.write_bytes(kept)
    with pytest.raises(NotFoundError, match="no trial 7"):
        register(bundled_study.NAME, "7", place(home))


@pytest.mark.slow
def test_the_model_holds_no_pickle_and_no_path_of_this_machine(registered: tuple[Home, Any]) -> None:
    import torch

    folder = model_folder(registered[0])
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert {"MLmodel", "pose_model.py", "artifacts/config.py", "artifacts/weights.pth"} <= names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".joblib"))]
    state = torch.load(folder / "artifacts" / "weights.pth", weights_only=True)
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    described = (folder / "MLmodel").read_text()
    assert "python_model:" not in described
    assert str(Path(__file__).parents[2]) not in described
    assert "/tmp" not in described
    assert "posestudy==" in (folder / "requirements.txt").read_text()


@pytest.fixture
def address(registered: tuple[Home, Any], tmp_path: Path) -> Iterator[str]:
    """`mlflow models serve` with the registered model, as a user starts it."""
    home, found = registered
    port = free_port()
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MLFLOW_TRACKING_URI": place(home).mlflow_uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_NUM_THREADS": "1",
        "POSESTUDY_IMAGES": str(home.root.parent / "cats" / "images"),
    }
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"models:/{found.name}/1"]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    deadline = time.monotonic() + 400
    try:
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=2):
                    break
            except OSError:
                alive = server.poll() is None and time.monotonic() < deadline
                assert alive, (tmp_path / "log").read_text()[-2000:]
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def ask(address: str, *rows: dict[str, Any]) -> Any:
    body = json.dumps({"dataframe_records": list(rows)}).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=400) as answer:
        return json.load(answer)["predictions"]


@pytest.mark.slow
def test_a_served_model_answers_with_the_keypoints_of_the_network(registered: tuple[Home, Any], address: str) -> None:
    import cv2

    from posestudy_runner.predicting import Predictor, read_image

    home, _ = registered
    image = sorted((home.root.parent / "cats" / "images").iterdir())[0]
    pixels = read_image(image)
    boxes = [(4.0, 5.0, 50.0, 40.0), (0.0, 0.0, 64.0, 64.0)]
    attempt = home.attempt(bundled_study.NAME, 1, 2)
    predictor = Predictor(attempt.config, attempt.best_weights, "cpu")
    asked = [[int(part) for part in box] for box in boxes]

    (by_path,) = ask(address, {"image": str(image), "boxes": asked[:1]})
    (row,) = predictor.image(pixels, [(boxes[0], 1.0)])
    (instance,) = by_path["instances"]
    assert instance["box"] == list(boxes[0])
    assert [point["name"] for point in instance["keypoints"]] == predictor.keypoint_names
    told = [number for point in instance["keypoints"] for number in (point["x"], point["y"], point["score"])]
    assert told == pytest.approx(list(row.keypoints), abs=1e-4)

    png = base64.b64encode(cv2.imencode(".png", pixels)[1].tobytes()).decode()
    colours = pixels[:, :, ::-1].tolist()
    forms = [png, f"data:image/png;base64,{png}", colours]
    assert ask(address, *({"image": form, "boxes": asked[:1]} for form in forms)) == [by_path] * 3
    assert ask(address, {"image": png}) == ask(address, {"image": png, "boxes": asked[1:]})

    refused = {
        "nothing is fetched": {"image": "http://127.0.0.1:9/cat.png"},
        "names no image inside": {"image": str(home.root.parent / "cats" / "annotations" / "train.json")},
        "no whole JPEG or PNG": {"image": base64.b64encode(b"no picture").decode()},
        "height x width x 3": {"image": [[1, 2], [3, 4]]},
        "not within 0 to 255": {"image": [[[0, 0, 300]]]},
        "all sizes positive": {"image": png, "boxes": [[0, 0, 0, 5]]},
    }
    for sentence, request in refused.items():
        with pytest.raises(urllib.error.HTTPError) as raised:
            ask(address, request)
        assert raised.value.code == 400
        assert sentence in raised.value.read().decode()
