"""Does a study learn the same by both data paths? `python -m benchmarks.learning_equality`

The cells of the whole-study benchmark with several seeds, trained by `data_path: fast` and `stock`: the difference of
the two means of a cell beside the 95 % interval of the stock replicates, and the differences seed by seed.
"""

from __future__ import annotations

import argparse
import math
import shutil
import statistics
from dataclasses import replace
from pathlib import Path

from scipy.stats import t

from benchmarks.study.ours import STOCK_DATA, posestudy
from benchmarks.study.the_study import CELLS, VALIDATIONS, TheStudy, draw_once


def main() -> None:
    """Train by both paths and print a table."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--epochs", type=int, default=30)
    words.add_argument("--seeds", type=int, default=4)
    words.add_argument("--workers", type=int, default=2)
    words.add_argument("--folder", type=Path, default=Path("out/benchmark_learning"))
    asked = words.parse_args()
    epochs = VALIDATIONS * max(1, asked.epochs // VALIDATIONS)
    study = TheStudy(draw_once(asked.folder / "cats"), epochs, tuple(range(asked.seeds)))
    found = {}
    for name, without in (("fast", ""), ("stock", STOCK_DATA)):
        work = asked.folder / name
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        found[name] = posestudy(replace(study), work, asked.workers, without).final
    print(
        "| cell | fast | stock | difference | 95 % interval of stock | inside | by seed |\n"
        "|---|---|---|---|---|---|---|"
    )
    for cell in CELLS:
        fast, stock = ([found[path][f"{cell}-{seed}"] for seed in study.seeds] for path in ("fast", "stock"))
        difference = statistics.mean(fast) - statistics.mean(stock)
        half = _half_width(stock)
        pairs = ", ".join(f"{a - b:+.3f}" for a, b in zip(fast, stock, strict=True))
        print(
            f"| {cell} | {statistics.mean(fast):.3f} | {statistics.mean(stock):.3f} | {difference:+.3f} | "
            f"± {half:.3f} | {'yes' if abs(difference) <= half else 'no'} | {pairs} |"
        )


def _half_width(values: list[float]) -> float:
    """Of the 95 % interval of the mean, by Student's t."""
    count = len(values)
    return float(t.ppf(0.975, count - 1)) * statistics.stdev(values) / math.sqrt(count)


if __name__ == "__main__":
    main()
