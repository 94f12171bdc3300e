"""`leave_one_out`: the full configuration, and each of its components taken away."""

from __future__ import annotations

from typing import Literal

from posestudy_studies.designs.variants import Variants


class LeaveOneOut(Variants):
    """Each component taken away."""

    design: Literal["leave_one_out"]  # type: ignore[assignment]
