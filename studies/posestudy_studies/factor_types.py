"""What kind of level a factor takes, read off the model of the training configuration."""

from __future__ import annotations

import types
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from posestudy_studies import factors
from posestudy_studies.training import Training


@cache
def is_whole(factor: str) -> bool:
    """Whether `factor` takes whole numbers only, as epochs do; False where nothing is known of it."""
    kinds = _kinds(factor)
    return int in kinds and float not in kinds


@cache
def may_be_null(factor: str) -> bool:
    """Whether null is a level of `factor`, as it is of augmentation.flip."""
    return type(None) in _kinds(factor)


def _kinds(factor: str) -> frozenset[Any]:
    found: FieldInfo | None = None
    models: list[type[BaseModel]] = [Training]
    for part in factor.split("."):
        found = next((m.model_fields[part] for m in models if part in m.model_fields), None)
        if found is None:
            return frozenset()
        models = factors.models_in(found.annotation)
    return frozenset(_parts(found.annotation)) if found is not None else frozenset()


def _parts(annotation: Any) -> list[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _parts(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [kind for part in get_args(annotation) for kind in _parts(part)]
    return [annotation]
