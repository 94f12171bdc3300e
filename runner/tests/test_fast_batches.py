"""Batches of the fast data path on their way from a loader to the network, and what happens where it does not apply."""

from __future__ import annotations

import fast_data  # isort: skip - the plugin first

import copy
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from fast_data import (
    BOX,
    CODEC,
    COLOURS,
    FLIP,
    NORMALISED,
    SIZE,
    assert_equal,
    assert_equal_samples,
    batches,
    fast,
    options,
    preprocessed,
    training,
)
from mmengine.dataset import Compose, RepeatDataset, pseudo_collate
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from mmpose.models.data_preprocessors import PoseDataPreprocessor
from mmpose.registry import MODELS

from posestudy.errors import PoseStudyError, UnreadableImageError
from posestudy_runner.epoch_loop import ResumableEpochLoop
from posestudy_runner.plugin import KeypointDataset, SeedEpochHook
from posestudy_runner.plugin.data_path.fast_dataset import makes_batches
from posestudy_runner.plugin.fast import BatchedPosePreprocessor, FastKeypointDataset, collate_batch
from posestudy_studies.drawn_cats import draw
from posestudy_studies.layouts import layout

CATS = layout("cats").metainfo
KEYPOINTS = len(CATS["keypoint_info"])
HEADS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "heatmap": (CODEC, {"type": "HeatmapHead", "deconv_out_channels": (8,), "deconv_kernel_sizes": (4,)}),
    "simcc": (
        {"type": "SimCCLabel", "sigma": 4.0, "simcc_split_ratio": 2.0},
        {
            "type": "SimCCHead",
            "input_size": SIZE,
            "in_featuremap_size": (6, 8),
            "simcc_split_ratio": 2.0,
            "deconv_out_channels": None,
        },
    ),
    "rle": ({"type": "RegressionLabel"}, {"type": "RLEHead"}),
}
"""Codecs with heads on features of 8 channels, an eighth of the input's size."""


@pytest.fixture(scope="module")
def cats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cats")
    draw(root, train=10, val=3, seed=0, size_px=48)
    return root


def loader(root: Path, workers: int, **further: Any) -> Any:
    return Runner.build_dataloader(
        {
            "dataset": fast(training(FLIP, COLOURS, BOX), **options(root, CATS)),
            "sampler": {"type": "DefaultSampler", "shuffle": True},
            "batch_size": 4,
            "num_workers": workers,
            "collate_fn": {"type": "collate_batch"},
            **({"multiprocessing_context": "fork"} if workers else {}),
            **further,
        },
        seed=5,
    )


def epochs(data_loader: Any, last: int, first: int = 0) -> list[list[torch.Tensor]]:
    """What a network sees from epoch `first` to before `last`."""
    hook, seen = SeedEpochHook(5), []
    for epoch in range(first, last):
        runner: Any = SimpleNamespace(train_dataloader=data_loader, epoch=epoch)
        data_loader.sampler.set_epoch(epoch)
        hook.before_train_epoch(runner)
        tensors = []
        for batch in data_loader:
            ready = preprocessed(batch, BatchedPosePreprocessor)
            tensors += [ready["inputs"], *(sample.gt_fields.heatmaps for sample in ready["data_samples"])]
            torch.rand(3), np.random.rand(2)  # whatever else draws numbers in between
        seen.append(tensors)
    return seen


def equal(left: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
    return len(left) == len(right) and all(map(torch.equal, left, right))


def test_batches_are_equal_for_any_number_of_loader_processes(cats: Path) -> None:
    undisturbed = epochs(loader(cats, 0), 3)
    assert not equal(undisturbed[1], undisturbed[2])
    assert all(map(equal, undisturbed, epochs(loader(cats, 2), 3)))
    assert all(map(equal, undisturbed, epochs(loader(cats, 2, persistent_workers=True), 3)))
    assert equal(undisturbed[2], epochs(loader(cats, 2), 3, first=2)[0])


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_goes_on_in_its_middle(cats: Path, workers: int) -> None:
    data_loader = loader(cats, workers)
    whole = list(data_loader)
    halfway: Any = SimpleNamespace(dataloader=data_loader)
    left = list(ResumableEpochLoop._batches(halfway, 1))
    assert [index for index, _ in left] == list(range(1, len(whole)))
    for index, batch in left:
        assert torch.equal(batch["inputs"], whole[index]["inputs"])
        for expected, made in zip(whole[index]["data_samples"], batch["data_samples"], strict=True):
            assert_equal_samples(expected, made)


def test_images_come_out_of_the_cache_as_out_of_their_files(cats: Path, tmp_path: Path) -> None:
    plain = epochs(loader(cats, 0), 2)
    for _ in range(2):
        data = fast(training(FLIP, COLOURS, BOX), **options(cats, CATS, cache=str(tmp_path)))
        assert all(map(equal, plain, epochs(loader(cats, 0, dataset=data), 2)))
    assert any(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize(("codec", "head"), HEADS.values(), ids=HEADS)
def test_a_network_has_the_loss_and_the_predictions_of_a_stock_batch(
    cats: Path, codec: dict[str, Any], head: dict[str, Any]
) -> None:
    expected, made = batches(training(FLIP, BOX, codec=codec), **options(cats, CATS))
    joints = "num_joints" if head["type"] == "RLEHead" else "out_channels"
    torch.manual_seed(0)
    network = MODELS.build(
        {
            "type": "mmpose.TopdownPoseEstimator",
            "data_preprocessor": {"type": "mmpose.PoseDataPreprocessor", **NORMALISED},
            "backbone": {"type": "mmpose.ShuffleNetV1", "groups": 1, "out_indices": (0,), "frozen_stages": -1},
            "neck": {"type": "mmpose.GlobalAveragePooling"} if head["type"] == "RLEHead" else None,
            "head": {**head, "in_channels": 144, joints: KEYPOINTS, "decoder": {**codec, "input_size": SIZE}},
            "test_cfg": {"flip_test": head["type"] != "RLEHead", "flip_mode": "heatmap"},
        }
    ).eval()
    stock = PoseDataPreprocessor(**NORMALISED)
    losses, predictions = [], []
    for batch, prepare in ((expected, stock), (made, BatchedPosePreprocessor(**NORMALISED))):
        losses.append(network(**prepare(copy.copy(batch), True), mode="loss")["loss_kpt"].item())
        predictions.append(network(**prepare(copy.copy(batch), False), mode="predict"))
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    for left, right in zip(*predictions, strict=True):
        assert (left.metainfo["id"], left.metainfo["img_id"]) == (right.metainfo["id"], right.metainfo["img_id"])
        np.testing.assert_array_equal(left.pred_instances.bbox_scores, right.pred_instances.bbox_scores)
        assert right.to_dict().keys() == left.to_dict().keys()


@pytest.mark.parametrize(
    "further",
    [{}, {"pad_size_divisor": 20, "pad_value": 3}, {"mean": None, "std": None}, {"bgr_to_rgb": False}],
    ids=["usual", "padded", "raw", "bgr"],
)
def test_images_are_normalised_as_by_the_stock_preprocessor(cats: Path, further: dict[str, Any]) -> None:
    made = batches(training(FLIP), **options(cats, CATS))[1]
    ours = preprocessed(made, BatchedPosePreprocessor, **further)
    stock = preprocessed(
        {"inputs": list(made["inputs"]), "data_samples": list(made["data_samples"])}, PoseDataPreprocessor, **further
    )
    torch.testing.assert_close(ours["inputs"], stock["inputs"], rtol=0, atol=1e-6)
    for left, right in zip(stock["data_samples"], ours["data_samples"], strict=True):
        assert left.metainfo["batch_input_shape"] == right.metainfo["batch_input_shape"]
        assert left.metainfo["pad_shape"] == right.metainfo["pad_shape"]


def test_a_stock_preprocessor_takes_the_batch_too(cats: Path) -> None:
    expected, made = batches(training(FLIP), **options(cats, CATS))
    left = preprocessed(expected, PoseDataPreprocessor)
    right = preprocessed(made, PoseDataPreprocessor)
    assert (left["inputs"] - right["inputs"]).abs().max() <= 1 / 57.0
    for stock, ours in zip(left["data_samples"], right["data_samples"], strict=True):
        torch.testing.assert_close(ours.gt_fields.heatmaps, stock.gt_fields.heatmaps, rtol=0, atol=1e-5)


def test_who_makes_the_batches_is_told_without_the_annotations(cats: Path) -> None:
    known = {"pipeline": training(FLIP, BOX), **options(cats, CATS), "ann_file": "not_there.json"}
    assert makes_batches({"type": "FastKeypointDataset", **known})
    assert not makes_batches({"type": "KeypointDataset", **known})


def test_a_sample_loses_metainfo_that_nobody_has_asked_for_yet(cats: Path) -> None:
    _, made = batches(training(FLIP), **options(cats, CATS))
    first, second = made["data_samples"][:2]
    assert first.pop("flip_indices")
    assert "flip_indices" not in first
    del second.flip_indices
    assert "flip_indices" not in second.all_keys()


def test_a_single_sample_is_the_stock_one(cats: Path) -> None:
    given = {"pipeline": training(FLIP, BOX), **options(cats, CATS)}
    stock, ours = KeypointDataset(**given), FastKeypointDataset(**given)
    for place in range(3):
        expected, made = stock[place], ours[place]
        assert torch.equal(expected["inputs"], made["inputs"])
        assert_equal_samples(expected["data_samples"], made["data_samples"])


@pytest.mark.parametrize(
    ("pipeline", "name"),
    [
        (training({"type": "mmpose.PhotometricDistortion"}), "PhotometricDistortion"),
        (training({"type": "mmpose.RandomFlip", "prob": 0.5, "direction": "vertical"}), "direction=vertical"),
        (training(BOX, BOX), "a second RandomBBoxTransform"),
        (training(), "GenerateTarget"),
        (training(), "LoadImage"),
    ],
    ids=["transform", "setting", "twice", "codec", "loading"],
)
def test_what_is_not_known_goes_the_stock_way_and_the_log_says_so_once(
    cats: Path, pipeline: list[dict[str, Any]], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    if name == "LoadImage":
        pipeline[1]["to_float32"] = True
    elif name == "GenerateTarget":
        pipeline[-2]["encoder"] = [pipeline[-2]["encoder"] | {"type": "MSRAHeatmap"}]
    logger = MMLogger.get_instance("fast_batches")
    logger.addHandler(caplog.handler)
    try:
        data = fast(pipeline, **options(cats, CATS))
        batch = collate_batch(data.__getitems__([0, 1]))
        data.__getitems__([2])
    finally:
        logger.removeHandler(caplog.handler)
    told = [record.getMessage() for record in caplog.records if "MMPose's own pipeline" in record.getMessage()]
    assert len(told) == 1
    assert name in told[0]
    assert not makes_batches({"type": "FastKeypointDataset", "pipeline": pipeline, **options(cats, CATS)})
    stock = KeypointDataset(pipeline=pipeline, **options(cats, CATS))
    if pipeline[0] is fast_data.SEED:
        for place in (0, 1):
            assert torch.equal(batch["inputs"][place], stock[place]["inputs"])


def test_a_wrapped_data_set_gives_stock_batches(cats: Path) -> None:
    wrapped = RepeatDataset(fast(training(FLIP), **options(cats, CATS)), times=2)
    batch = next(iter(loader(cats, 0, dataset=wrapped)))
    assert isinstance(batch["inputs"], list)
    assert preprocessed(batch, BatchedPosePreprocessor)["inputs"].shape == (4, 3, SIZE[1], SIZE[0])


def test_a_damaged_image_is_named(cats: Path, tmp_path: Path) -> None:
    draw(tmp_path, train=3, val=0, seed=4, size_px=48)
    data = fast(training(), **options(tmp_path, CATS))
    path = Path(data.get_data_info(1)["img_path"])
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UnreadableImageError, match=path.name):
        data.__getitems__([0, 1])
    path.unlink()
    with pytest.raises(UnreadableImageError, match=path.name):
        data.__getitems__([0, 1])


def test_samples_share_no_metainfo_that_one_of_them_could_change(cats: Path) -> None:
    data = fast(training(), **options(cats, CATS))
    first = preprocessed(data.__getitems__([0, 0]), BatchedPosePreprocessor)["data_samples"]
    first[0].metainfo["raw_ann_info"]["bbox"].append("changed")
    first[0].metainfo["flip_indices"].reverse()
    again = preprocessed(data.__getitems__([0]), BatchedPosePreprocessor)["data_samples"][0]
    for sample in (first[1], again):
        assert sample.metainfo["raw_ann_info"] == data.get_data_info(0)["raw_ann_info"]
        assert sample.metainfo["flip_indices"] == data.get_data_info(0)["flip_indices"]


def test_samples_can_be_copied_kept_and_changed_like_stock_ones(cats: Path) -> None:
    expected, made = batches(training(FLIP), **options(cats, CATS))
    stock = preprocessed(expected, PoseDataPreprocessor)["data_samples"]
    ours = preprocessed(made, BatchedPosePreprocessor)["data_samples"]
    for change in (
        copy.deepcopy,
        lambda one: pickle.loads(pickle.dumps(one)),
        lambda one: one.clone(),
        lambda one: one.cpu(),
    ):
        assert_equal_samples(stock[0], change(ours[0]))
    ours[1].set_metainfo({"flip_indices": [0]})
    assert (ours[1].metainfo["flip_indices"], ours[1].metainfo["id"]) == ([0], stock[1].metainfo["id"])
    with pytest.raises(AttributeError):
        ours[2].no_such_field  # noqa: B018


def test_batches_can_be_sent_to_another_process(cats: Path) -> None:
    expected, made = batches(training(FLIP, BOX), **options(cats, CATS))
    list(made["data_samples"])  # looked at on its way
    assert_equal(expected, pickle.loads(pickle.dumps(made)))


def test_a_pipeline_that_a_hook_exchanges_is_the_one_that_counts(cats: Path) -> None:
    data = fast(training(FLIP, BOX), **options(cats, CATS))
    assert isinstance(collate_batch(data.__getitems__([0, 1]))["inputs"], torch.Tensor)
    data.pipeline = Compose(training())
    stock = KeypointDataset(pipeline=training(), **options(cats, CATS))
    made, expected = collate_batch(data.__getitems__([0, 1])), pseudo_collate([stock[0], stock[1]])
    for ours, theirs in zip(made["inputs"], expected["inputs"], strict=True):
        assert torch.equal(ours, theirs)


def test_of_a_data_set_that_was_cut_down_the_rest_is_read(cats: Path) -> None:
    data = fast(training(), **options(cats, CATS))
    wanted = int(data[3]["data_samples"].id)
    data.get_subset_([3, 4])
    assert [int(sample.id) for sample in collate_batch(data.__getitems__([0]))["data_samples"]] == [wanted]


def test_images_that_are_no_bytes_are_refused(cats: Path) -> None:
    data = fast(
        training({"type": "mmpose.SeededAlbumentation", "transforms": [{"type": "ToFloat"}]}), **options(cats, CATS)
    )
    with pytest.raises(PoseStudyError, match=r"float32.*data_path: stock"):
        data.__getitems__([0])
