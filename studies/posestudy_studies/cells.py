"""Makes cells: the key that says when two are the same, safe names, readable labels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from posestudy.home import safe_part
from posestudy.ledger.records import NewCell
from posestudy_studies import factors
from posestudy_studies.designs.base import BASELINE, Design, Proposal

if TYPE_CHECKING:
    from posestudy_studies.spec import Study
    from posestudy_studies.training import Training

Json = dict[str, Any]


def canonical(value: Any) -> str:
    """`value` as the one JSON text that equal values share. Raises ValueError where a number is not finite."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def key(study: Study, training: Training) -> str:
    """sha256 of the training configuration, the data's fingerprint and the evaluation; the seed is not in it."""
    evaluation = training.evaluated(study.evaluation)
    return _digest(
        _trained(study, training) | {"evaluation": evaluation.model_dump(mode="json", exclude_defaults=True)}
    )


def training_key(study: Study, training: Training) -> str | None:
    """The key without the evaluation: cells that share it are trained alike. None where nothing is trained."""
    return _digest(_trained(study, training)) if training.epochs else None


def _trained(study: Study, training: Training) -> Json:
    # Without defaults, so that a knob posestudy gains later changes no key of what was trained before.
    config = training.model_dump(mode="json", exclude_defaults=True, exclude={"evaluation"})
    return {"config": config, "data": study.dataset.fingerprint}


def _digest(what: Json) -> str:
    return hashlib.sha256(canonical(what).encode()).hexdigest()


def new_cell(study: Study, start: Training, proposal: Proposal, seeds: Sequence[int]) -> NewCell:
    """The cell of `proposal` on `start`. Raises PoseStudyError where the two do not fit."""
    training = factors.apply(start, proposal.levels)
    return NewCell(
        name=proposal.name,
        label=proposal.label or label(proposal.levels),
        note=proposal.note,
        key=key(study, training),
        training_key=training_key(study, training),
        levels=dict(proposal.levels),
        config=training.model_dump(mode="json"),
        seeds=tuple(seeds),
        optuna=dict(proposal.optuna),
    )


def baseline_proposal(design: Design | None = None) -> Proposal:
    """The cell that sets nothing."""
    if design is None:
        return Proposal(BASELINE, {}, label=BASELINE)
    return Proposal(BASELINE, {}, label=design.baseline_label or BASELINE, note=design.baseline_note)


def level_text(level: Any, factor: str = "") -> str:
    """A level as a reader would write it: `1e-05`, `off`, `[10, 15]`, and `128 x 96` for the factor input_size."""
    if level is None:
        return "off"
    if isinstance(level, bool):
        return "on" if level else "off"
    if isinstance(level, str):
        return level
    if isinstance(level, float):
        return f"{level:.4g}" if float(f"{level:.4g}") == level else repr(level)
    if isinstance(level, list):
        texts = [level_text(item) for item in level]
        return " x ".join(texts) if factor == "input_size" else f"[{', '.join(texts)}]"
    if isinstance(level, dict):
        level = factors.told(level, factor)
        if isinstance(level, str):
            return level
        return ", ".join(f"{k} {level_text(v)}" for k, v in level.items()) or "default"
    return str(level)


def label(levels: Mapping[str, Any]) -> str:
    """A row label from levels, such as `lr 0.001, batch_size 32`."""
    names = short_names(list(levels))
    return ", ".join(f"{names[f]} {level_text(level, f)}" for f, level in levels.items()) or BASELINE


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Each factor's last word, or its whole name where two would be the same."""
    last = [name.rsplit(".", 1)[-1] for name in names]
    return {name: word if last.count(word) == 1 else name for name, word in zip(names, last, strict=True)}


def unique_names(combinations: Sequence[Mapping[str, Any]]) -> list[str]:
    """A safe name for each combination of levels, such as `lr_0.001-batch_size_32`; never two alike."""
    names: list[str] = []
    taken = {BASELINE}
    for levels in combinations:
        short = short_names(list(levels))
        text = "-".join(f"{short[f]}_{level_text(level, f).replace(' ', '')}" for f, level in levels.items())
        stem = safe_part(text)[:70].strip("-_.") or "cell"
        name, count = stem, 1
        while name in taken:
            count += 1
            name = f"{stem}-{count}"
        taken.add(name)
        names.append(name)
    return names
