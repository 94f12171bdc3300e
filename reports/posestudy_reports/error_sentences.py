"""Sentences about what the model does wrong; each says only what was computed, and is left out where it was not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from posestudy_reports import error_numbers as numbers
from posestudy_reports import words
from posestudy_reports.addressed import Number, Text, joined, said
from posestudy_reports.error_evidence import Evidence, Looked
from posestudy_reports.error_figures import TYPES
from posestudy_reports.error_shares import by_group
from posestudy_reports.error_types import Kind

_KINDS: Final = {
    Kind.GOOD: "good",
    Kind.JITTER: "jittered",
    Kind.INVERSION: "inverted",
    Kind.SWAP: "swapped",
    Kind.MISS: "missed",
}
_CORRECTED: Final = {
    "jitter": "every jitter",
    "inversion": "every inversion",
    "swap": "every swap",
    "miss": "every miss",
    "background": "every background prediction",
    "missed": "every instance without a prediction",
}
_MOST_NAMES: Final = 3


def sentences(found: Evidence) -> tuple[Text, ...]:
    """Of the best cell: types, what costs most, keypoints, sizes, visibility, and against the baseline."""
    if not found.best.by_oks:
        return _keypoint_errors(found.best)
    if not found.best.diagnosis.judged:
        return ()
    parts = [_types(found.best), *_background(found.best), *_costs(found.best)]
    parts += [*_keypoints(found.best), *_groups(found.best), *_against(found)]
    return tuple(parts)


def _types(looked: Looked) -> Text:
    everything = by_group(looked.diagnosis)[0]
    shown = [kind for kind in Kind if everything.kinds[kind]]
    shares = [
        said(
            f"{{share}} % {'are ' if kind is shown[0] else ''}{_KINDS[kind]}",
            share=numbers.share(looked, everything, kind),
        )
        for kind in shown
    ]
    return said(
        "Of the {judged} labelled keypoints that {named} predicted on the validation set, {shares}.",
        judged=numbers.judged(looked), named=looked.named, shares=_listed(shares),
    )  # fmt: skip


def _listed(parts: Sequence[str | Number]) -> Text:
    """`a`, `a and b`, `a, b and c`, numbers keeping their address."""
    return Text(joined(parts[:-1], ", "), " and ", parts[-1]) if len(parts) > 1 else joined(parts)


def _background(looked: Looked) -> list[Text]:
    missed, background = len(looked.paired.missed), len(looked.paired.background)
    if looked.true_boxes:
        text = "Predictions are made in the boxes of the annotations, so that none is of the background"
        without = f"; {words.count(missed, 'instance')} {_have(missed)} no prediction" if missed else ""
        return [] if background else [Text(f"{text}{without}.")]
    of = words.count(len(looked.found), "prediction")
    verb = "belongs" if background == 1 else "belong"
    missing = f"{words.count(missed, 'instance')} {_have(missed)} none"
    return [Text(f"Of {of}, {background} {verb} to no instance (OKS below 0.1), and {missing}.")]


def _costs(looked: Looked) -> list[Text]:
    gains = looked.diagnosis.gains
    order = sorted((kind for kind in TYPES if kind in gains and kind != "all"), key=lambda kind: -gains[kind])
    if not order or round(gains[order[0]], 3) <= 0:
        return []
    first = said(
        "Correcting {what} would raise AP most, by {gain} to {value}",
        what=_CORRECTED[order[0]], gain=_unsigned(numbers.gain(looked, order[0])),
        value=numbers.corrected(looked, order[0]),
    )  # fmt: skip
    if len(order) > 1 and round(gains[order[1]], 3) > 0:
        what, gain = _CORRECTED[order[1]], _unsigned(numbers.gain(looked, order[1]))
        first = Text(first, said("; {what} follows with {gain}", what=what, gain=gain))
    whole = said(" With all errors corrected AP would be {value}.", value=numbers.corrected(looked, "all"))
    return [Text(first, ".", whole)]


def _unsigned(number: Number) -> Number:
    """A gain, which its sentence already calls a rise."""
    return Number(f"{number.address}/size", number.text.lstrip("+"), number.value, number.formula, number.uids)


def _keypoints(looked: Looked) -> list[Text]:
    every = [numbers.keypoint_ap(looked, k) for k in range(len(looked.layout.keypoint_names))]
    best, worst = _extreme(looked, every, max), _extreme(looked, every, min)
    if worst is None or (best is not None and best[1].text == worst[1].text):
        return []
    low = said("{worst} {has} the lowest AP of a keypoint, {low}", worst=worst[0], has=_have(worst[2]), low=worst[1])
    if best is None:
        return [Text(low, ".")]
    return [Text(low, said(", and {best} the highest, {high}.", best=best[0], high=best[1]))]


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def _extreme(
    looked: Looked, every: Sequence[Number | None], pick: Callable[..., Number]
) -> tuple[str, Number, int] | None:
    """Names of the keypoints with the extreme value, the number, how many they are; None where they are too many."""
    known = [number for number in every if number is not None]
    if not known:
        return None
    number = pick(known, key=lambda number: number.value)
    names = [
        words.quoted(name)
        for name, mine in zip(looked.layout.keypoint_names, every, strict=True)
        if mine is not None and mine.text == number.text
    ]
    return (words.listing(names), number, len(names)) if len(names) <= _MOST_NAMES else None


def _groups(looked: Looked) -> list[Text]:
    rows = by_group(looked.diagnosis)
    found = []
    for group, noun in (("size", "the keypoints of the {} instances"), ("visibility", "the {} keypoints")):
        mine = [row for row in rows if row.group == group]
        # "the smallest third" is a class by itself.
        nouns = [noun.format(row.label) if "third" not in row.label else f"those of the {row.label}" for row in mine]
        if "third" in (mine[0].label if mine else ""):
            nouns[0] = f"the keypoints of the {mine[0].label} of the instances"
        parts = [
            said(f"of {{what}} {{share}} %{' are good' if i == 0 else ''}", what=what,
                 share=numbers.share(looked, row, Kind.GOOD))
            for i, (what, row) in enumerate(zip(nouns, mine, strict=True))
        ]  # fmt: skip
        if parts:
            counts = words.listing([f"{row.count:,}" for row in mine])
            text = _listed([_capital(parts[0]), *parts[1:]])
            found.append(Text(text, f" ({counts} keypoints)."))
    return found


def _capital(text: Text) -> Text:
    first, *rest = text.pieces
    return Text(str(first)[:1].upper() + str(first)[1:], *rest)


def _against(found: Evidence) -> list[Text]:
    best, baseline = found.best, found.baseline
    if baseline is None or not baseline.diagnosis.judged:
        return []
    after, before = by_group(best.diagnosis)[0], by_group(baseline.diagnosis)[0]
    kinds = [kind for kind in Kind if after.kinds[kind] or before.kinds[kind]]
    parts = [
        said(f"{_KINDS[kind]} {{change}}", change=numbers.change(best, baseline, after, before, kind)) for kind in kinds
    ]
    text = "Against the baseline of the first stage, {named}, the shares differ by these percentage points: {parts}."
    return [said(text, named=baseline.named, parts=_listed(parts))]


def _keypoint_errors(looked: Looked) -> tuple[Text, ...]:
    every = [numbers.keypoint_error(looked, k) for k in range(len(looked.layout.keypoint_names))]
    best, worst = _extreme(looked, every, min), _extreme(looked, every, max)
    if worst is None or (best is not None and best[1].text == worst[1].text):
        return ()
    high = said(
        "In the predictions of {named}, {worst} {has} the largest mean error of a keypoint, {high} of the larger side "
        "of the box",
        named=looked.named, worst=worst[0], has=_have(worst[2]), high=worst[1],
    )  # fmt: skip
    if best is None:
        return (Text(high, "."),)
    return (Text(high, said(", and {best} the smallest, {low}.", best=best[0], low=best[1])),)
