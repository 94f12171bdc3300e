"""Tables of what the model does wrong: the types with the AP they would give back, and the scores of every keypoint."""

from __future__ import annotations

from posestudy_reports import error_numbers as numbers
from posestudy_reports import words
from posestudy_reports.addressed import Number, Text
from posestudy_reports.error_evidence import Evidence, Looked
from posestudy_reports.error_figures import TYPES
from posestudy_reports.error_shares import by_group
from posestudy_reports.error_types import Kind
from posestudy_reports.keypoint_scores import PCK_AT
from posestudy_reports.tables import Column, Entry, Row, Table


def type_table(found: Evidence) -> Table:
    """A row a type: how many keypoints, their share, and the AP that correcting them gives back, for each cell."""
    columns = [Column("type", "Type")]
    for looked, role in _roles(found):
        short = f"{role} " if len(found.cells) > 1 else ""
        columns += [
            Column(f"{role}_count".lower(), _headed(short, "count"), "right"),
            Column(f"{role}_share".lower(), _headed(short, "share [%]"), "right"),
            Column(f"{role}_gain".lower(), _headed(short, "AP given back"), "right"),
        ]
        del looked
    kinds = [kind.word for kind in Kind]
    names = ["good", *(kind for kind in TYPES if any(kind in looked.diagnosis.gains for looked in found.cells))]
    rows = []
    for name in names:
        entries = [Entry(TYPES.get(name, name))]
        for looked in found.cells:
            entries += _of_type(looked, name, kinds)
        rows.append(_row(found, entries))
    remarks = (
        found.rule,
        "AP given back: what AP would gain if all errors of the type were put right and nothing else.",
    )
    title = "Error types"
    caption = "Types of error of the predicted keypoints, and the AP that correcting each would give back."
    return Table("error_types", title, tuple(columns), tuple(rows), (), remarks, True, caption, priority=40)


def _headed(role: str, header: str) -> str:
    text = f"{role}{header}"
    return text[:1].upper() + text[1:]


def _roles(found: Evidence) -> list[tuple[Looked, str]]:
    return list(zip(found.cells, ("Baseline", "Best")[-len(found.cells) :], strict=True))


def _of_type(looked: Looked, name: str, kinds: list[str]) -> list[Entry]:
    everything = by_group(looked.diagnosis)[0]
    gain = Entry(Text(numbers.gain(looked, name))) if name in looked.diagnosis.gains else Entry(words.DASH)
    if name in kinds:
        kind = Kind[name.upper()]
        count = everything.kinds[kind]
        number = looked.number(f"count/{name}", f"{count:,}", count, f"keypoints of type {name}")
        return [Entry(Text(number)), Entry(Text(numbers.share(looked, everything, kind))), gain]
    if name == "all":
        errors = everything.count - everything.kinds[Kind.GOOD]
        number = looked.number("count/errors", f"{errors:,}", errors, "keypoints that are not good")
        return [Entry(Text(number)), Entry(words.DASH), gain]
    among = looked.paired.background if name == "background" else looked.paired.missed
    number = looked.number(f"count/{name}", f"{len(among):,}", len(among), f"instances of type {TYPES[name]}")
    return [Entry(Text(number)), Entry(words.DASH), gain]


def keypoint_table(found: Evidence) -> Table:
    """A row a keypoint: how often it is labelled, and AP and PCK at three distances for each cell."""
    columns = [Column("keypoint", "Keypoint"), Column("labelled", "Labelled", "right")]
    first = "AP" if found.best.by_oks else "error"
    for _, role in _roles(found):
        short = f"{role} " if len(found.cells) > 1 else ""
        columns.append(Column(f"{role}_{first}".lower(), _headed(short, first), "right"))
        columns += [
            Column(f"{role}_pck_{at:g}".lower(), _headed(short, f"PCK@{at:g}"), "right") for at in PCK_AT
        ]  # fmt: skip
    rows = []
    for k, name in enumerate(found.layout.keypoint_names):
        labelled = int(found.best.scores.labelled[k])
        if not labelled:
            continue
        entries = [Entry(name), Entry(f"{labelled:,}")]
        for looked in found.cells:
            of = numbers.keypoint_ap(looked, k) if looked.by_oks else numbers.keypoint_error(looked, k)
            entries.append(_entry(of))
            entries += [_entry(numbers.keypoint_pck(looked, k, at)) for at in PCK_AT]
        rows.append(_row(found, entries))
    remarks = [found.rule, "PCK@0.1: the share of labelled keypoints within a tenth of the larger side of the box."]
    if found.best.by_oks:
        remarks.append("AP: as if only this keypoint were labelled.")
    else:
        remarks.append("Error: the mean distance in larger sides of the box.")
    title = "Scores of the keypoints"
    caption = "How well each keypoint is found."
    return Table(
        "scores_by_keypoint", title, tuple(columns), tuple(rows), (), tuple(remarks), True, caption, priority=90
    )


def _entry(number: Number | None) -> Entry:
    return Entry(words.DASH if number is None else Text(number))


def _row(found: Evidence, entries: list[Entry]) -> Row:
    uids = tuple(looked.trial.uid for looked in found.cells)
    return Row(tuple(entries), uids, tuple(found.result.runs.get(uid, "") for uid in uids))
