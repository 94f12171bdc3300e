"""The user's own words for the paper: Markdown files in a folder of theirs, which posestudy reads and never writes.

Understood are paragraphs, `## headings` (set run in), lists, **bold**, *italic* and `code`; a backslash before a sign
takes its meaning away. Everything else, HTML, LaTeX and Typst too, is text. `{{STAGE/CELL/final}}` quotes a number of
the report by its address.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from posestudy import given_paths
from posestudy.errors import InputError, Problem, nearest
from posestudy_reports.addressed import Number, Text
from posestudy_reports.document import Paragraph, Span, Style

NAMES: Final = ("introduction", "data_set", "methods", "experiments", "qualitative", "complexity", "conclusion")
"""The parts of the paper that take text; each file is called after one, with `.md` behind."""
LARGEST: Final = 200_000
"""Bytes a file may have; a paper is far shorter."""

_HEADING: Final = re.compile(r"#{1,6}\s+(.*?)\s*#*$")
_ITEM: Final = re.compile(r"\s*(?:[-*+]|\d{1,3}[.)])\s+(.*)$")
_INLINE: Final = re.compile(
    r"\\(?P<escaped>[\\`*_{}\[\]()#+\-.!<>|~$&%^])"
    r"|`(?P<code>[^`\n]+)`"
    r"|\{\{(?P<address>[^{}]*)\}\}"
    r"|(?P<mark>\*\*|\*)"
)


@dataclass(frozen=True)
class OwnText:
    """What was found: the paragraphs of each part by its name, and what was not understood of the folder."""

    parts: Mapping[str, tuple[Paragraph, ...]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def of(self, part: str) -> tuple[Paragraph, ...]:
        """The paragraphs for a part; none where the user wrote none."""
        return self.parts.get(part, ())


def read(folder: Path, numbers: Mapping[str, Number]) -> OwnText:
    """The texts in `folder`; `numbers` are those that may be quoted, by address.

    Raises:
        InputError: the folder is missing, a file is no UTF-8 text or too large, or quotes a number that is not there;
            every mistake with its file and line.
    """
    if not given_paths.is_folder(folder):
        expected = f"a folder with Markdown files such as {NAMES[0]}.md"
        raise InputError([Problem(str(folder), 0, 0, "report.text", "no such folder", expected)])
    problems: list[Problem] = []
    parts = {}
    for name in NAMES:
        path = folder / f"{name}.md"
        if path.is_file():
            parts[name] = _paragraphs(path, numbers, problems)
    if problems:
        raise InputError(problems)
    return OwnText(parts, _unknown(folder, bool(parts)))


def _unknown(folder: Path, some: bool) -> tuple[str, ...]:
    strange = sorted(p.name for p in folder.glob("*.md") if p.stem not in NAMES)
    found = []
    for name in strange:
        hint = nearest(name, [f"{known}.md" for known in NAMES])
        if hint:
            found.append(f"{folder / name} is no part of the paper and is not read ({hint}).")
    if not some and not found:
        found.append(f"{folder} holds none of {', '.join(f'{name}.md' for name in NAMES)}.")
    return tuple(found)


def _paragraphs(path: Path, numbers: Mapping[str, Number], problems: list[Problem]) -> tuple[Paragraph, ...]:
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        problems.append(Problem(str(path), line, 1, "", "bytes that are no UTF-8", "UTF-8 text"))
        return ()
    except OSError as error:
        problems.append(Problem(str(path), 0, 0, "", f"a file that cannot be read ({error.strerror})", "a text file"))
        return ()
    if len(data) > LARGEST:
        problems.append(Problem(str(path), 0, 0, "", f"{len(data)} bytes", f"at most {LARGEST} bytes of text"))
        return ()
    return tuple(_Reader(path, numbers, problems).read(text))


class _Reader:
    """Turns the lines of one file into paragraphs."""

    def __init__(self, path: Path, numbers: Mapping[str, Number], problems: list[Problem]) -> None:
        self._path, self._numbers, self._problems = path, numbers, problems
        self._found: list[Paragraph] = []
        self._heading = ""
        self._lines: list[tuple[int, str]] = []
        self._item = False

    def read(self, text: str) -> list[Paragraph]:
        for number, line in enumerate(text.splitlines(), 1):
            heading, item = _HEADING.match(line), _ITEM.match(line)
            if not line.strip():
                self._end()
            elif heading:
                self._end()
                self._heading = heading[1]
            elif item:
                self._end()
                self._item = True
                self._lines.append((number, item[1]))
            else:
                self._lines.append((number, line.strip()))
        self._end()
        if self._heading:
            self._found.append(Paragraph("", self._heading, own=True))
        return self._found

    def _end(self) -> None:
        """The lines so far are a paragraph."""
        if not self._lines:
            return
        spans = self._spans(self._lines)
        if self._item and self._heading:
            self._found.append(Paragraph("", self._heading, own=True))
            self._heading = ""
        self._found.append(Paragraph.of(spans, self._heading, item=self._item, own=True))
        self._heading, self._lines, self._item = "", [], False

    def _spans(self, lines: list[tuple[int, str]]) -> list[Span]:
        text = "\n".join(line for _, line in lines)
        runs: list[tuple[Style, str | Number]] = []
        style: Style = ""
        place = 0

        def plain(end: int) -> None:
            if end > place:
                runs.append((style, text[place:end].replace("\n", " ")))

        for match in _INLINE.finditer(text):
            plain(match.start())
            place = match.end()
            line, column = _place(lines, text, match.start())
            if match["escaped"] is not None:
                runs.append((style, match["escaped"]))
            elif match["code"] is not None:
                runs.append(("code", match["code"]))
            elif match["address"] is not None:
                runs.append((style, self._number(match["address"].strip(), line, column)))
            else:
                style = self._toggled(match["mark"], style, text, match, runs)
        plain(len(text))
        return _together(runs)

    def _toggled(
        self, mark: str, style: Style, text: str, match: re.Match[str], runs: list[tuple[Style, str | Number]]
    ) -> Style:
        """The style behind an asterisk or two; they are letters where nothing closes them."""
        wanted: Style = "bold" if mark == "**" else "italic"
        if style == wanted:
            return ""
        opens = match.end() < len(text) and not text[match.end()].isspace()
        if style == "" and opens and re.search(rf"\S{re.escape(mark)}(?!\*)", text[match.end() :]):
            return wanted
        runs.append((style, mark))
        return style

    def _number(self, address: str, line: int, column: int) -> str | Number:
        found = self._numbers.get(address)
        if found is not None:
            return found
        hint = nearest(address, self._numbers)
        example = next(iter(self._numbers), "")
        expected = "the address of a number of this report"
        expected += f", such as {example}" if example and not hint else ""
        self._problems.append(Problem(str(self._path), line, column, "", f"'{address}'", expected, hint))
        return ""


def _place(lines: list[tuple[int, str]], text: str, at: int) -> tuple[int, int]:
    """Line and column, from 1, of a place in the lines put together."""
    before = text[:at]
    line = before.count("\n")
    return lines[line][0], at - (before.rfind("\n") + 1) + 1


def _together(runs: list[tuple[Style, str | Number]]) -> list[Span]:
    """Neighbours of one style as one span."""
    groups: list[tuple[Style, list[str | Number]]] = []
    for style, piece in runs:
        if groups and groups[-1][0] == style:
            groups[-1][1].append(piece)
        else:
            groups.append((style, [piece]))
    return [Span(Text(*pieces), style) for style, pieces in groups]
