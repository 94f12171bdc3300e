"""Batches that are warped and drawn where the network is are those that the loader would have made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpose.registry import MODELS

from posestudy import journal
from posestudy.home import Home
from posestudy_runner import components, speed
from posestudy_runner.order import TARGET, TrialOrder
from posestudy_runner.plugin import (
    fast,  # noqa: F401 - registers what the configs name
)
from posestudy_runner.plugin.data_path.batches import PackedSamples
from posestudy_runner.plugin.data_path.device_pixels import RawPixels
from posestudy_studies.drawn_cats import draw
from posestudy_studies.mmpose_config import build
from posestudy_studies.spec import Study

EVERYTHING = {"flip": {}, "photometric": {}, "half_body": {}, "scale_rotation": {}, "translation": {}}


def study(root: Path, **baseline: Any) -> Study:
    return Study.model_validate(
        {
            "study": "warped",
            "data_path": "fast",
            "dataset": {
                "keypoints": "cats",
                "root": str(root),
                "train": {"annotations": "annotations/train.json", "images": "images"},
                "val": {"annotations": "annotations/val.json", "images": "images"},
            },
            "baseline": {
                "model": "resnet_tiny",
                "input_size": [64, 64],
                "epochs": 3,
                "batch_size": 5,
                "optimizer": {"type": "Adam", "lr": 0.002},
                "augmentation": EVERYTHING,
                **baseline,
            },
            "stages": [{"name": "one", "design": "variants", "variants": {"brief": {"epochs": 1}}}],
        }
    )


@pytest.fixture(scope="module")
def cats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cats")
    draw(root, train=13, val=5, seed=2, size_px=90)
    return root


def batches(config: Config, warp: str, workers: int = 0) -> list[Any]:
    loader = {**config.train_dataloader, "num_workers": workers}
    loader["dataset"] = {**loader["dataset"], "warp": warp}
    return list(Runner.build_dataloader(loader, seed=0))


def prepared(config: Config, made: list[Any]) -> list[Any]:
    preprocessor = MODELS.build(config.model.data_preprocessor)
    return [preprocessor(batch, True) for batch in made]


@pytest.mark.parametrize(
    "codec",
    [
        {"codec": "msra", "sigma": 1.5},
        {"codec": {"type": "msra", "unbiased": True}},
        {"codec": "udp"},
        {"codec": "megvii"},
        {"codec": "simcc", "sigma": 5.0},
        {"codec": {"type": "simcc", "smoothing": 0.1}},
        {"codec": "regression"},
    ],
    ids=lambda codec: str(codec["codec"]),
)
def test_the_network_is_given_the_same(cats: Path, codec: dict[str, Any]) -> None:
    init_default_scope("mmpose")
    config = Config(build(study(cats, **codec), study(cats, **codec).baseline, seed=4))
    raw = batches(config, "device")
    assert all(isinstance(batch["inputs"], RawPixels) for batch in raw)
    std = torch.tensor(config.model.data_preprocessor.std).view(1, 3, 1, 1)
    for given, expected in zip(prepared(config, raw), prepared(config, batches(config, "cpu")), strict=True):
        apart = (given["inputs"] - expected["inputs"]).abs() * std
        assert apart.max() < 1.001
        assert (apart > 0.5).float().mean() < 0.01
        for sample, other in zip(given["data_samples"], expected["data_samples"], strict=True):
            assert_same(sample, other)


def assert_same(sample: Any, other: Any) -> None:
    assert sorted(sample.keys()) == sorted(other.keys())
    assert {key: str(value) for key, value in sample.metainfo_items()} == {
        key: str(value) for key, value in other.metainfo_items()
    }
    for part in sample.keys():  # noqa: SIM118 - a data sample is no mapping
        ours, theirs = sample.get(part), other.get(part)
        assert sorted(ours.keys()) == sorted(theirs.keys())
        for name, value in ours.items():
            expected = np.asarray(theirs.get(name))
            assert np.asarray(value).dtype == expected.dtype
            # Megvii's reach up to 255.
            np.testing.assert_allclose(np.asarray(value), expected, rtol=1e-6, atol=1e-5, err_msg=f"{part}.{name}")


def test_a_batch_of_another_process_is_the_same(cats: Path) -> None:
    init_default_scope("mmpose")
    config = Config(build(study(cats), study(cats).baseline, seed=4))
    for given, expected in zip(batches(config, "device", workers=1), batches(config, "device"), strict=True):
        assert (given["inputs"].pixels == expected["inputs"].pixels).all()
        assert (given["inputs"].inverse == expected["inputs"].inverse).all()
        assert isinstance(given["data_samples"], PackedSamples)
        # Heatmaps are not handed on, nor images larger than they are shown.
        assert not given["data_samples"].fields
        for sample, other in zip(given["data_samples"], expected["data_samples"], strict=True):
            assert_same(sample, other)


@pytest.mark.slow
def test_a_trial_trains_as_it_does_without(cats: Path, tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(study(cats).model_dump_json())
    script = Path(__file__).with_name("warped_attempts.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "study.json"), str(tmp_path / "home")],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:]
    home = Home(tmp_path / "home")
    on_cpu, on_device = (
        [frame["metrics"] for frame in journal.read(home.attempt("warped", 1, fence).journal) if "metrics" in frame]
        for fence in (1, 2)
    )
    assert len(on_cpu) == 3
    for expected, metrics in zip(on_cpu, on_device, strict=True):
        assert metrics["loss"] == pytest.approx(expected["loss"], rel=1e-3)
    first, second = (
        torch.load(home.attempt("warped", 1, fence).checkpoint(3), weights_only=False)["state_dict"] for fence in (1, 2)
    )
    # Not the same bit for bit, or the loader would have warped the images both times.
    assert any((first[name] != second[name]).any() for name in first)
    for name in first:
        # Another seed's differ by 0.1 to 2, and those of the last layer by 0.007.
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=0.005)


@pytest.mark.parametrize(
    ("device", "without", "warp"), [("cuda:0", "", "device"), ("cuda:0", "device_warp", None), ("cpu", "", None)]
)
def test_only_training_on_a_gpu_warps_there(
    cats: Path, monkeypatch: pytest.MonkeyPatch, device: str, without: str, warp: str | None
) -> None:
    monkeypatch.setenv(components.VARIABLE, without)
    small = study(cats)
    config = Config(build(small, small.baseline, seed=4))
    order = TrialOrder(
        target=TARGET, study_name="warped", study={}, training={}, stage="one", cell="one", uid="uid", number=1,
        fence=1, seed=4, metric="coco/AP", direction="more", epochs=3, folder="", device=device, threads=1,
    )  # fmt: skip
    speed.fit(config, order)
    assert config.train_dataloader.dataset.get("warp") == warp
    # Validation's images stay the stock ones to the last grey level, and its metrics with them.
    assert "warp" not in config.val_dataloader.dataset
