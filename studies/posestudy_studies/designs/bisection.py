"""`bisect`: a factor's best level found by halving an interval."""

from __future__ import annotations

from typing import Literal

from posestudy_studies.designs.variants import Variants


class Bisect(Variants):
    """A factor's best level by halving."""

    design: Literal["bisect"]  # type: ignore[assignment]
