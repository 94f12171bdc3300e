"""The installed designs, found by their entry points."""

from __future__ import annotations

import warnings
from functools import cache
from importlib.metadata import entry_points

from posestudy.errors import PoseStudyWarning
from posestudy_studies.designs.base import Design

GROUP = "posestudy.designs"


@cache
def designs() -> dict[str, type[Design]]:
    """The class of every installed design by its name; one that cannot be loaded is left out with a warning."""
    found: dict[str, type[Design]] = {}
    for entry in entry_points(group=GROUP):
        try:
            loaded = entry.load()
        except Exception as error:  # noqa: BLE001 - a broken third-party design must not take `posestudy` down
            text = f"design '{entry.name}' ({entry.value}) cannot be loaded: {error}"
            warnings.warn(text, PoseStudyWarning, stacklevel=2)
            continue
        if isinstance(loaded, type) and issubclass(loaded, Design):
            found[entry.name] = loaded
        else:
            warnings.warn(f"design '{entry.name}' ({entry.value}) is no Design", PoseStudyWarning, stacklevel=2)
    return found
