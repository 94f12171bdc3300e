"""The gallery of failures to click through: HTML that needs nothing but itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Final

import numpy as np

from posestudy_reports import words
from posestudy_reports.error_evidence import Evidence, Looked
from posestudy_reports.failure_pictures import PREDICTED, TRUTH, Case, Corners, Group, Images, crop

if TYPE_CHECKING:
    from PIL.Image import Image

MOST: Final = 12
"""Cases of a group."""
MOST_BYTES: Final = 2_200_000
"""Of all pictures together, before base64 makes a third more of them."""
_SIDE_PX: Final = 520
_QUALITY: Final = 82
_BASELINE: Final = "#0072B2"

_STYLE: Final = f"""
.failures {{ outline-offset: 4px; }}
.failures .bar {{ display: flex; flex-wrap: wrap; gap: .4rem .9rem; align-items: center; }}
.failures button {{ font: inherit; padding: .2rem .7rem; border: 1px solid #999; border-radius: 4px; background: #fff;
  cursor: pointer; }}
.failures button[aria-pressed=true] {{ background: #1c1c1c; color: #fff; }} .failures [hidden] {{ display: none; }}
.failures figure {{ margin: .6rem 0; }} .failures .rule {{ font-size: .88rem; margin: .5rem 0; }}
.failures .frame {{ position: relative; width: 34rem; max-width: 100%; background: #eee; }}
.failures .frame img {{ display: block; width: 100%; height: auto; }}
.failures .frame svg {{ position: absolute; inset: 0; width: 100%; height: 100%; }}
.failures .truth {{ stroke: {TRUTH}; }} .failures .best {{ stroke: {PREDICTED}; }}
.failures .baseline {{ stroke: {_BASELINE}; }}
.failures .under {{ stroke: #fff; }} .failures svg g {{ fill: none; stroke-linecap: round; }}
.failures.no-truth .truth, .failures.no-best .best, .failures.no-baseline .baseline {{ display: none; }}
.failures label {{ font-size: .88rem; }} .failures label b {{ font-weight: 600; }}
"""
# Arrow keys belong to the gallery only while it, and no control in it, has the focus.
_SCRIPT: Final = """
(() => {
  const root = document.getElementById('failures-gallery');
  const shots = [...root.querySelectorAll('figure')];
  const tabs = [...root.querySelectorAll('button[data-group]')];
  const counter = root.querySelector('.counter');
  let group = tabs[0].dataset.group, place = 0;
  const mine = () => shots.filter(shot => shot.dataset.group === group);
  const show = () => {
    const here = mine();
    place = (place + here.length) % here.length;
    shots.forEach(shot => { shot.hidden = shot !== here[place]; });
    tabs.forEach(tab => tab.setAttribute('aria-pressed', tab.dataset.group === group));
    root.querySelectorAll('.rule').forEach(rule => { rule.hidden = rule.dataset.group !== group; });
    counter.textContent = (place + 1) + ' / ' + here.length;
  };
  const step = by => { place += by; show(); };
  tabs.forEach(tab => tab.addEventListener('click', () => { group = tab.dataset.group; place = 0; show(); }));
  root.querySelector('.previous').addEventListener('click', () => step(-1));
  root.querySelector('.next').addEventListener('click', () => step(1));
  root.querySelectorAll('input').forEach(box => box.addEventListener('change', () =>
    root.classList.toggle('no-' + box.dataset.layer, !box.checked)));
  root.addEventListener('keydown', event => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (by) { event.preventDefault(); step(by); }
  });
  root.querySelectorAll('.controls').forEach(controls => { controls.hidden = false; });
  show();
})();
"""


def page(found: Evidence, groups: Sequence[Group], images: Images) -> str:
    """The gallery: pictures with what is drawn over them, which can be switched on and off.

    Without scripts all cases stand below one another.
    """
    cells = found.cells if any(group.compared for group in groups) else (found.best,)
    shots = _shots(found, cells, groups, images)
    shown = [group for group in groups if any(name == group.name for name, _ in shots)]
    if not shown:
        return ""
    counts = {group.name: sum(name == group.name for name, _ in shots) for group in shown}
    tabs = "".join(
        f'<button type="button" data-group="{group.name}">{escape(group.title)} ({counts[group.name]})</button>'
        for group in shown
    )
    layers = [("truth", TRUTH, "truth", "\u25cb")]
    layers += [("best", PREDICTED, f"best cell, {found.best.label}", "\u00d7")]
    if len(cells) > 1 and found.baseline is not None:
        layers += [("baseline", _BASELINE, f"baseline, {found.baseline.label}", "+")]
    boxes = "".join(
        f'<label><input type="checkbox" checked data-layer="{layer}"> <b style="color:{colour}">{mark}</b> '
        f"{escape(text)}</label>"
        for layer, colour, text, mark in layers
    )
    rules = "".join(
        f'<p class="rule" data-group="{group.name}">{escape(group.rule)}'
        f"{f' ({counts[group.name]} of {len(group.cases)})' if counts[group.name] < len(group.cases) else ''}.</p>"
        for group in shown
    )
    return (
        f'<style>{_STYLE}</style><div class="failures" id="failures-gallery" tabindex="0" role="group" '
        f'aria-label="Failure cases"><div class="controls" hidden><div class="bar">{tabs}</div></div>{rules}'
        f'<div class="bar"><span class="controls" hidden>'
        f'<button type="button" class="previous" aria-label="previous case">\u2190</button> '
        f'<span class="counter" aria-live="polite"></span>'
        f' <button type="button" class="next" aria-label="next case">\u2192</button></span>{boxes}</div>'
        f"{''.join(figure for _, figure in shots)}</div><script>{_SCRIPT}</script>"
    )


def _shots(found: Evidence, cells: Sequence[Looked], groups: Sequence[Group], images: Images) -> list[tuple[str, str]]:
    """(name of the group, figure) of as many cases as there is room for, taken in turn from the groups."""
    made: list[tuple[str, str]] = []
    left, counts = MOST_BYTES, dict.fromkeys((group.name for group in groups), 0)
    for group, case in _in_turn(groups):
        image = images.of(case) if counts[group.name] < MOST else None
        if image is None:
            continue
        corners = _whole(crop(cells, case, (image.width, image.height)))
        data, size = _cut(image, corners)
        if len(data) > left:
            break
        left -= len(data)
        counts[group.name] += 1
        made.append((group.name, _figure(found, cells, group, case, corners, data, size)))
    order = [group.name for group in groups]
    return sorted(made, key=lambda shot: order.index(shot[0]))


def _in_turn(groups: Sequence[Group]) -> Iterator[tuple[Group, Case]]:
    """The first case of each group, then the second of each, ..."""
    for place in range(max((len(group.cases) for group in groups), default=0)):
        for group in groups:
            if place < len(group.cases):
                yield group, group.cases[place]


def _whole(corners: Corners) -> tuple[int, int, int, int]:
    left, top, right, bottom = corners
    return int(left), int(top), int(np.ceil(right)), int(np.ceil(bottom))


def _cut(image: Image, corners: tuple[int, int, int, int]) -> tuple[bytes, tuple[int, int]]:
    """The crop as JPEG, made smaller where it is larger than `_SIDE_PX`, and its size."""
    part = image.crop(corners)
    part.thumbnail((_SIDE_PX, _SIDE_PX))
    stream = io.BytesIO()
    part.save(stream, "JPEG", quality=_QUALITY)
    return stream.getvalue(), part.size


def _figure(
    found: Evidence,
    cells: Sequence[Looked],
    group: Group,
    case: Case,
    corners: tuple[int, int, int, int],
    data: bytes,
    size: tuple[int, int],
) -> str:
    left, top, right, bottom = corners
    truth, labelled = found.truth.keypoints[case.instance], found.truth.labelled[case.instance]
    unit = max(right - left, bottom - top) / 100
    parts = [_layer(found, "truth", truth[:, :2], labelled, unit)]
    for looked in cells:
        layer = "best" if looked is found.best else "baseline"
        parts.append(_layer(found, layer, looked.points[case.instance], labelled, unit))
    about = f"Image {case.image_id} ({case.file}), annotation {case.annotation_id}: {_said(found, case)}"
    encoded = base64.b64encode(data).decode()
    return (
        f'<figure data-group="{group.name}"><div class="frame"><img width="{size[0]}" height="{size[1]}" alt="" '
        f'src="data:image/jpeg;base64,{encoded}"><svg viewBox="{left} {top} {right - left} {bottom - top}" role="img" '
        f'aria-label="{escape(about)}">{"".join(parts)}</svg></div><figcaption>{escape(about)}</figcaption></figure>'
    )


def _said(found: Evidence, case: Case) -> str:
    if not found.best.by_oks:
        return f"mean error {case.score:.3f} of the larger side of the box."
    if case.before is None:
        return f"OKS {case.score:.2f}."
    return f"OKS {case.before:.2f} of the baseline {words.ARROW} {case.score:.2f} of the best cell."


def _layer(found: Evidence, layer: str, points: np.ndarray, labelled: np.ndarray, unit: float) -> str:
    """Bones and marks of one set of keypoints, px of the image; a mark tells the keypoint's name."""
    known = labelled & np.isfinite(points).all(axis=1)
    bones = "".join(
        f"M{points[one, 0]:.1f} {points[one, 1]:.1f}L{points[other, 0]:.1f} {points[other, 1]:.1f}"
        for one, other in found.layout.skeleton
        if known[one] and known[other]
    )
    marks = [
        f'<path d="{_mark(layer, float(points[k, 0]), float(points[k, 1]), 1.3 * unit)}"><title>'
        f"{escape(found.layout.keypoint_names[k])}, {layer}</title></path>"
        for k in np.flatnonzero(known)
    ]
    outline = "".join(mark.partition("<title>")[0] + "</path>" for mark in marks)
    return (
        f'<g class="{layer}"><path class="under" d="{bones}" stroke-width="{0.9 * unit:.2f}"/>'
        f'<path d="{bones}" stroke-width="{0.5 * unit:.2f}"/>'
        f'<g class="under" stroke-width="{1.2 * unit:.2f}">{outline}</g>'
        f'<g stroke-width="{0.7 * unit:.2f}">{"".join(marks)}</g></g>'
    )


def _mark(layer: str, x: float, y: float, r: float) -> str:
    """A circle of the truth, an x of the best cell, a plus of the baseline."""
    if layer == "truth":
        return f"M{x - r:.1f} {y:.1f}a{r:.2f} {r:.2f} 0 1 0 {2 * r:.2f} 0a{r:.2f} {r:.2f} 0 1 0 {-2 * r:.2f} 0"
    if layer == "best":
        s = r * 0.8
        return f"M{x - s:.1f} {y - s:.1f}L{x + s:.1f} {y + s:.1f}M{x - s:.1f} {y + s:.1f}L{x + s:.1f} {y - s:.1f}"
    return f"M{x - r:.1f} {y:.1f}L{x + r:.1f} {y:.1f}M{x:.1f} {y - r:.1f}L{x:.1f} {y + r:.1f}"
