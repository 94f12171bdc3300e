r"""Text as LaTeX sets it: every letter escaped, every measured number a macro.

`inline` gives `\posenum{STUDY/ADDRESS}` for a `Number`; what the macro prints stands in `numbers.tex` and nowhere else.
The study is part of the address so that two can share a paper.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from posestudy.home import safe_part
from posestudy_reports.addressed import Number, pieces_of

_ESCAPES: Final = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedblright{}",  # there is no straight one in OT1
    "`": r"\textasciigrave{}",
    "[": "{[}",  # after \\ a bracket would be read as its argument
    "]": "{]}",
    "\u2212": "$-$",
    "\u2013": "--",
    "\u2014": "---",
    "\u2018": r"\textquoteleft{}",
    "\u2019": r"\textquoteright{}",
    "\u201c": r"\textquotedblleft{}",
    "\u201d": r"\textquotedblright{}",
    "\u00d7": r"$\times$",
    "\u2192": r"$\to$",
    "\u00b1": r"$\pm$",
    "\u2264": r"$\le$",
    "\u2265": r"$\ge$",
    "\u2248": r"$\approx$",
    "\u00b0": r"$^{\circ}$",
    "\u00b7": r"$\cdot$",
    "\u00b2": r"$^{2}$",
    "\u03c3": r"$\sigma$",
    "\u03b1": r"$\alpha$",
    "\u03bc": r"$\mu$",
    "\u00b5": r"$\mu$",
    "\u2020": r"\dag{}",
    "\u2021": r"\ddag{}",
    "\u2022": r"\textbullet{}",
    "\u2032": "$'$",
    "\u2260": r"$\neq$",
    "\u221e": r"$\infty$",
    "\u2190": r"$\leftarrow$",
    "\u2191": r"$\uparrow$",
    "\u2193": r"$\downarrow$",
    "\u2026": r"\dots{}",
    "\u2713": r"$\checkmark$",
    "\u2717": r"$\times$",
    "\u00a0": "~",
    "\u202f": r"\,",
    "\u2009": r"\,",
    "\u200b": "",
    "\u200d": "{}",
}
_AFTER: Final = re.compile(r"(?<=[_/\\.:;=@&|)>}\],+-])")
"""After these a long identifier may go on in the next line."""
_LONG: Final = 14
_SPACE: Final = " \t\n\r\f\v"
_SPACES: Final = re.compile(f"[{_SPACE}]+")
"""Those that may stretch and break, unlike a no-break space."""
_DOUBLED: Final = re.compile(r"([-',])(?=\1)")
"""Two of these would become one sign."""

DEFINITIONS: Final = (
    r"\ifdefined\poseletter\else\DeclareRobustCommand\poseletter[2]{\ifdefined\directlua#2\else\ifdefined\XeTeXversion#2"
    r"\else{[}U+#1{]}\fi\fi}\fi"
)
"""What a file needs in which `\\poseletter` occurs: other scripts as they are, their codes with pdfLaTeX."""


def escape(text: str) -> str:
    """`text` letter by letter, on one line; a letter that pdfLaTeX cannot set becomes `\\poseletter{CODE}{LETTER}`."""
    flat = _DOUBLED.sub("\\1\u200d", " ".join(_SPACES.split(text.strip(_SPACE))))
    return "".join(map(_letter, flat))


def _letter(letter: str) -> str:
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    if letter.isspace():
        return " "
    if " " <= letter <= "~" or "\u00a1" <= letter <= "\u017f":
        return letter
    if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Co", "Cn"):
        return ""
    return f"\\poseletter{{{ord(letter):04X}}}{{{letter}}}"


def inline(text: str, study: str) -> str:
    """A text of the report of `study`: what it says escaped, its numbers as macros."""
    return "".join(number(p, study) if isinstance(p, Number) else _spaced(p) for p in pieces_of(text))


def number(piece: Number, study: str) -> str:
    """The macro that prints the number."""
    return f"\\posenum{{{safe_part(study)}/{piece.address}}}"


def raw(piece: Number, study: str) -> str:
    """The macro that gives the number as siunitx reads it: plain digits, a point, an ASCII sign."""
    return f"\\poseraw{{{safe_part(study)}/{piece.address}}}"


def _spaced(piece: str) -> str:
    """A piece of a sentence: the spaces at its ends part it from the number beside it."""
    inner = escape(piece)
    before, after = (" " if piece[end:][:1] in tuple(_SPACE) else "" for end in (0, -1))
    return f"{before}{inner}{after}" if inner else before


def loose(text: str, study: str) -> str:
    """As `inline`, but long identifiers may break after a sign, and what has no sign anywhere."""
    return "".join(number(p, study) if isinstance(p, Number) else _broken(p) for p in pieces_of(text))


def _broken(piece: str) -> str:
    found = re.split(f"([{_SPACE}]+)", piece)
    return "".join(" " if not part.strip(_SPACE) else _word(part) for part in found if part)


def _word(word: str) -> str:
    return r"\allowbreak{}".join(map(escape, parts(word)))


def parts(word: str) -> list[str]:
    """What of a word without spaces stays together in `loose`; one part where it is short."""
    if len(word) < _LONG:
        return [word]
    found = [part for part in _AFTER.split(word) if part]
    return [letter for part in found for letter in (part if len(part) > _LONG else [part])]


def first_line(study: str) -> str:
    """The comment that every file begins with."""
    return f"% Written by posestudy report {comment(study)}; change the study, not this file."


def comment(text: str) -> str:
    """`text` as part of a comment, on its line."""
    return " ".join(text.split())
