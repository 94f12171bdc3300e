"""Networks by name: published ones with their usual head, and thin ones that learn on a CPU in minutes."""

from __future__ import annotations

from functools import cache

from posestudy.errors import NotFoundError, nearest
from posestudy.extensions import loaded, offered, warned
from posestudy_studies.presets import classic, hrnets, resnets, transposes
from posestudy_studies.presets.preset import Preset

__all__ = ["GROUP", "HEATMAP_STRIDE", "Preset", "names", "owners_of", "preset", "presets"]

GROUP = "posestudy.presets"
"""The group of the entry points with which other distributions add presets."""
HEATMAP_STRIDE = 4
"""Input pixels per heatmap pixel where a study asks for no other heatmap size."""

_OWN: dict[str, Preset] = {
    p.name: p for p in (*resnets.PRESETS, *hrnets.PRESETS, *classic.PRESETS, *transposes.PRESETS)
}


@cache
def _known() -> dict[str, Preset]:
    """The presets by name: posestudy's own, then those of other distributions; a broken one is left out, warned of."""
    found = dict(_OWN)
    for name, added in loaded(GROUP, "preset", taken=_OWN).items():
        if not isinstance(added, Preset):
            warned(offered(GROUP)[name], "preset", "is no Preset")
        elif added.name != name:
            warned(offered(GROUP)[name], "preset", f"calls itself '{added.name}'")
        else:
            found[name] = added
    return found


def presets() -> tuple[Preset, ...]:
    """Every preset, family by family."""
    return tuple(_known().values())


def names() -> tuple[str, ...]:
    """The names a study may give as `model`."""
    return tuple(_known())


def preset(name: str) -> Preset:
    """The preset called `name`.

    Raises:
        NotFoundError: there is none of that name; the nearest is named.
    """
    known = _known()
    if name not in known:
        hint = nearest(name, known)
        raise NotFoundError(
            f"no preset is called {name!r}; expected one of {', '.join(known)}" + (f"; {hint}" if hint else "")
        )
    return known[name]


def owners_of(weights: str) -> tuple[str, ...]:
    """The presets whose published weights, of the backbone or of the whole network, lie at `weights`."""
    return tuple(name for name, chosen in _known().items() if weights in (chosen.weights, chosen.official))
