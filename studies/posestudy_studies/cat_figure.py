"""One articulated cat: a kinematic skeleton posed in three dimensions, projected and painted part by part."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Colour = Floats
Box = tuple[int, int, int, int]
"""Left, top, width, height; px of the canvas."""

_COATS: Final = np.array(  # BGR
    [[60, 140, 225], [70, 70, 75], [150, 150, 155], [215, 225, 232], [60, 85, 120], [120, 165, 205], [40, 36, 38]],
    dtype=float,
)
_EYES: Final = np.array([[70, 200, 120], [60, 190, 225], [210, 170, 80]], dtype=float)  # green, amber, blue
_HEAD_RADIUS: Final = 0.21
_RING: Final = np.array([[np.cos(a), np.sin(a)] for a in np.linspace(0, 2 * np.pi, 20, endpoint=False)])


@dataclass(frozen=True)
class Part:
    """A tapered capsule between two points on the canvas, lengths in px.

    `depth` grows towards the viewer; parts of one depth are one limb, painted without a seam.
    """

    ends: Floats  # (2, 2)
    radii: tuple[float, float]
    depth: float
    shade: float
    kind: str = "limb"  # limb, paw, ear or head

    def outline(self, grow: float = 0.0) -> npt.NDArray[np.int32]:
        import cv2

        points = np.concatenate(
            [end + _RING * max(0.5, r + grow) for end, r in zip(self.ends, self.radii, strict=True)]
        )
        return np.asarray(cv2.convexHull(np.rint(points).astype(np.int32)), dtype=np.int32)


@dataclass(frozen=True)
class Cat:
    """A posed cat on a canvas: joints (17, 2) in px, ordered as the layout `cats`, parts, and its looks."""

    joints: Floats
    parts: list[Part]
    unit: float
    """Pixels of one body length."""
    ears: list[Part]
    facing: Floats
    """Towards the viewer (1) or away (-1): left eye, right eye, nose."""
    coat: Colour
    pattern: str
    second: Colour
    eyes: Colour
    axis: Floats = field(default_factory=lambda: np.array([1.0, 0.0]))
    """Direction (2,) of the spine on the canvas, along which stripes follow one another."""

    def silhouette(self, mask: Image) -> None:
        """Set the cat's pixels of `mask` (side, side) to 255."""
        import cv2

        for part in (*self.parts, *self.ears):
            cv2.fillConvexPoly(mask, part.outline(), 255)


def _turn(axis: str, angle: float) -> Floats:
    """The rotation (3, 3) about `axis` by `angle` radians."""
    c, s = np.cos(angle), np.sin(angle)
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.eye(3)
    matrix[i, i], matrix[i, j], matrix[j, i], matrix[j, j] = c, -s, s, c
    return matrix


def _leg(root: Floats, upper: float, lower: float, lengths: tuple[float, float], splay: float) -> tuple[Floats, Floats]:
    """Middle joint and paw (3,) of a leg at `root`; angles in radians from straight down, positive forward."""
    middle = root + lengths[0] * np.array([np.sin(upper), -np.cos(upper), splay])
    paw = middle + lengths[1] * np.array([np.sin(lower), -np.cos(lower), 0.0])
    return middle, paw


def _skeleton(rng: np.random.Generator, side: float) -> tuple[Floats, Floats, Floats]:
    """Joints (17, 3), tail (7, 3) and head frame (4, 3: centre, forward, up, right); x forward, y up, z right.

    `side` is the one the viewer sees, right (1) or left (-1): the head turns that way.
    """
    sitting = rng.random() < 0.25
    low = rng.uniform(0, 0.5) if rng.random() < 0.3 else 0.0  # crouching
    tilt = rng.uniform(0.5, 0.8) if sitting else rng.normal(0, 0.12)
    spine = _turn("z", tilt)
    half = rng.uniform(0.42, 0.52)
    width = rng.uniform(0.1, 0.14)

    def at(x: float, y: float, z: float) -> Floats:
        return np.asarray(spine @ np.array([x, y, z]))

    joints = np.zeros((17, 3))
    joints[3], joints[4] = at(half + 0.03, 0.13, 0), at(-half - 0.05, 0.08, 0)
    stride = rng.uniform(0.1, 0.55)
    phase = rng.choice([-1.0, 1.0])
    thigh = rng.uniform(0.24, 0.29)
    for flank, first, hind, sign in ((-1, 5, 11, phase), (1, 8, 14, -phase)):
        joints[first] = at(half - 0.06, -0.06, flank * width)
        lean = -0.25 - low + sign * stride + rng.normal(0, 0.12)
        joints[first + 1], joints[first + 2] = _leg(
            joints[first], lean, lean + 0.3 + 1.1 * low + abs(rng.normal(0, 0.25)), (0.24, 0.27), flank * 0.05
        )
        joints[hind] = at(-half + 0.06, -0.04, flank * width)
        thigh_angle = (1.25 if sitting else 0.35 + 0.8 * low) - 0.8 * sign * stride * (not sitting) + rng.normal(0, 0.1)
        shin_angle = -0.35 if sitting else thigh_angle - 0.75 - 1.2 * low - abs(rng.normal(0, 0.2))
        joints[hind + 1], joints[hind + 2] = _leg(
            joints[hind], thigh_angle, shin_angle, (thigh, 0.2 if sitting else 0.29), flank * 0.06
        )
    nod = tilt * 0.4 + rng.normal(0, 0.25)
    raised = rng.uniform(0.1, 0.95)
    centre = joints[3] + 0.25 * np.array([np.cos(raised), np.sin(raised), 0])
    frame = _turn("y", -side * rng.normal(0.35, 0.3)) @ _turn("z", nod) @ _turn("x", rng.normal(0, 0.15))
    forward, up, right = frame.T
    eye = 0.72 * forward + 0.28 * up
    joints[0] = centre + _HEAD_RADIUS * (eye - 0.48 * right)
    joints[1] = centre + _HEAD_RADIUS * (eye + 0.48 * right)
    joints[2] = centre + _HEAD_RADIUS * (1.08 * forward - 0.22 * up)
    swing, curl = rng.normal(0.3, 0.5), rng.uniform(-0.35, 0.5)
    tail = [joints[4]]
    for step in range(6):
        heading = swing + curl * step
        tail.append(tail[-1] + 0.1 * np.array([-np.cos(heading), np.sin(heading), 0.25 * np.sin(3 * swing)]))
    return joints, np.array(tail), np.stack([centre, forward, up, right])


def _coat(rng: np.random.Generator) -> Colour:
    return np.asarray(_COATS[rng.integers(len(_COATS))] + rng.normal(0, 14) + rng.normal(0, 4, 3))


def pose(rng: np.random.Generator, area: tuple[float, float, float], shade: float) -> Cat:
    """A cat in a random pose and coat, fitted into `area` (centre x, centre y, extent; px of the canvas).

    `shade` is the mean grey level of the background; coats that would vanish before it are drawn again.
    """
    side = float(rng.choice([-1.0, 1.0]))
    joints, tail, head = _skeleton(rng, side)
    centre, forward, up, right = head
    yaw = rng.uniform(-1.15, 0.3)  # negative: towards the viewer
    roll = rng.normal(0, 0.5) if rng.random() < 0.15 else rng.normal(0, 0.12)
    view = _turn("z", roll) @ _turn("x", rng.uniform(0.0, 0.35)) @ _turn("y", yaw if side > 0 else np.pi - yaw)
    tips = [centre + _HEAD_RADIUS * (1.62 * up + s * 0.85 * right) for s in (-1, 1)]
    cloud = np.concatenate([joints, tail, centre[None], *(t[None] for t in tips)]) @ view.T
    low, high = cloud[:, :2].min(axis=0) - 0.08, cloud[:, :2].max(axis=0) + 0.08
    unit = area[2] / float((high - low).max())
    middle = (low + high) / 2

    def on_canvas(points: Floats) -> Floats:
        return np.asarray(((points @ view.T)[..., :2] - middle) * (unit, -unit) + area[:2])

    def limb(*segments: tuple[Floats, Floats, float, float] | tuple[Floats, Floats, float, float, str]) -> list[Part]:
        """Capsules (from, to, radius, radius[, kind]) of one depth, lengths in body lengths."""
        z = float(np.mean([(np.stack(s[:2]) @ view.T)[:, 2] for s in segments]))
        shade = float(np.clip(1 + 1.6 * z, 0.68, 1.06))
        return [Part(on_canvas(np.stack(s[:2])), (s[2] * unit, s[3] * unit), z, shade, *s[4:]) for s in segments]

    chubby = rng.uniform(0.9, 1.15)
    chest, belly = (joints[5] + joints[8]) / 2, (joints[11] + joints[14]) / 2
    lift = np.array([0.0, 0.04, 0.0])
    parts = limb(
        (chest + lift, belly + lift, 0.185 * chubby, 0.2 * chubby),
        (joints[3], chest, 0.12, 0.16),
        (joints[4], belly, 0.1, 0.18),
        (joints[3], centre, 0.12, 0.15),
    )
    ahead = 0.05 * forward * (1, 0, 1)
    for first, thick in ((5, 0.085), (8, 0.085), (11, 0.12), (14, 0.12)):
        a, b, c = joints[first : first + 3]
        parts += limb((a, b, thick * chubby, 0.062), (b, c, 0.06, 0.047), (c, c + ahead, 0.055, 0.045, "paw"))
    parts += limb(*((a, b, 0.045, 0.04) for a, b in pairwise(tail)))
    parts += limb((centre, centre + 0.01 * forward, _HEAD_RADIUS, _HEAD_RADIUS * 0.98, "head"))
    ears = [
        limb((centre + 0.6 * (tip - centre), tip, 0.4 * _HEAD_RADIUS, 0.05 * _HEAD_RADIUS, "ear"))[0] for tip in tips
    ]
    coat = _coat(rng)
    while abs(float(coat.mean()) - shade) < 28:
        coat = _coat(rng)
    sights = np.stack([0.72 * forward - 0.48 * right, 0.72 * forward + 0.48 * right, forward])
    facing = (sights @ view.T)[:, 2]
    axis = on_canvas(chest) - on_canvas(belly)
    pattern = str(rng.choice(["plain", "tabby", "socks", "patches"], p=[0.3, 0.3, 0.2, 0.2]))
    second = np.clip(coat * 0.55 if pattern == "tabby" or coat.mean() > 170 else coat * 0.2 + 190, 5, 250)
    return Cat(
        joints=on_canvas(joints),
        parts=sorted(parts, key=lambda p: p.depth),
        unit=unit,
        ears=ears,
        facing=facing,
        coat=np.clip(coat, 12, 245),
        pattern=pattern,
        second=second,
        eyes=_EYES[rng.integers(len(_EYES))],
        axis=axis / max(1e-6, float(np.linalg.norm(axis))),
    )


def paint(canvas: Image, cat: Cat, rng: np.random.Generator) -> tuple[npt.NDArray[np.bool_], Box]:
    """Draw `cat` onto `canvas` (side, side, 3); returns which joints (17,) its own head hides, and its box."""
    import cv2

    fur = _fur(canvas.shape[0], cat, rng)
    for _, group in groupby(cat.parts, key=lambda part: part.depth):
        limb = list(group)
        if limb[0].kind == "head":
            _paint_head(canvas, fur, limb[0], cat)
        else:
            _paint_limb(canvas, fur, limb, cat)
    mask = np.zeros(canvas.shape[:2], np.uint8)
    cat.silhouette(mask)
    x, y, width, height = cv2.boundingRect(mask)
    hidden = np.zeros(len(cat.joints), dtype=bool)
    hidden[:3] = cat.facing < 0.05
    return hidden, (x, y, width, height)


def _fur(side: int, cat: Cat, rng: np.random.Generator) -> Floats:
    """The coat over the whole canvas (side, side, 3), from which each part is cut."""
    import cv2

    fur = np.broadcast_to(cat.coat, (side, side, 3)).copy()
    if cat.pattern == "tabby":
        rows, columns = np.mgrid[:side, :side]
        along = ((columns - cat.joints[4, 0]) * cat.axis[0] + (rows - cat.joints[4, 1]) * cat.axis[1]) / cat.unit
        fur[np.sin(along * rng.uniform(38, 52)) > rng.uniform(0.45, 0.7)] = cat.second
    elif cat.pattern == "patches":
        coarse = cv2.resize(rng.normal(0, 1, (9, 9)), (side, side), interpolation=cv2.INTER_CUBIC)
        fur[coarse > 0.45] = cat.second
    return fur


def _paint_limb(canvas: Image, fur: Floats, limb: list[Part], cat: Cat) -> None:
    """Outline and fill capsules of one depth as one shape."""
    import cv2

    for part in limb:
        cv2.fillConvexPoly(canvas, part.outline(), (cat.coat * 0.45 * part.shade).tolist(), cv2.LINE_AA)
    for part in limb:
        shape = part.outline(-max(2.0, 0.012 * cat.unit))
        x, y, width, height = cv2.boundingRect(shape)
        left, top = max(0, x), max(0, y)
        window = np.s_[top : max(top, y + height), left : max(left, x + width)]
        mask = np.zeros(canvas[window].shape[:2], np.uint8)
        if not mask.size:
            continue
        cv2.fillConvexPoly(mask, np.asarray(shape - (left, top), dtype=np.int32), 255)
        inside = mask > 0
        colour = cat.second if part.kind == "paw" and cat.pattern == "socks" else fur[window][inside]
        canvas[window][inside] = np.clip(colour * part.shade, 0, 255).astype(np.uint8)


def _paint_head(canvas: Image, fur: Floats, part: Part, cat: Cat) -> None:
    import cv2

    radius = _HEAD_RADIUS * cat.unit
    _paint_limb(canvas, fur, cat.ears, cat)
    if cat.facing[2] > 0.05:
        for ear in cat.ears:
            cv2.fillConvexPoly(canvas, ear.outline(-0.16 * radius), [150, 150, 215], cv2.LINE_AA)
    _paint_limb(canvas, fur, [part], cat)
    left, right, nose = cat.joints[:3]
    if cat.facing[2] > 0.05:
        muzzle = np.clip(cat.coat * 0.6 + 95, 0, 250)
        cv2.circle(canvas, _pixel(nose, below=0.15 * radius), int(0.34 * radius), muzzle.tolist(), -1, cv2.LINE_AA)
        cv2.circle(canvas, _pixel(nose), max(2, int(0.12 * radius)), [110, 90, 190], -1, cv2.LINE_AA)
    for eye, facing in ((left, cat.facing[0]), (right, cat.facing[1])):
        if facing > 0.05:
            cv2.circle(canvas, _pixel(eye), max(3, int(0.2 * radius)), cat.eyes.tolist(), -1, cv2.LINE_AA)
            cv2.circle(canvas, _pixel(eye), max(2, int(0.1 * radius)), [15, 15, 15], -1, cv2.LINE_AA)


def _pixel(point: Floats, below: float = 0.0) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]) + below)
