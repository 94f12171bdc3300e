"""The configurations a stage may start from, as far as its study's file can say before anything has run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from posestudy.errors import PoseStudyError
from posestudy_studies import cells, factors
from posestudy_studies.designs.base import BASELINE, Design, Probe
from posestudy_studies.training import Training

MOST = 200
"""Starts that are followed; of more, the first, in which the fewest stages changed something."""


@dataclass(frozen=True)
class Start:
    """A configuration, and in words which cells must have been carried for it; empty for the study's baseline."""

    training: Training
    because: str = ""


def applicable(stage: Design, start: Training) -> list[Probe]:
    """The probes of `stage` for one that starts from `start`."""
    return stage.probes_on(start)


def following(stage: Design, starts: Sequence[Start], carry: str) -> list[Start]:
    """What the stage after `stage` may start from, where it says `carry` and `stage` itself has these `starts`."""
    found: dict[str, Start] = {}
    for start in [*(starts if carry in ("best", BASELINE) else ()), *_changed(stage, starts, carry)]:
        found.setdefault(start.training.model_dump_json(), start)
        if len(found) == MOST:
            break
    return list(found.values()) or list(starts)


def _changed(stage: Design, starts: Sequence[Start], carry: str) -> Iterator[Start]:
    if carry == BASELINE:
        return
    for start in starts:
        for levels in _levels(stage, start.training, carry):
            try:
                training = factors.apply(start.training, levels)
            except PoseStudyError:
                continue  # a mistake of `stage`, told there
            because = f"stage '{stage.name}' carries {cells.label(levels)}"
            yield Start(training, f"{start.because} and {because}" if start.because else because)


def _levels(stage: Design, start: Training, carry: str) -> list[dict[str, object]]:
    if carry == "best":
        return [probe.levels for probe in applicable(stage, start)]
    return [proposal.levels for proposal, decided in stage.planned(start) if decided and proposal.name == carry]
