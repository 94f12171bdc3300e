"""What other distributions add to posestudy: entry points of a group, of which a broken one harms nobody."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from posestudy.errors import PoseStudyError, PoseStudyWarning


@cache
def offered(group: str) -> dict[str, EntryPoint]:
    """The entry points of `group` by name, none of them loaded; of two with one name the first that is found."""
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        found.setdefault(entry.name, entry)
    return found


def loaded(group: str, noun: str, *, taken: Collection[str] = ()) -> dict[str, Any]:
    """What every entry point of `group` names; one that cannot be loaded is left out with a warning.

    Args:
        noun: what they are, for the warning.
        taken: names that are posestudy's own: an entry point may not have them, and is left out with a warning.
    """
    found: dict[str, Any] = {}
    for name, entry in offered(group).items():
        if name in taken:
            warned(entry, noun, "has the name of one that is built in")
            continue
        try:
            found[name] = entry.load()
        except Exception as error:  # noqa: BLE001 - a broken third party must not take `posestudy` down
            warned(entry, noun, f"cannot be loaded: {error}")
    return found


def load(group: str, noun: str, name: str) -> Any:
    """What the entry point `name` of `group` names.

    Raises:
        PoseStudyError: it cannot be loaded; says where it was looked for.
    """
    entry = offered(group)[name]
    try:
        return entry.load()
    except Exception as error:
        raise PoseStudyError(f"{noun} '{name}' ({entry.value}) cannot be loaded: {error}") from error


def warned(entry: EntryPoint, noun: str, what: str) -> None:
    """Warn that an entry point is left out because of `what`."""
    warnings.warn(f"{noun} '{entry.name}' ({entry.value}) {what}", PoseStudyWarning, stacklevel=4)
