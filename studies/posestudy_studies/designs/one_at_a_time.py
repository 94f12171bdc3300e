"""`one_at_a_time`: variants that each change one thing, and named combinations of them."""

from __future__ import annotations

from typing import Literal

from posestudy_studies.designs.variants import Variants


class OneAtATime(Variants):
    """Variants that each change one thing."""

    design: Literal["one_at_a_time"]  # type: ignore[assignment]
