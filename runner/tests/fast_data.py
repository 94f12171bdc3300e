"""The fast and the stock data set over the same annotations, and what it means that their samples are equal."""

from __future__ import annotations

from posestudy_runner.plugin.fast import BatchedPosePreprocessor, FastKeypointDataset, collate_batch

# isort: split
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmpose.models.data_preprocessors import PoseDataPreprocessor

from posestudy_runner.plugin import KeypointDataset

Config = dict[str, Any]

SIZE = (48, 64)
"""Width and height of the networks' input here, px."""
CODEC: Config = {"type": "MSRAHeatmap", "input_size": SIZE, "heatmap_size": (12, 16), "sigma": 1.5}
FLIP: Config = {"type": "mmpose.RandomFlip", "prob": 0.5}
BOX: Config = {"type": "mmpose.RandomBBoxTransform", "shift_prob": 0.6, "rotate_factor": 90.0}
HALF_BODY: Config = {"type": "mmpose.RandomHalfBody", "min_total_keypoints": 3, "prob": 0.7}
COLOURS: Config = {"type": "mmpose.PhotometricDistortionV0"}
TRANSLATION: Config = {"type": "mmpose.RandomBBoxTranslation", "factor": 0.4}
BLUR: Config = {"type": "mmpose.SeededAlbumentation", "transforms": [{"type": "Blur", "p": 0.5}]}
SEED: Config = {"type": "mmpose.SeedSample", "seed": 5}
NORMALISED: Config = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "bgr_to_rgb": True}


def training(
    *augmentations: Config, codec: Config = CODEC, size: tuple[int, int] = SIZE, use_udp: bool = False, seed: Any = SEED
) -> list[Config]:
    """A training pipeline; without `seed` the generators go on as they are."""
    return [
        *([seed] if seed else []),
        {"type": "mmpose.LoadImage"},
        {"type": "mmpose.GetBBoxCenterScale", "padding": 1.25},
        *augmentations,
        {"type": "mmpose.TopdownAffine", "input_size": size, "use_udp": use_udp},
        {"type": "mmpose.GenerateTarget", "encoder": {**codec, "input_size": size}},
        {"type": "mmpose.PackPoseInputs"},
    ]


def validation() -> list[Config]:
    """A pipeline of validation."""
    return [step for step in training(seed=None) if step["type"] != "mmpose.GenerateTarget"]


def options(root: Path, metainfo: Config, split: str = "train", **further: Any) -> Config:
    """Arguments of either data set, less the pipeline."""
    return {
        "ann_file": str(root / f"annotations/{split}.json"),
        "data_prefix": {"img": str(root / "images")},
        "metainfo": metainfo,
        # MMEngine collects all garbage after serialising, which takes longer than everything else here.
        "serialize_data": False,
        **further,
    }


def fast(pipeline: list[Config], **given: Any) -> FastKeypointDataset:
    return FastKeypointDataset(pipeline=pipeline, **given)


def batches(pipeline: list[Config], *, epoch: int = 0, **given: Any) -> tuple[Config, Config]:
    """All samples as one batch, from the stock data set and from the fast one, after the same seed."""
    stock, ours = KeypointDataset(pipeline=pipeline, **given), fast(pipeline, **given)
    places = list(range(len(stock)))
    for data in (stock, ours):
        if pipeline[0] is SEED:
            data.pipeline.transforms[0].epoch.fill_(epoch)
    np.random.seed(3)
    expected = pseudo_collate([stock[place] for place in places])
    np.random.seed(3)
    made = collate_batch(ours.__getitems__(places))
    assert isinstance(made["inputs"], torch.Tensor), "the fast path was not taken"
    return expected, made


def preprocessed(batch: Config, kind: type[PoseDataPreprocessor], **further: Any) -> Config:
    """`batch` as a network of this kind of preprocessor sees it in training."""
    ready: Config = kind(**{**NORMALISED, **further})(batch, True)
    return ready


def assert_equal(expected: Config, made: Config) -> None:
    """Images of raw batches differ by one grey level at most, everything else by 1e-5."""
    for left, right in zip(expected["inputs"], made["inputs"], strict=True):
        assert (left.shape, left.dtype) == (right.shape, right.dtype)
        assert (left.int() - right.int()).abs().max() <= 1
    left = preprocessed(expected, PoseDataPreprocessor)["data_samples"]
    right = preprocessed(made, BatchedPosePreprocessor)["data_samples"]
    assert len(left) == len(right)
    for stock, ours in zip(left, right, strict=True):
        assert_equal_samples(stock, ours)


def assert_equal_samples(stock: Any, ours: Any) -> None:
    """Every field and every entry of the metainfo, with types, shapes and dtypes."""
    assert set(stock.all_keys()) == set(ours.all_keys())
    _assert_close(stock.metainfo, ours.metainfo, "metainfo")
    for part, expected in stock.items():
        made = ours.get(part)
        assert type(expected) is type(made)
        _assert_close(dict(expected.items()), dict(made.items()), part)


def _assert_close(expected: Any, made: Any, name: str) -> None:
    assert type(expected) is type(made), (name, type(expected), type(made))
    if isinstance(expected, dict):
        assert expected.keys() == made.keys(), name
        for key, value in expected.items():
            _assert_close(value, made[key], f"{name}.{key}")
    elif isinstance(expected, (torch.Tensor, np.ndarray)):
        assert (expected.shape, expected.dtype) == (made.shape, made.dtype), name
        np.testing.assert_allclose(np.asarray(made), np.asarray(expected), rtol=0, atol=1e-5, err_msg=name)
    else:
        assert expected == made, name
