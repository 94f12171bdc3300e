"""One drawn cat: its skeleton projected onto the canvas, clothed with capsules, and painted from back to front."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from posestudy_studies.cat_skeleton import HEAD_RADIUS, Floats, Skeleton, skeleton, turn

Image = npt.NDArray[np.uint8]
Colour = Floats
Box = tuple[int, int, int, int]
"""Left, top, width, height; px of the canvas."""

_COATS: Final = np.array(  # BGR
    [[60, 140, 225], [70, 70, 75], [150, 150, 155], [215, 225, 232], [60, 85, 120], [120, 165, 205], [40, 36, 38]],
    dtype=float,
)
_EYES: Final = np.array([[70, 200, 120], [60, 190, 225], [210, 170, 80]], dtype=float)  # green, amber, blue
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
    kind: str = "limb"  # limb, paw or head

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
    axis: Floats
    """Direction (2,) of the spine on the canvas, along which stripes follow one another."""

    def silhouette(self, mask: Image) -> None:
        """Set the cat's pixels of `mask` (side, side) to 255."""
        import cv2

        for part in (*self.parts, *self.ears):
            cv2.fillConvexPoly(mask, part.outline(), 255)


def _coat(rng: np.random.Generator) -> Colour:
    return np.asarray(_COATS[rng.integers(len(_COATS))] + rng.normal(0, 14) + rng.normal(0, 4, 3))


@dataclass(frozen=True)
class _View:
    """Parallel projection onto the canvas: rotation (3, 3), px of a body length, and what is centred where."""

    rotation: Floats
    unit: float
    middle: Floats
    centre: tuple[float, float]

    @classmethod
    def fitting(cls, rotation: Floats, points: Floats, area: tuple[float, float, float]) -> _View:
        """The view in which `points` (n, 3) fill `area` (centre x, centre y, extent; px)."""
        flat = (points @ rotation.T)[:, :2]
        low, high = flat.min(axis=0) - 0.08, flat.max(axis=0) + 0.08
        return cls(rotation, area[2] / float((high - low).max()), (low + high) / 2, area[:2])

    def place(self, points: Floats) -> Floats:
        """Pixels (..., 2) of points (..., 3)."""
        return np.asarray(((points @ self.rotation.T)[..., :2] - self.middle) * (self.unit, -self.unit) + self.centre)

    def depth(self, points: Floats) -> Floats:
        """How far points (..., 3) are towards the viewer, body lengths."""
        return np.asarray((points @ self.rotation.T)[..., 2])

    def limb(self, *segments: tuple[Floats, Floats, float, float], last: str = "limb") -> list[Part]:
        """Capsules (from, to, radius, radius) of one depth, lengths in body lengths; those behind are darker.

        `last` is the kind of the last of them.
        """
        depth = float(np.mean([self.depth(np.stack(s[:2])) for s in segments]))
        shade = float(np.clip(1 + 1.6 * depth, 0.68, 1.06))
        kinds = ["limb"] * (len(segments) - 1) + [last]
        return [
            Part(self.place(np.stack([a, b])), (r * self.unit, q * self.unit), depth, shade, kind)
            for (a, b, r, q), kind in zip(segments, kinds, strict=True)
        ]


def pose(rng: np.random.Generator, area: tuple[float, float, float], shade: float) -> Cat:
    """A cat in a random pose and coat, fitted into `area` (centre x, centre y, extent; px of the canvas).

    `shade` is the mean grey level of the background; coats that would vanish before it are drawn again.
    """
    side = float(rng.choice([-1.0, 1.0]))
    bones = skeleton(rng, side)
    head = bones.head
    yaw = rng.uniform(-1.15, 0.3)  # negative: towards the viewer
    roll = rng.normal(0, 0.5) if rng.random() < 0.15 else rng.normal(0, 0.12)
    rotation = turn("z", roll) @ turn("x", rng.uniform(0.0, 0.35)) @ turn("y", yaw if side > 0 else np.pi - yaw)
    tips = head.centre + HEAD_RADIUS * (1.62 * head.up + np.outer((-0.85, 0.85), head.right))
    view = _View.fitting(rotation, np.concatenate([bones.joints, bones.tail, head.centre[None], tips]), area)
    parts = _body(view, bones, chubby=rng.uniform(0.9, 1.15))
    coat = _coat(rng)
    while abs(float(coat.mean()) - shade) < 28:
        coat = _coat(rng)
    sights = np.stack([0.72 * head.forward - 0.48 * head.right, 0.72 * head.forward + 0.48 * head.right, head.forward])
    pattern = str(rng.choice(["plain", "tabby", "socks", "patches"], p=[0.3, 0.3, 0.2, 0.2]))
    second = coat * 0.55 if pattern == "tabby" or coat.mean() > 170 else coat * 0.2 + 190
    joints = view.place(bones.joints)
    axis = joints[3] - joints[4]
    base = head.centre + 0.6 * (tips - head.centre)
    return Cat(
        joints=joints,
        parts=sorted(parts, key=lambda part: part.depth),
        unit=view.unit,
        ears=[
            view.limb((low, tip, 0.4 * HEAD_RADIUS, 0.05 * HEAD_RADIUS))[0] for low, tip in zip(base, tips, strict=True)
        ],
        facing=view.depth(sights),
        coat=np.clip(coat, 12, 245),
        pattern=pattern,
        second=np.clip(second, 5, 250),
        eyes=_EYES[rng.integers(len(_EYES))],
        axis=axis / max(1e-6, float(np.linalg.norm(axis))),
    )


def _body(view: _View, bones: Skeleton, chubby: float) -> list[Part]:
    """All parts but the ears: trunk with neck, legs, tail, head."""
    joints, head = bones.joints, bones.head
    chest, belly = (joints[5] + joints[8]) / 2, (joints[11] + joints[14]) / 2
    lift = np.array([0.0, 0.04, 0.0])
    parts = view.limb(
        (chest + lift, belly + lift, 0.185 * chubby, 0.2 * chubby),
        (joints[3], chest, 0.12, 0.16),
        (joints[4], belly, 0.1, 0.18),
        (joints[3], head.centre, 0.12, 0.15),
    )
    ahead = 0.05 * head.forward * (1, 0, 1)
    for first, thick in ((5, 0.085), (8, 0.085), (11, 0.12), (14, 0.12)):
        a, b, c = joints[first : first + 3]
        segments = ((a, b, thick * chubby, 0.062), (b, c, 0.06, 0.047), (c, c + ahead, 0.055, 0.045))
        parts += view.limb(*segments, last="paw")
    parts += view.limb(*((a, b, 0.045, 0.04) for a, b in pairwise(bones.tail)))
    radii = (HEAD_RADIUS, 0.98 * HEAD_RADIUS)
    return parts + view.limb((head.centre, head.centre + 0.01 * head.forward, *radii), last="head")


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

    radius = HEAD_RADIUS * cat.unit
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
