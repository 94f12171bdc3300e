"""A profile file: the keys of `cluster` for every study that runs on one cluster (`launch --profile FILE.yaml`)."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from posestudy import given_paths
from posestudy.errors import InputError
from posestudy_studies import check, mistakes, yaml_text
from posestudy_studies.cluster import Cluster
from posestudy_studies.mistakes import Mistake, show

Json = dict[str, Any]


def read(path: Path) -> Json:
    """The keys in the profile file at `path`, with absolute paths.

    Raises:
        InputError: every mistake of the file, each with file:line:column.
    """
    document = yaml_text.read(path)
    data = deepcopy(document.data)
    if not isinstance(data, dict):
        found = [Mistake((), show(data), "a mapping with the keys partition, time, gres, ...")]
    else:
        found = absolute(data, given_paths.absolute(path).parent, ())
        try:
            Cluster.model_validate(data)
        except ValidationError as error:
            found += check.translated(error, Cluster, data)
    if found:
        raise InputError(sorted((document.problem(one) for one in found), key=lambda p: (p.line, p.column, p.path)))
    return dict(data)


def put_below(data: Any, profile: Json) -> None:
    """Write the keys of `profile` into `cluster` of a study's data, in place, where nothing stands there yet."""
    if not profile or not isinstance(data, dict):
        return
    if data.get("cluster") is None:
        data["cluster"] = {}
    if isinstance(data["cluster"], dict):
        _fill(data["cluster"], profile)


def _fill(above: Json, below: Json) -> None:
    for key, value in below.items():
        if key not in above:
            above[key] = deepcopy(value)
        elif isinstance(above[key], dict) and isinstance(value, dict):
            _fill(above[key], value)


def absolute(cluster: Any, folder: Path, at: mistakes.Path) -> list[Mistake]:
    """Make `template` absolute, in place, where it is relative to `folder`; a mistake where there is no such file.

    Args:
        at: where `cluster` stands in its document.
    """
    template = cluster.get("template") if isinstance(cluster, dict) else None
    if not isinstance(template, str) or not template:
        return []
    place = folder / given_paths.expanded(template)
    if not given_paths.is_file(place):
        return [Mistake((*at, "template"), repr(template), "a file that exists", "relative to the file it stands in")]
    cluster["template"] = str(place)
    return []
