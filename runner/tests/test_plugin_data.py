"""The plugin's data set and its random numbers: equal batches for any number of workers and after a resume."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.dataset import RepeatDataset
from mmengine.runner import Runner
from torch.utils.data import ConcatDataset

from posestudy.errors import PoseStudyError, UnreadableImageError
from posestudy_runner.plugin import KeypointDataset, SeedEpochHook, SeedSample
from posestudy_studies.drawn_cats import draw
from posestudy_studies.layouts import layout

CODEC = {"type": "MSRAHeatmap", "input_size": (32, 32), "heatmap_size": (8, 8), "sigma": 1.0}
LOAD = [{"type": "mmpose.LoadImage"}, {"type": "mmpose.GetBBoxCenterScale"}]
CROP = [{"type": "mmpose.TopdownAffine", "input_size": (32, 32)}]
PACK = [{"type": "mmpose.PackPoseInputs"}]
TRAIN = [
    {"type": "mmpose.SeedSample", "seed": 5},
    *LOAD,
    {"type": "mmpose.RandomFlip"},
    {"type": "mmpose.RandomBBoxTransform"},
    *CROP,
    {"type": "mmpose.GenerateTarget", "encoder": CODEC},
    *PACK,
]


@pytest.fixture(scope="module")
def cats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cats")
    draw(root, train=10, val=4, seed=0, size_px=48)
    return root


def data_set(root: Path, split: str, pipeline: list[dict[str, Any]], **options: Any) -> KeypointDataset:
    return KeypointDataset(
        ann_file=str(root / f"annotations/{split}.json"),
        data_prefix={"img": str(root / "images")},
        metainfo=layout("cats").metainfo,
        pipeline=pipeline,
        **options,
    )


def loader(root: Path, workers: int, **options: Any) -> Any:
    return Runner.build_dataloader(
        {
            "dataset": data_set(root, "train", TRAIN),
            "sampler": {"type": "DefaultSampler", "shuffle": True},
            "batch_size": 4,
            "num_workers": workers,
            **({"multiprocessing_context": "fork"} if workers else {}),
            **options,
        },
        seed=5,
    )


def epochs(data_loader: Any, first: int, last: int) -> list[list[torch.Tensor]]:
    """What a trial sees from epoch `first` to before `last`: images and heatmaps of every batch."""
    hook, seen = SeedEpochHook(5), []
    for epoch in range(first, last):
        runner: Any = SimpleNamespace(train_dataloader=data_loader, epoch=epoch)
        data_loader.sampler.set_epoch(epoch)
        hook.before_train_epoch(runner)
        batches = []
        for batch in data_loader:
            batches += batch["inputs"]
            batches += [sample.gt_fields.heatmaps for sample in batch["data_samples"]]
            torch.rand(3), np.random.rand(2), random.random()  # whatever else draws numbers in between
        seen.append(batches)
    return seen


def equal(left: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
    return len(left) == len(right) and all(map(torch.equal, left, right))


def test_batches_are_equal_for_any_number_of_workers_and_after_a_resume(cats: Path) -> None:
    undisturbed = epochs(loader(cats, 0), 0, 3)
    assert not equal(undisturbed[1], undisturbed[2])
    assert all(map(equal, undisturbed, epochs(loader(cats, 2), 0, 3)))
    assert equal(undisturbed[2], epochs(loader(cats, 2), 2, 3)[0])
    assert equal(undisturbed[2], epochs(loader(cats, 0), 2, 3)[0])


def test_workers_that_outlive_an_epoch_see_the_next(cats: Path) -> None:
    undisturbed = epochs(loader(cats, 0), 0, 2)
    assert all(map(equal, undisturbed, epochs(loader(cats, 2, persistent_workers=True), 0, 2)))


def test_a_sample_differs_between_epochs_seeds_and_places(cats: Path) -> None:
    def sample(seed: int, epoch: int, place: int) -> torch.Tensor:
        data = data_set(cats, "train", [{**TRAIN[0], "seed": seed}, *TRAIN[1:]])
        data.pipeline.transforms[0].epoch.fill_(epoch)
        return data[place]["inputs"]

    first = sample(5, 0, 0)
    assert torch.equal(first, sample(5, 0, 0))
    for other in (sample(6, 0, 0), sample(5, 1, 0), sample(5, 0, 1)):
        assert not torch.equal(first, other)


def test_iterations_draw_their_own_numbers() -> None:
    def drawn(epoch: int, iteration: int) -> tuple[float, float, float]:
        runner: Any = SimpleNamespace(epoch=epoch)
        SeedEpochHook(5).before_train_iter(runner, iteration)
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    assert drawn(1, 2) == drawn(1, 2)
    SeedSample(5).transform({"sample_idx": 0})
    of_sample = (random.random(), float(np.random.rand()), float(torch.rand(())))
    everything = {drawn(0, 0), drawn(0, 1), drawn(1, 0), of_sample}
    assert len(everything) == 4


def test_the_hook_reaches_wrapped_data_sets(cats: Path) -> None:
    parts = [data_set(cats, "train", TRAIN), data_set(cats, "val", TRAIN)]
    data = ConcatDataset([RepeatDataset(parts[0], 2), parts[1]])
    runner: Any = SimpleNamespace(train_dataloader=SimpleNamespace(dataset=data), epoch=7)
    SeedEpochHook(5).before_train_epoch(runner)
    assert [int(part.pipeline.transforms[0].epoch) for part in parts] == [7, 7]


def test_metainfo_may_come_from_json(cats: Path) -> None:
    plain = layout("cats").metainfo
    read_back = json.loads(json.dumps(plain))
    assert set(map(type, read_back["keypoint_info"])) == {str}
    assert (
        KeypointDataset(metainfo=read_back, lazy_init=True).metainfo["flip_indices"]
        == (KeypointDataset(metainfo=plain, lazy_init=True).metainfo["flip_indices"])
    )


def test_test_split_without_ground_truth_keeps_every_instance(cats: Path, tmp_path: Path) -> None:
    truth = json.loads((cats / "annotations/val.json").read_text())
    for number, annotation in enumerate(truth["annotations"]):
        annotation.pop("num_keypoints", None)
        if number % 2:
            annotation.pop("keypoints")
        else:
            annotation["keypoints"] = [0] * 51
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/val.json").write_text(json.dumps(truth))
    (tmp_path / "images").symlink_to(cats / "images")
    pipeline = [*LOAD, *CROP, *PACK]
    with pytest.raises(PoseStudyError, match="no usable instance"):
        data_set(tmp_path, "val", pipeline, test_mode=True)
    kept = data_set(tmp_path, "val", pipeline, test_mode=True, keep_unlabelled=True)
    assert len(kept) == len(truth["annotations"])
    assert kept[0]["inputs"].shape == (3, 32, 32)


@pytest.mark.parametrize(
    ("damage", "workers"), [("truncated", 0), ("empty", 0), ("text", 0), ("missing", 0), ("text", 1)]
)
def test_a_damaged_image_is_named(cats: Path, tmp_path: Path, damage: str, workers: int) -> None:
    draw(tmp_path, train=2, val=2, seed=0, size_px=48)
    data = data_set(tmp_path, "val", [*LOAD, *CROP, *PACK])
    path = Path(data.get_data_info(1)["img_path"])
    content = {"truncated": path.read_bytes()[:40], "empty": b"", "text": b"not an image"}
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content[damage])
    batches = torch.utils.data.DataLoader(data, num_workers=workers, collate_fn=list)
    with pytest.raises(UnreadableImageError, match=path.name):
        list(batches)


def test_an_error_that_is_not_the_images_stays_what_it_is(cats: Path) -> None:
    class Mistake:
        def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
            raise KeyError("of the pipeline")

    data = data_set(cats, "val", [])
    data.pipeline.transforms.append(Mistake())
    with pytest.raises(KeyError, match="of the pipeline"):
        data[0]
