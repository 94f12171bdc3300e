r"""The LaTeX files of a paper: itself, what it takes in with \input, and the numbers it quotes from reports."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from posestudy.errors import NotFoundError

_INPUT: Final = re.compile(
    r"\\(?:input|include|subfile|subfileinclude)\s*\{([^}]*)\}|\\input\s+([^\s\\{}]+)|"
    r"\\(?:sub)?(?:import|includefrom|inputfrom)\s*\{([^}]*)\}\s*\{([^}]*)\}"
)
_QUOTED: Final = re.compile(r"\\pose(?:num|raw)\s*\{([^}]*)\}")
_COMMENT: Final = re.compile(r"(?<!\\)%.*")
DEFINITION: Final = re.compile(r"\\posedefine\{([^}]*)\}\{(.*)\}\{([^{}]*)\}")
"""A line of `numbers.tex`: address, text, raw form."""
_REDEFINED: Final = re.compile(
    r"pose@(?:text|raw)@|\\posedefine\b|(?:\\(?:re|provide)?(?:new)?command|\\DeclareRobustCommand|\\[xeg]?def|\\let)"
    r"\s*\*?\s*\{?\s*\\pose(?:num|raw)\b"
)


@dataclass(frozen=True)
class Line:
    """A line of a file without its comment; `number` counts from 1."""

    path: Path
    number: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.number}"


@dataclass(frozen=True)
class PaperFile:
    """A LaTeX file as it stands on disk."""

    path: Path
    text: str

    @property
    def lines(self) -> Iterator[Line]:
        """Its lines, comments taken off; those with nothing else are left out."""
        for i, line in enumerate(self.text.splitlines(), start=1):
            bare = _COMMENT.sub("", line).rstrip()
            if bare:
                yield Line(self.path, i, bare)

    def _found(self, pattern: re.Pattern[str]) -> Iterator[tuple[Line, re.Match[str]]]:
        """Matches in the text without comments, over line ends too as TeX reads them, with the line they begin in."""
        text, starts, numbers = "", [], []
        for i, line in enumerate(self.text.splitlines(), start=1):
            bare = _COMMENT.sub("", line)
            starts.append(len(text))
            numbers.append(i)
            text += bare if bare != line else f"{bare}\n"
        for match in pattern.finditer(text):
            yield Line(self.path, numbers[bisect_right(starts, match.start()) - 1], match[0]), match

    @property
    def inputs(self) -> Iterator[str]:
        """The names of the files it takes in."""
        for _, match in self._found(_INPUT):
            braced, bare, folder, name = match.groups()
            yield (braced or bare or f"{(folder or '').strip().rstrip('/')}/{(name or '').strip()}").strip()

    @property
    def quoted(self) -> Iterator[tuple[Line, str]]:
        """The addresses of the numbers it prints, with their lines; not those that only macros of macros name."""
        for line, match in self._found(_QUOTED):
            if "#" not in match[1]:
                yield line, " ".join(match[1].split())

    @property
    def redefined(self) -> Iterator[Line]:
        """Where it meddles with the macros that print numbers."""
        yield from (line for line, _ in self._found(_REDEFINED))

    @property
    def defined(self) -> dict[str, tuple[Line, str, str]]:
        """Address: line, text and raw form of every number it defines."""
        found = ((line, DEFINITION.fullmatch(line.text)) for line in self.lines)
        return {match[1]: (line, match[2], match[3]) for line, match in found if match}


def read_paper(path: Path) -> tuple[PaperFile, ...]:
    """The file and everything it takes in, each once, in order. A file that is not there is left to LaTeX to miss.

    Names are relative to the folder of `path`, as LaTeX reads them, else to that of the file that names them.

    Raises:
        NotFoundError: `path` itself cannot be read.
    """
    found: dict[Path, PaperFile] = {}
    _take(path, path.parent, found)
    if not found:
        raise NotFoundError(f"no file {path}, expected a LaTeX file that quotes numbers of a report")
    return tuple(found.values())


def _take(path: Path, root: Path, found: dict[Path, PaperFile]) -> None:
    if path.resolve() in found:
        return
    try:
        read = PaperFile(path, path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return
    found[path.resolve()] = read
    for name in read.inputs:
        for folder in (root, path.parent):
            given = folder / name
            inner = given if given.is_file() else given.with_name(f"{given.name}.tex")
            if inner.is_file():
                _take(inner, root, found)
                break
