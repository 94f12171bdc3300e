"""Which share of the keypoints is of which error type: by keypoint, by instance size, by visibility."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posestudy_reports.error_types import Diagnosis, Kind

MOST_ROWS: Final = 30
_SMALL: Final = 32.0**2
_LARGE: Final = 96.0**2
"""COCO's bounds of small and large instances, px^2."""
_ENOUGH: Final = 0.05
"""The share of the instances that a class of COCO's must hold to be told apart from the others."""


@dataclass(frozen=True)
class Share:
    """A row: what it is of, how many judged keypoints, and how many of each `Kind`."""

    label: str
    group: str
    count: int
    kinds: tuple[int, ...]

    def of(self, kind: Kind) -> float:
        """The share of a kind, 0 to 1."""
        return self.kinds[kind] / self.count if self.count else 0.0


def by_keypoint(diagnosis: Diagnosis, names: tuple[str, ...]) -> tuple[Share, ...]:
    """A row a keypoint in order of the layout; of more than `MOST_ROWS` those with the fewest good ones."""
    every = np.ones_like(diagnosis.kinds, dtype=np.bool_)
    rows = []
    for k, name in enumerate(names):
        only = np.zeros_like(every)
        only[:, k] = True
        rows.append(_share(diagnosis, name, "keypoint", only))
    rows = [row for row in rows if row.count]
    if len(rows) <= MOST_ROWS:
        return tuple(rows)
    worst = sorted(range(len(rows)), key=lambda i: (rows[i].of(Kind.GOOD), i))[:MOST_ROWS]
    return tuple(rows[i] for i in sorted(worst))


def by_group(diagnosis: Diagnosis) -> tuple[Share, ...]:
    """All keypoints, those of each size of instance, visible and hidden ones; groups of one row are left out."""
    truth = diagnosis.paired.truth
    everything = np.ones_like(diagnosis.kinds, dtype=np.bool_)
    rows = [_share(diagnosis, "all", "all", everything)]
    sizes = [(label, np.repeat(mask[:, None], everything.shape[1], axis=1)) for label, mask in size_classes(diagnosis)]
    seen = [("visible", truth.keypoints[:, :, 2] >= 2), ("hidden", truth.keypoints[:, :, 2] == 1)]
    for group, masks in (("size", sizes), ("visibility", seen)):
        found = [_share(diagnosis, label, group, mask) for label, mask in masks]
        found = [row for row in found if row.count]
        rows += found if len(found) > 1 else []
    return tuple(rows)


def size_classes(diagnosis: Diagnosis) -> tuple[tuple[str, NDArray[np.bool_]], ...]:
    """Classes of the instances by area, with masks [N]: COCO's where two of them hold enough, else thirds."""
    areas, mine = diagnosis.paired.truth.areas, diagnosis.paired.of >= 0
    found = (
        ("small", mine & (areas < _SMALL)),
        ("medium", mine & (areas >= _SMALL) & (areas <= _LARGE)),
        ("large", mine & (areas > _LARGE)),
    )
    if sum(mask.sum() >= _ENOUGH * max(1, mine.sum()) for _, mask in found) > 1:
        return found
    if mine.sum() < 3:
        return ()
    low, high = np.quantile(areas[mine], (1 / 3, 2 / 3))
    return (
        ("smallest third", mine & (areas <= low)),
        ("middle third", mine & (areas > low) & (areas <= high)),
        ("largest third", mine & (areas > high)),
    )


def classes_said(shares: tuple[Share, ...]) -> str:
    """How the instances were classed by size, as part of a sentence; empty where they were not."""
    labels = [row.label for row in shares if row.group == "size"]
    if not labels:
        return ""
    if "smallest third" in labels:
        return "Sizes are thirds of the instances by area."
    return "Sizes are COCO's: small below 32\u00b2 px, medium up to 96\u00b2 px, large above."


def _share(diagnosis: Diagnosis, label: str, group: str, mask: NDArray[np.bool_]) -> Share:
    among = diagnosis.kinds[mask & (diagnosis.kinds >= 0)]
    return Share(label, group, len(among), tuple(int((among == kind).sum()) for kind in Kind))
