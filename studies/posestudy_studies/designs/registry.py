"""The installed designs, found by their entry points."""

from __future__ import annotations

from functools import cache

from posestudy.extensions import loaded, offered, warned
from posestudy_studies.designs.base import Design

GROUP = "posestudy.designs"


@cache
def designs() -> dict[str, type[Design]]:
    """The class of every installed design by its name; one that cannot be loaded is left out with a warning."""
    found: dict[str, type[Design]] = {}
    for name, design in loaded(GROUP, "design").items():
        if isinstance(design, type) and issubclass(design, Design):
            found[name] = design
        else:
            warned(offered(GROUP)[name], "design", "is no Design")
    return found
