"""Searches of the cat space compared: `python -m benchmarks.search --seeds 20 --epochs 1023`.

Prints a table and draws the median noise-free coco/AP of what is chosen against the epochs spent, with its quartiles,
to `out/search.svg`. What was played is kept in `out/search.json`; `--fresh` plays it again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.search.simulation import Search
from benchmarks.search.strategies import STRATEGIES
from benchmarks.search.surrogates import KINDS, Surrogate

STUDENT = {"additive": 0.671, "interacting": 0.673}
"""The noise-free coco/AP of what the student chose after 4,095 epochs, which the first two are to reach."""
Played = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    """Play what was not played yet and show it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=1023, help="that a search may spend")
    parser.add_argument("--strategies", nargs="*", default=list(STRATEGIES), choices=list(STRATEGIES))
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--out", type=Path, default=Path("out"))
    parser.add_argument("--fresh", action="store_true", help="play again what was played before")
    told = parser.parse_args(arguments)
    told.out.mkdir(parents=True, exist_ok=True)
    kept = told.out / "search.json"
    known: dict[str, Played] = json.loads(kept.read_text()) if kept.exists() and not told.fresh else {}
    for seed in range(told.seeds):
        for name in told.strategies:
            for kind in told.kinds:
                key = f"{name}/{kind}/{told.epochs}/{seed}"
                if key not in known:
                    played = STRATEGIES[name](Surrogate.fitted(kind), seed, told.epochs)
                    known[key] = vars(played)
                    kept.write_text(json.dumps(known) + "\n", encoding="utf-8")
    _tables(known, told)
    _drawn(known, told)


def _searches(known: dict[str, Played], told: argparse.Namespace, name: str, kind: str) -> list[Search]:
    keys = [f"{name}/{kind}/{told.epochs}/{seed}" for seed in range(told.seeds)]
    return [Search(**{**known[key], "reached": tuple(map(tuple, known[key]["reached"]))}) for key in keys]


def _tables(known: dict[str, Played], told: argparse.Namespace) -> None:
    for kind in told.kinds:
        goal = f"; to reach: {STUDENT[kind]}" if kind in STUDENT else ""
        print(f"\n{kind}: {told.epochs} epochs, {told.seeds} seeds{goal}\n")
        print("| strategy | median AP | quartiles | epochs | cells | completed |\n|---|---|---|---|---|---|")
        for name in told.strategies:
            searches = _searches(known, told, name, kind)
            low, median, high = np.quantile([one.at(told.epochs) for one in searches], [0.25, 0.5, 0.75])
            means = [np.mean([getattr(one, what) for one in searches]) for what in ("spent", "cells", "completed")]
            print(
                f"| {name} | {median:.3f} | {low:.3f} to {high:.3f} | " + " | ".join(f"{m:.0f}" for m in means) + " |"
            )


def _drawn(known: dict[str, Played], told: argparse.Namespace) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(told.kinds), figsize=(5 * len(told.kinds), 4), squeeze=False, sharey=True)
    epochs = np.arange(5, told.epochs + 1, 5)
    for axis, kind in zip(axes[0], told.kinds, strict=True):
        for name in told.strategies:
            values = [[one.at(int(e)) for e in epochs] for one in _searches(known, told, name, kind)]
            low, median, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
            (line,) = axis.plot(epochs, median, label=name)
            axis.fill_between(epochs, low, high, alpha=0.15, color=line.get_color(), linewidth=0)
        if kind in STUDENT:
            axis.axhline(STUDENT[kind], color="black", linestyle=":", linewidth=1)
        axis.set(title=kind, xlabel="epochs spent", ylim=(0.3, 0.8))
    axes[0][0].set_ylabel("noise-free coco/AP of the chosen cell")
    axes[0][-1].legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(told.out / "search.svg")


if __name__ == "__main__":
    main()
