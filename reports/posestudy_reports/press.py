"""Sets documents with Typst: measures texts, lays pages out, writes PDF. Every figure is drawn once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from posestudy_reports import words
from posestudy_reports.document import Document, Paragraph, Part, Shown, Span, shown_in
from posestudy_reports.fitting import Arrangement, Level, Measured
from posestudy_reports.grouped_table import headings
from posestudy_reports.line_breaks import loose
from posestudy_reports.printed_table import condensed
from posestudy_reports.sections import Chart, Picture
from posestudy_reports.table_setting import GAP, RUNS, Setting, entry_text, setting, strings
from posestudy_reports.tables import Entry, Table

_COLUMN: Final = 84.0
_PAGE: Final = 174.0
"""Widths of a column and of both with the gap between them, mm."""
_BOTTOM: Final = 273.0
"""Where the text of a page ends, mm from its top."""
_POINTS: Final = 72 / 25.4
"""Points of a millimetre."""
_PIXELS_PER_MM: Final = 10.8
"""How densely a picture is printed at most: 274 pixels an inch."""
_TEMPLATES: Final = ("report.typ", "widths.typ")
_CHECKS: Final = frozenset({"\u2713", "\u2717"})
_NO_XML: Final = bytes(set(range(32)) - set(b"\t\n\r"))
"""Control characters, which a label may hold and an SVG may not."""
_TOUCHING: Final = 0.5
"""Millimetres that neighbours may share by rounding."""


class Press:
    """Sets documents made of the same tables and figures in one folder."""

    def __init__(self, folder: Path, document: Document) -> None:
        import typst

        self._fonts = typst.Fonts()
        self._folder = folder
        for name in _TEMPLATES:
            (folder / name).write_bytes(files("posestudy_reports").joinpath(name).read_bytes())
        every = (*document.shown, *shown_in(document.supplement))
        self._files = {shown.name: self._saved(i, shown.content) for i, shown in enumerate(every)}
        self._tables = {s.name: condensed(s.content) for s in every if isinstance(s.content, Table)}
        self._widths: dict[tuple[str, bool], float] = {("", False): 0.0, ("", True): 0.0}
        self._ready: set[tuple[str, int]] = set()
        self._settings: dict[tuple[str, float, bool], Setting] = {}
        self._heights: dict[tuple[str, Level], float] = {}

    def _saved(self, place: int, content: Table | Chart | Picture) -> str:
        """The file a figure is shown from, as the template names it; empty for tables."""
        if isinstance(content, Table):
            return ""
        name = f"figure{place}.{'svg' if isinstance(content, Chart) else 'jpg'}"
        data = content.vector("svg").translate(None, _NO_XML) if isinstance(content, Chart) else content.data
        (self._folder / name).write_bytes(data)
        return f"/{name}"

    def measure(self, document: Document, level: Level, arrangement: Arrangement) -> Measured:
        """How many pages the paper takes, what no page can hold, and what stands over something else.

        Tables and figures are set once at a level; from then on empty boxes of their heights stand for them.
        """
        known = all((shown.name, level) in self._heights for shown in document.shown)
        found = self._asked("report.typ", "metadata", paper=self._data(document, level, arrangement, blank=known))
        sizes = [f["value"] for f in found if f["label"] == "<shown>"]
        self._heights |= {(size["name"], level): size["height"] for size in sizes}
        tall = tuple(f["value"]["name"] for f in found if f["label"] == "<shown>" and f["value"]["tall"])
        spilled = _spilled([f["value"] for f in found if f["label"] == "<placed>"])
        return Measured(next(f["value"] for f in found if f["label"] == "<pages>"), tall, spilled)

    def too_wide(self, document: Document, level: Level) -> tuple[str, ...]:
        """Names of the tables that even in small print and with broken words are wider than a page."""
        names = [(s.name, False) for s in document.shown] + [(s.name, True) for s in shown_in(document.supplement)]
        return tuple(n for n, alone in names if n in self._tables and self._setting(n, level, alone=alone).factor < 1)

    def pdf(self, document: Document, level: Level, arrangement: Arrangement, created: int) -> bytes:
        """The bytes of the paper, or of the supplement where the document has no parts of its own."""
        import typst

        made = typst.compile(
            self._folder / "report.typ",
            root=self._folder,
            font_paths=self._fonts,
            format="pdf",
            sys_inputs={"paper": self._data(document, level, arrangement)},
            timestamp=created,
        )
        assert isinstance(made, bytes)
        return made

    def _asked(self, template: str, selector: str, **given: str) -> list[dict[str, Any]]:
        import typst

        answer = typst.query(
            self._folder / template,
            selector,
            root=self._folder,
            font_paths=self._fonts,
            sys_inputs=given,
            format="json",
        )
        found: list[dict[str, Any]] = json.loads(answer)
        return found

    # Widths of texts are asked for all tables at once: one question takes longer than a thousand widths.

    def _width(self, text: str, bold: bool) -> float:
        return self._widths[text, bold]

    def _prepare(self, names: Iterable[str], run: int) -> None:
        """Measure the texts of these tables with words that may break after `run` letters."""
        missing = [name for name in names if (name, run) not in self._ready]
        self._ready |= {(name, run) for name in missing}
        texts = dict.fromkeys(text for name in missing for text in strings(self._tables[name], run))
        unknown = [text for text in texts if text not in self._widths]
        if unknown:
            (found,) = self._asked("widths.typ", "<widths>", texts=json.dumps(unknown, ensure_ascii=False))
            self._widths |= dict(zip(unknown, found["value"], strict=True))

    def _setting(self, name: str, level: Level, *, alone: bool) -> Setting:
        key = (name, level.table, alone)
        if key not in self._settings:
            table = self._tables[name]
            self._prepare(self._tables, RUNS[0])
            room = (level.table, 0.0 if alone else _COLUMN * _POINTS, _PAGE * _POINTS)
            try:
                self._settings[key] = setting(table, self._width, *room)
            except KeyError:  # its words have to be broken further
                for run in RUNS[1:]:
                    self._prepare([name], run)
                self._settings[key] = setting(table, self._width, *room)
        return self._settings[key]

    def _data(self, document: Document, level: Level, arrangement: Arrangement, *, blank: bool = False) -> str:
        """What the template sets, as JSON; `blank`: with boxes for tables and figures."""
        alone = not document.parts and bool(document.supplement)
        labels = labelled(document)
        parts = document.supplement if alone else document.parts
        parts_set = [self._part(part, place, labels, level, alone, blank) for place, part in enumerate(parts, 1)]
        data = {
            "title": document.title,
            "heading": loose(document.title),
            "name": document.name,
            "running": document.name if alone or document.title == document.name else f"Study {document.name}",
            "authors": list(document.authors),
            "byline": loose(", ".join(document.authors)),
            "date": document.date,
            "notices": loose(" ".join(document.notices)),
            "abstract": [_text(p, labels) for p in document.abstract],
            "parts": parts_set,
            "moved": "" if alone else loose(_moved(document, labels)),
            "references": [loose(reference.text) for reference in document.references],
            "supplement": alone,
            "size": asdict(level),
            "on-top": arrangement.on_top,
            "settled": arrangement.settled,
        }
        return json.dumps(data, ensure_ascii=False, sort_keys=True)

    def _part(
        self, part: Part, place: int, labels: Mapping[str, str], level: Level, alone: bool, blank: bool
    ) -> dict[str, Any]:
        def shown(one: Shown) -> dict[str, Any]:
            if blank:
                return self._box(one, level)
            return self._shown(one, labels[one.name], level, alone=alone)

        content = [shown(c) if isinstance(c, Shown) else _text(c, labels) for c in part.content]
        title = loose(part.title)
        return {"title": title if alone else f"{place}\u2002{title}", "content": content}

    def _box(self, shown: Shown, level: Level) -> dict[str, Any]:
        content = shown.content
        wide = self._setting(shown.name, level, alone=False).wide if isinstance(content, Table) else _wide(content)
        height = self._heights[shown.name, level]
        return {"kind": "blank", "name": shown.name, "wide": wide, "height": height}

    def _shown(self, shown: Shown, label: str, level: Level, *, alone: bool) -> dict[str, Any]:
        content = shown.content
        common = {"name": shown.name, "label": label, "caption": loose(shown.caption)}
        if isinstance(content, Table):
            return common | self._table(shown.name, headings(content), self._setting(shown.name, level, alone=alone))
        return common | {
            "kind": "figure",
            "file": self._files[shown.name],
            "alt": content.title,
            "width": min(_width_of(content), _PAGE if _wide(content) else _COLUMN) * level.figure,
            "wide": _wide(content),
        }

    def _table(self, name: str, groups: Mapping[int, str], how: Setting) -> dict[str, Any]:
        table = self._tables[name]
        return {
            "kind": "table",
            "columns": [
                {"header": loose(c.header, how.run), "align": "center" if _checks(table, i) else c.align}
                for i, c in enumerate(table.columns)
            ],
            "rows": [
                {"group": loose(groups.get(i, "")), "entries": [_entry(entry, how.run) for entry in row.entries]}
                for i, row in enumerate(table.rows)
            ],
            "notes": [loose(note) for note in table.notes],
            "remarks": [loose(remark) for remark in table.remarks],
            "gap": GAP,
        } | asdict(how)


def _width_of(content: Chart | Picture) -> float:
    """How wide a figure is drawn, or a picture printed, mm."""
    if isinstance(content, Chart):
        return _PAGE if content.wide else _COLUMN
    return content.size[0] / _PIXELS_PER_MM


def _wide(content: Chart | Picture) -> bool:
    return _width_of(content) > _COLUMN


def _entry(entry: Entry, run: int) -> dict[str, Any]:
    marks = ",".join(map(str, entry.marks))
    detail = loose(entry.detail, run)
    return {"text": entry_text(entry, run), "detail": detail, "emphasis": entry.emphasis, "marks": marks}


def _checks(table: Table, place: int) -> bool:
    """Whether a column holds nothing but check marks and crosses."""
    texts = {row.entries[place].text for row in table.rows}
    return bool(texts & _CHECKS) and texts <= _CHECKS | {words.DASH}


def _spilled(placed: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Names of what reaches below the text of its page or over something else."""
    found = []
    for i, one in enumerate(placed):
        below = one["top"] + one["height"] > _BOTTOM + _TOUCHING
        over = any(_overlap(one, other) for other in placed[:i])
        if below or over:
            found.append(str(one["name"]))
    return tuple(found)


def _overlap(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if one["page"] != other["page"]:
        return False
    apart = (
        one[side] + one[length] <= other[side] + _TOUCHING or other[side] + other[length] <= one[side] + _TOUCHING
        for side, length in (("left", "width"), ("top", "height"))
    )
    return not any(apart)


def labelled(document: Document) -> dict[str, str]:
    """`Table 1`, `Figure S2` by name: counted in the order of reading, in the supplement with an S."""
    found = {}
    for letter, shown in (("", document.shown), ("S", tuple(shown_in(document.supplement)))):
        counts = {"Table": 0, "Figure": 0}
        for one in shown:
            kind = "Table" if one.is_table else "Figure"
            counts[kind] += 1
            found[one.name] = f"{kind} {letter}{counts[kind]}"
    return found


def _text(paragraph: Paragraph, labels: Mapping[str, str]) -> dict[str, Any]:
    """A paragraph for the template, with what it shows behind it."""
    spans = [span for span in paragraph.pieces if span.text]
    named = referred([labels[name] for name in paragraph.shows if name in labels])
    if named:
        spans.append(Span(f" ({', '.join(named)})" if spans else f"See {words.listing(named)}."))
    return {
        "kind": "text",
        "heading": loose(paragraph.heading),
        "item": paragraph.item,
        "spans": [{"text": loose(span.text), "style": span.style} for span in spans],
    }


def _moved(document: Document, labels: Mapping[str, str]) -> str:
    """What stands in the supplement, in a sentence; empty where nothing does."""
    shown = tuple(shown_in(document.supplement))
    texts = any(isinstance(c, Paragraph) and c.priority for part in document.supplement for c in part.content)
    parts = referred([labels[s.name] for s in shown]) + (["some details of the text"] if texts else [])
    if not parts:
        return ""
    verb = "stand" if len(shown) + texts > 1 else "stands"
    text = f"{words.listing(parts)} {verb} in the supplement (supplement.pdf)"
    return f"{text[:1].upper()}{text[1:]}."


def referred(labels: Sequence[str]) -> list[str]:
    """`Table 1`, `Figures 2 and S1`, `Tables S1 to S4`: tables first, those that follow one another as a range."""
    found = []
    for kind in ("Table", "Figure"):
        places = [label.partition(" ")[2] for label in labels if label.startswith(kind)]
        if places:
            found.append(f"{kind}{'s' if len(places) > 1 else ''}\u00a0{words.listing(_runs(places))}")
    return found


def _runs(places: Sequence[str]) -> list[str]:
    """`1`, `2` and `3` as `1 to 3`."""
    groups: list[list[str]] = []
    for place in sorted(places, key=lambda p: (p.startswith("S"), int(p.removeprefix("S")))):
        letter, number = place[:1] == "S", int(place.removeprefix("S"))
        before = groups[-1][-1] if groups else None
        if before and (before[:1] == "S") == letter and int(before.removeprefix("S")) + 1 == number:
            groups[-1].append(place)
        else:
            groups.append([place])
    return [part for group in groups for part in (group if len(group) < 3 else [f"{group[0]} to {group[-1]}"])]
