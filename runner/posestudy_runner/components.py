"""Which of the parts that make a trial faster and change nothing else are in use.

`POSESTUDY_WITHOUT=image_cache,fused_optimizer` leaves out those it names: to measure what each is worth, and to look
for a fault without them.
"""

from __future__ import annotations

import os
from enum import StrEnum

from posestudy.errors import PoseStudyError, nearest

VARIABLE = "POSESTUDY_WITHOUT"


class Component(StrEnum):
    """A part that a trial can do without; its results stay what they are."""

    IMAGE_CACHE = "image_cache"
    """Decoded images, kept on the disk and shared by all trials of the machine."""
    LOADERS = "loaders"
    """As many data-loading processes as pay on this device, kept alive between epochs."""
    DEVICE_WARP = "device_warp"
    """Images warped and targets drawn on the GPU."""
    VALIDATION = "validation"
    """Validation in batches, without setting anything up twice."""
    CHANNELS_LAST = "channels_last"
    """Weights and images with the channels innermost."""
    FUSED_OPTIMIZER = "fused_optimizer"
    """One kernel for the update of all weights."""
    QUIET_STEP = "quiet_step"
    """Iterations that neither wait for the device nor compute what nobody reads."""
    LIGHT_START = "light_start"
    """A trial process that does not look up again what its pool knows."""


def in_use(component: Component) -> bool:
    """Whether `component` is in use in this process.

    Raises:
        PoseStudyError: `POSESTUDY_WITHOUT` names something else than components.
    """
    return component not in left_out()


def left_out() -> frozenset[Component]:
    """What `POSESTUDY_WITHOUT` names.

    Raises:
        PoseStudyError: it names something else than components.
    """
    words = [word.strip() for word in os.environ.get(VARIABLE, "").split(",") if word.strip()]
    known = [component.value for component in Component]
    for word in words:
        if word not in known:
            hint = nearest(word, known)
            raise PoseStudyError(f"{VARIABLE}: found {word!r}, expected some of {', '.join(known)} {hint}".strip())
    return frozenset(Component(word) for word in words)
