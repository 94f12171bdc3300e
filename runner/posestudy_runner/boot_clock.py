"""A clock that a worker and its trial process read alike."""

from __future__ import annotations

import time


def boot_time() -> float:
    """Seconds since this machine booted, time asleep included; the same in every process of the machine."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
