"""Where the best network with an attention looked: which pictures of it a report shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from posestudy.ledger.records import TrialRecord
from posestudy_reports import words
from posestudy_reports.gallery import Find
from posestudy_reports.results import StudyResult
from posestudy_reports.tradeoff import distinct, label

MOST_IMAGES: Final = 2
KINDS: Final = {
    "dependency": "Dependency: which places each keypoint draws on (its row of the attention matrix). The last layer's "
    "is the dependency area of the prediction",
    "affect": "Affect: how strongly each place draws on the keypoint (its column of the attention matrix)",
}
"""The kinds of picture and what they show."""


@dataclass(frozen=True)
class AttentionPicture:
    """One picture of one trial: of every layer and keypoint."""

    image: str
    kind: str
    path: Path
    label: str
    trial: TrialRecord

    @property
    def caption(self) -> str:
        return (
            f"{KINDS[self.kind]}. Validation image {self.image}, {words.quoted(self.label)}, trial "
            f"{self.trial.number}; what does not reach the threshold named in the picture is left dark."
        )


def attention_pictures(result: StudyResult, find: Find) -> tuple[AttentionPicture, ...]:
    """Those of the best completed trial that has any: both kinds of its first image, the dependency of one more."""
    trials = [(label(stage, cell), t) for stage, cell in distinct(result) for t in cell.completed]
    better = result.metric.direction.better
    for name, trial in sorted(trials, key=lambda pair: pair[1].final_value or 0.0, reverse=better(1.0, 0.0)):
        found = find(trial)
        images = sorted({stem.partition("_")[0] for stem in found if stem.partition("_")[2] in KINDS})[:MOST_IMAGES]
        pictures = [
            AttentionPicture(image, kind, found[f"{image}_{kind}"], name, trial)
            for image in images
            for kind in KINDS
            if f"{image}_{kind}" in found and (kind == "dependency" or image == images[0])
        ]
        if pictures:
            return tuple(pictures)
    return ()
