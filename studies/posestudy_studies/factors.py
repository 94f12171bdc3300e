"""Factors: dotted names for the knobs of a nested configuration, and setting them to levels."""

from __future__ import annotations

import types
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from posestudy.errors import PoseStudyError
from posestudy_studies.losses import Loss
from posestudy_studies.training import OPTIMIZERS, Codec, Training

Json = dict[str, Any]

_KINDS: dict[str, type[BaseModel]] = {"loss": Loss, "codec": Codec}


def flatten(config: Mapping[str, Any], prefix: str = "") -> Json:
    """`{"optimizer": {"lr": 1}}` as `{"optimizer.lr": 1}`; lists and empty mappings are levels as they are."""
    flat: Json = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def unflatten(flat: Mapping[str, Any]) -> Json:
    """The inverse of `flatten`."""
    nested: Json = {}
    for factor, level in flat.items():
        put(nested, factor, level)
    return nested


def put(config: Json, factor: str, level: Any) -> None:
    """Set `factor` in the nested `config`, making groups that are missing or off; `codec: megvii` keeps its name."""
    *groups, last = factor.split(".")
    for place, group in enumerate(groups, 1):
        held = config.get(group)
        if not isinstance(held, dict):
            named = isinstance(held, str) and ".".join(groups[:place]) in _KINDS
            config[group] = {"type": held} if named else {}
        config = config[group]
    config[last] = deepcopy(level)


def put_all(config: Json, levels: Mapping[str, Any]) -> None:
    """Set every factor of `levels`, groups before their members: `codec` after `codec.kernel_size` would undo it."""
    for factor in sorted(levels, key=lambda factor: factor.count(".")):
        put(config, factor, levels[factor])


def get(config: Mapping[str, Any], factor: str) -> Any:
    """The level of `factor` in the nested `config`; None where a group on the way is missing or off."""
    at: Any = config
    for part in factor.split("."):
        if not isinstance(at, Mapping) or part not in at:
            return None
        at = at[part]
    return at


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The pydantic models a field's annotation may hold, looking through Optional, unions and Annotated."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return models_in(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [model for part in get_args(annotation) for model in models_in(part)]
    return [annotation] if isinstance(annotation, type) and issubclass(annotation, BaseModel) else []


def _walk(model: type[BaseModel], prefix: str) -> list[str]:
    names: list[str] = []
    for name, field in model.model_fields.items():
        names.append(prefix + name)
        for inner in models_in(field.annotation):
            names += _walk(inner, f"{prefix}{name}.")
    return names


@cache
def known() -> tuple[str, ...]:
    """Every factor a study may turn; groups such as `augmentation.flip` are factors too (`{}` and null are levels)."""
    arguments = sorted(set().union(*OPTIMIZERS.values()))
    return tuple(_walk(Training, "")) + tuple(f"optimizer.{name}" for name in arguments)


def apply(training: Training, levels: Mapping[str, Any]) -> Training:
    """`training` with each factor of `levels` set.

    Raises:
        PoseStudyError: the two together are no valid training configuration, as can happen when a stage's levels
            meet what an earlier stage carries.
    """
    config = training.model_dump(mode="json")
    put_all(config, levels)
    try:
        return Training.model_validate(config)
    except ValidationError as error:
        from posestudy_studies import check

        wrong = "; ".join(str(mistake) for mistake in check.translated(error, Training, config))
        which = ", ".join(f"{factor}: {level}" for factor, level in levels.items())
        raise PoseStudyError(f"the levels {{{which}}} do not fit the configuration they are set on: {wrong}") from error


def told(level: Any, factor: str) -> Any:
    """`level` without the arguments of a loss or a codec that nobody set; its name alone where there are no others."""
    model = _KINDS.get(factor)
    if model is None or not isinstance(level, Mapping) or "type" not in level:
        return level
    defaults = {key: field.default for key, field in model.model_fields.items()}
    given = {key: value for key, value in level.items() if key == "type" or value != defaults.get(key)}
    return given if len(given) > 1 else level["type"]


def differences(config: Mapping[str, Any], baseline: Mapping[str, Any]) -> list[str]:
    """The factors in which two nested configurations differ, in order of `config`."""
    left, right = flatten(config), flatten(baseline)
    return [f for f in [*left, *(k for k in right if k not in left)] if left.get(f) != right.get(f)]
