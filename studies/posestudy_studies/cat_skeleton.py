"""The skeleton of a drawn cat: joints from random angles of a kinematic chain, in three dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

HEAD_RADIUS: Final = 0.21
"""Body lengths, as all lengths here; they were chosen by looking at the result."""


@dataclass(frozen=True)
class Head:
    """Where the head is and how it is turned: centre and three unit vectors, (3,) each."""

    centre: Floats
    forward: Floats
    up: Floats
    right: Floats


@dataclass(frozen=True)
class Skeleton:
    """Joints (17, 3) in the order of the layout `cats`, tail (7, 3) and head; x is forward, y up, z to the right."""

    joints: Floats
    tail: Floats
    head: Head


def turn(axis: str, angle: float) -> Floats:
    """The rotation (3, 3) about `axis` by `angle` radians."""
    c, s = np.cos(angle), np.sin(angle)
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.eye(3)
    matrix[i, i], matrix[i, j], matrix[j, i], matrix[j, j] = c, -s, s, c
    return matrix


def skeleton(rng: np.random.Generator, side: float) -> Skeleton:
    """A cat that stands, walks, crouches or sits. `side` is the one the viewer sees, right (1) or left (-1)."""
    sitting = bool(rng.random() < 0.25)
    low = rng.uniform(0, 0.5) if rng.random() < 0.3 else 0.0
    tilt = rng.uniform(0.5, 0.8) if sitting else rng.normal(0, 0.12)
    spine = turn("z", tilt)
    half, width = rng.uniform(0.42, 0.52), rng.uniform(0.1, 0.14)
    joints = np.zeros((17, 3))
    joints[3], joints[4] = spine @ (half + 0.03, 0.13, 0), spine @ (-half - 0.05, 0.08, 0)
    stride, phase, thigh = rng.uniform(0.1, 0.55), rng.choice([-1.0, 1.0]), rng.uniform(0.24, 0.29)
    for flank, first, hind, step in ((-1, 5, 11, phase * stride), (1, 8, 14, -phase * stride)):
        joints[first] = spine @ (half - 0.06, -0.06, flank * width)
        joints[first + 1 : first + 3] = _fore_leg(rng, joints[first], step, low, 0.05 * flank)
        joints[hind] = spine @ (-half + 0.06, -0.04, flank * width)
        joints[hind + 1 : hind + 3] = _hind_leg(rng, joints[hind], None if sitting else step, low, thigh, 0.06 * flank)
    head = _head(rng, joints[3], tilt, side)
    eye = 0.72 * head.forward + 0.28 * head.up
    joints[0] = head.centre + HEAD_RADIUS * (eye - 0.48 * head.right)
    joints[1] = head.centre + HEAD_RADIUS * (eye + 0.48 * head.right)
    joints[2] = head.centre + HEAD_RADIUS * (1.08 * head.forward - 0.22 * head.up)
    return Skeleton(joints, _tail(rng, joints[4]), head)


def _fore_leg(rng: np.random.Generator, shoulder: Floats, step: float, low: float, splay: float) -> Floats:
    """Elbow and paw (2, 3); `low` is how far the cat crouches."""
    lean = -0.25 - low + step + rng.normal(0, 0.12)
    return _leg(shoulder, (lean, lean + 0.3 + 1.1 * low + abs(rng.normal(0, 0.25))), (0.24, 0.27), splay)


def _hind_leg(
    rng: np.random.Generator, hip: Floats, step: float | None, low: float, thigh: float, splay: float
) -> Floats:
    """Knee and paw (2, 3); a cat without a step sits."""
    if step is None:
        return _leg(hip, (1.25 + rng.normal(0, 0.1), -0.35), (thigh, 0.2), splay)
    forward = 0.35 + 0.8 * low - 0.8 * step + rng.normal(0, 0.1)
    return _leg(hip, (forward, forward - 0.75 - 1.2 * low - abs(rng.normal(0, 0.2))), (thigh, 0.29), splay)


def _leg(root: Floats, angles: tuple[float, float], lengths: tuple[float, float], splay: float) -> Floats:
    """Middle joint and paw (2, 3) of a leg at `root`; angles in radians from straight down, positive forward."""
    middle = root + lengths[0] * np.array([np.sin(angles[0]), -np.cos(angles[0]), splay])
    paw = middle + lengths[1] * np.array([np.sin(angles[1]), -np.cos(angles[1]), 0.0])
    return np.stack([middle, paw])


def _head(rng: np.random.Generator, neck: Floats, tilt: float, side: float) -> Head:
    """The head before and above the neck, turned towards the viewer's `side` rather than away."""
    nod, raised = tilt * 0.4 + rng.normal(0, 0.25), rng.uniform(0.1, 0.95)
    frame = turn("y", -side * rng.normal(0.35, 0.3)) @ turn("z", nod) @ turn("x", rng.normal(0, 0.15))
    return Head(neck + 0.25 * np.array([np.cos(raised), np.sin(raised), 0]), *frame.T)


def _tail(rng: np.random.Generator, root: Floats) -> Floats:
    """Seven points (7, 3) along an arc."""
    swing, curl = rng.normal(0.3, 0.5), rng.uniform(-0.35, 0.5)
    heading = swing + curl * np.arange(6)
    steps = 0.1 * np.stack([-np.cos(heading), np.sin(heading), np.full(6, 0.25 * np.sin(3 * swing))], axis=1)
    return np.concatenate([root[None], root + np.cumsum(steps, axis=0)])
