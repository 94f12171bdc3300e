"""Networks by name: published ones with their usual head, and thin ones that learn on a CPU in minutes."""

from __future__ import annotations

from posestudy.errors import NotFoundError, nearest
from posestudy_studies.presets import classic, hrnets, resnets, transposes
from posestudy_studies.presets.preset import Preset

__all__ = ["HEATMAP_STRIDE", "Preset", "names", "owners_of", "preset", "presets"]

HEATMAP_STRIDE = 4
"""Input pixels per heatmap pixel where a study asks for no other heatmap size."""

_PRESETS: dict[str, Preset] = {
    p.name: p for p in (*resnets.PRESETS, *hrnets.PRESETS, *classic.PRESETS, *transposes.PRESETS)
}


def presets() -> tuple[Preset, ...]:
    """Every preset, family by family."""
    return tuple(_PRESETS.values())


def names() -> tuple[str, ...]:
    """The names a study may give as `model`."""
    return tuple(_PRESETS)


def preset(name: str) -> Preset:
    """The preset called `name`.

    Raises:
        NotFoundError: there is none of that name; the nearest is named.
    """
    if name not in _PRESETS:
        hint = nearest(name, _PRESETS)
        raise NotFoundError(
            f"no preset is called {name!r}; expected one of {', '.join(_PRESETS)}" + (f"; {hint}" if hint else "")
        )
    return _PRESETS[name]


def owners_of(weights: str) -> tuple[str, ...]:
    """The presets whose published weights, of the backbone or of the whole network, lie at `weights`."""
    return tuple(name for name, chosen in _PRESETS.items() if weights in (chosen.weights, chosen.official))
