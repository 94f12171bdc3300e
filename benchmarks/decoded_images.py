"""What it costs to keep decoded images, and what it saves: CPU time for an image on one core.

`python -m benchmarks.decoded_images --photographs DIR`: the JPEG files of DIR as they are and stretched to 640 x 480.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
from mmpose.datasets.transforms import LoadImage

from benchmarks.interleaved import Measured, interleaved
from posestudy_runner.plugin.data_path import decoded_images
from posestudy_runner.plugin.data_path.decoded_images import DecodedImages
from posestudy_runner.plugin.data_path.store_layout import checksum

STOCK = "decoded, as MMPose does"
COLD = "decoded and kept, at the first use on the machine"
FIRST = "out of the store, at the first use in a trial: found, checked"
AGAIN = "out of the store, from then on"


def spent_us(read: Callable[[int], object], count: int) -> float:
    began = time.process_time()
    for number in range(count):
        read(number)
    return (time.process_time() - began) / count * 1e6


def rivals(paths: Sequence[str], folder: Path) -> dict[str, Callable[[], float]]:
    stock, full = LoadImage(), folder / "full"
    warm = DecodedImages(paths, full)
    for _ in range(2):
        spent_us(warm.read, len(paths))

    def cold() -> float:
        with tempfile.TemporaryDirectory(dir=folder) as empty:
            images = DecodedImages(paths[1:], empty)
            images.read(0)  # makes the store
            return spent_us(lambda number: images.read(number + 1), len(paths) - 2)

    def sums(compute: Callable[[object], object]) -> Callable[[], float]:
        return lambda: spent_us(lambda number: compute(warm.read(number)), len(paths)) - again()

    def again() -> float:
        return spent_us(warm.read, len(paths))

    return {
        STOCK: lambda: spent_us(lambda number: stock({"img_path": paths[number]}), len(paths)),
        COLD: cold,
        FIRST: lambda: spent_us(DecodedImages(paths, full).read, len(paths)),
        AGAIN: again,
        "its checksum": sums(checksum),  # type: ignore[arg-type]
        "a CRC-32 of all bytes instead": sums(zlib.crc32),  # type: ignore[arg-type]
    }


def stretched(paths: Sequence[str], folder: Path) -> list[str]:
    """The images at 640 x 480, as JPEG files."""
    made = []
    for path in paths:
        made.append(str(folder / os.path.basename(path)))
        cv2.imwrite(made[-1], cv2.resize(cv2.imread(path), (640, 480), interpolation=cv2.INTER_CUBIC))
    return made


def table(measured: dict[str, dict[str, Measured]]) -> str:
    sizes = list(measured)
    rows = [f"| CPU time for an image [µs] | {' | '.join(sizes)} |", f"|---|{'---|' * len(sizes)}"]
    for name in measured[sizes[0]]:
        cells = []
        for size in sizes:
            ratio = measured[size][STOCK].median / measured[size][name].median
            cells.append(measured[size][name].shown() + (f", 1/{ratio:.0f}" if name in (FIRST, AGAIN) else ""))
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--photographs", type=Path, required=True, help="folder of JPEG files")
    options.add_argument("--images", type=int, default=300)
    options.add_argument("--rounds", type=int, default=7)
    asked = options.parse_args()
    cv2.setNumThreads(1)
    paths = [str(path) for path in sorted(asked.photographs.glob("*.jpg"))[: asked.images]]
    with tempfile.TemporaryDirectory(prefix="decoded-") as made:
        places = {name: Path(made) / name for name in ("as they are", "640 x 480", "jpeg")}
        for place in places.values():
            place.mkdir()
        sets = {"as they are": paths, "640 x 480": stretched(paths, places.pop("jpeg"))}
        time.sleep(decoded_images.UNSETTLED_S)  # files that new are not kept
        print(table({name: interleaved(rivals(sets[name], place), asked.rounds) for name, place in places.items()}))


if __name__ == "__main__":
    main()
