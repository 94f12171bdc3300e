"""What a core makes of training images a second, by the fast data path and by MMPose's own pipeline.

`python -m benchmarks.data_path [--lspet DIR] [--rounds 5] [--images 96]` prints two Markdown tables. Both data sets
read the same files, with the same augmentation and the same codec, in one process, on one thread and with OpenCV's
threads off, as in a data-loading process; both end where a batch is ready to leave it. What a batch then costs in the
network's own process, until it is normalised, is measured apart. Times are CPU times of this process, medians over
rounds in which the rivals take turns, each round in a new order of images.
"""

from __future__ import annotations

from posestudy_runner.plugin.fast import BatchedPosePreprocessor, FastKeypointDataset, collate_batch

# isort: split
import argparse
import contextlib
import io
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmpose.models.data_preprocessors import PoseDataPreprocessor

from benchmarks.interleaved import Measured, interleaved
from posestudy_runner.plugin import KeypointDataset
from posestudy_studies.drawn_cats import draw
from posestudy_studies.layouts import layout

Config = dict[str, Any]

BATCH = 32
SIZES = ((128, 128), (192, 256), (256, 256))
"""Width and height of the network's input, px."""
WIDTH_PX, HEIGHT_PX = 640, 480
FLIP: Config = {"type": "mmpose.RandomFlip", "prob": 0.5}
BOX: Config = {"type": "mmpose.RandomBBoxTransform", "shift_prob": 0.0, "rotate_factor": 80.0}
AUGMENTATIONS: dict[str, list[Config]] = {
    "flip, scale and rotation": [FLIP, BOX],
    "and half body, photometric": [
        FLIP,
        {"type": "mmpose.PhotometricDistortionV0"},
        {"type": "mmpose.RandomHalfBody"},
        BOX,
    ],
}
NORMALISED: Config = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "bgr_to_rgb": True}


@dataclass(frozen=True)
class Images:
    """A data set to load.

    Attributes:
        name: for the table.
        options: arguments of KeypointDataset, less the pipeline.
    """

    name: str
    options: Config

    def stock(self, pipeline: list[Config]) -> KeypointDataset:
        with contextlib.redirect_stdout(io.StringIO()):
            return KeypointDataset(pipeline=pipeline, **self.options)

    def fast(self, pipeline: list[Config], cache: Path | None) -> FastKeypointDataset:
        with contextlib.redirect_stdout(io.StringIO()):
            return FastKeypointDataset(pipeline=pipeline, cache=None if cache is None else str(cache), **self.options)


def pipeline(augmentations: list[Config], size: tuple[int, int]) -> list[Config]:
    codec = {
        "type": "MSRAHeatmap",
        "input_size": size,
        "heatmap_size": (size[0] // 4, size[1] // 4),
        "sigma": 2.0,
    }
    return [
        {"type": "mmpose.LoadImage"},
        {"type": "mmpose.GetBBoxCenterScale", "padding": 1.25},
        *augmentations,
        {"type": "mmpose.TopdownAffine", "input_size": size},
        {"type": "mmpose.GenerateTarget", "encoder": codec},
        {"type": "mmpose.PackPoseInputs"},
    ]


def data_sets(folder: Path, lspet: Path | None, count: int) -> Iterator[Images]:
    """`count` images each: photographs of 640x480 px, and those of LSPET as they are."""
    if lspet is None:
        print("No --lspet DIR: drawn cats stand in for its photographs.\n", file=sys.stderr)
        draw(folder / "cats", train=count, val=0, seed=0, size_px=120)
        root, split, keypoints = folder / "cats", "train", "cats"
    else:
        root, split, keypoints = lspet, "train", "lspet"
        yield Images("LSPET", _options(root, split, keypoints, count))
    enlarged = folder / "enlarged"
    _enlarge(root, split, enlarged, count)
    yield Images(f"{WIDTH_PX}x{HEIGHT_PX}", _options(enlarged, split, keypoints, count))


def _options(root: Path, split: str, keypoints: str, count: int) -> Config:
    return {
        "ann_file": str(root / f"annotations/{split}.json"),
        "data_prefix": {"img": str(root / "images")},
        "metainfo": layout(keypoints).metainfo,
        "indices": count,
    }


def _enlarge(source: Path, split: str, target: Path, count: int) -> None:
    """The first images of a data set, stretched to 640x480 px, as JPEG, with all annotations stretched alike."""
    (target / "images").mkdir(parents=True)
    (target / "annotations").mkdir()
    content = json.loads((source / f"annotations/{split}.json").read_text())
    content["images"] = content["images"][:count]
    stretch = {}
    for image in content["images"]:
        pixels = cv2.imread(str(source / "images" / image["file_name"]))
        stretch[image["id"]] = x, y = WIDTH_PX / pixels.shape[1], HEIGHT_PX / pixels.shape[0]
        image |= {"file_name": f"{image['id']}.jpg", "width": WIDTH_PX, "height": HEIGHT_PX}
        enlarged = cv2.resize(pixels, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(target / "images" / image["file_name"]), enlarged, [cv2.IMWRITE_JPEG_QUALITY, 92])
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] in stretch]
    for one in content["annotations"]:
        x, y = stretch[one["image_id"]]
        one["bbox"] = [one["bbox"][0] * x, one["bbox"][1] * y, one["bbox"][2] * x, one["bbox"][3] * y]
        points = np.array(one["keypoints"], float).reshape(-1, 3) * (x, y, 1)
        one["keypoints"] = points.ravel().tolist()
    (target / f"annotations/{split}.json").write_text(json.dumps(content))


def loading(data: Any, collate: Callable[[Any], Any]) -> Callable[[], float]:
    """Images a second of CPU time through `data`, in batches and in a new order each time."""
    order = np.random.default_rng(0)

    def run() -> float:
        places = order.permutation(len(data)).tolist()
        begin = time.process_time()
        for first in range(0, len(places), BATCH):
            chosen = places[first : first + BATCH]
            found = data.__getitems__(chosen) if hasattr(data, "__getitems__") else [data[one] for one in chosen]
            collate(found)
        return len(places) / (time.process_time() - begin)

    return run


def cold(images: Images, steps: list[Config], cache: Path) -> Callable[[], float]:
    """As `loading`, with a cache that each round finds empty and fills."""

    def run() -> float:
        shutil.rmtree(cache, ignore_errors=True)
        return loading(images.fast(steps, cache), collate_batch)()

    return run


def preparing(batch: Any, preprocessor: PoseDataPreprocessor) -> Callable[[], float]:
    """Milliseconds of CPU time an image from a batch to what the network takes."""

    def run() -> float:
        count = len(batch["data_samples"])
        begin = time.process_time()
        for _ in range(4):
            preprocessor(dict(batch), True)
        return (time.process_time() - begin) / (4 * count) * 1e3

    return run


def loading_table(images: Images, rounds: int, folder: Path) -> Iterator[str]:
    for name, augmentations in AUGMENTATIONS.items():
        for size in SIZES:
            steps = pipeline(augmentations, size)
            kept = images.fast(steps, folder / "filled")
            rivals = {
                "stock": loading(images.stock(steps), pseudo_collate),
                "cold": cold(images, steps, folder / "cold"),
                "no cache": loading(images.fast(steps, None), collate_batch),
                "filled": loading(kept, collate_batch),
            }
            rivals["filled"]()
            found = interleaved(rivals, rounds)
            yield _row([images.name, f"{size[0]}x{size[1]}", name, *_ratios(found)])


def _ratios(found: dict[str, Measured]) -> list[str]:
    stock = found["stock"]
    ours = [f"{found[name].median:.0f} ({found[name].median / stock.median:.1f}x)" for name in list(found)[1:]]
    return [stock.shown(), *ours]


def preparing_table(images: Images, rounds: int) -> Iterator[str]:
    for size in SIZES:
        steps = pipeline([FLIP, BOX], size)
        stock, fast = images.stock(steps), images.fast(steps, None)
        places = list(range(min(BATCH, len(stock))))
        found = interleaved(
            {
                "stock": preparing(pseudo_collate([stock[one] for one in places]), PoseDataPreprocessor(**NORMALISED)),
                "fast": preparing(fast.__getitems__(places), BatchedPosePreprocessor(**NORMALISED)),
            },
            rounds,
        )
        ratio = found["stock"].median / found["fast"].median
        yield _row(
            [images.name, f"{size[0]}x{size[1]}", found["stock"].shown(), found["fast"].shown(), f"{ratio:.1f}x"]
        )


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _head(*cells: str) -> str:
    return f"{_row(list(cells))}\n{_row(['---'] * len(cells))}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--lspet", type=Path, help="folder of LSPET, with images/ and annotations/train.json")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=96, help="of each data set")
    chosen = parser.parse_args()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sets = list(data_sets(folder, chosen.lspet, chosen.images))
        print("Training images a second and core, and how often stock's\n")
        print(_head("images", "input", "augmentation", "stock MMPose", "cache cold", "no cache", "cache filled"))
        for images in sets:
            for row in loading_table(images, chosen.rounds, folder / f"cache-{images.name}"):
                print(row, flush=True)
        print("\nFrom a batch to the network's input, ms an image\n")
        print(_head("images", "input", "stock MMPose", "fast", "ratio"))
        for images in sets:
            for row in preparing_table(images, chosen.rounds):
                print(row, flush=True)


if __name__ == "__main__":
    main()
