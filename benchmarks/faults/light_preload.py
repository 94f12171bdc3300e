"""What the forkserver of a host with stand-in trials imports: no torch."""

from __future__ import annotations

import posestudy_runner.child
from benchmarks.faults import standin

LOADED = True

__all__ = ["LOADED", "posestudy_runner", "standin"]
