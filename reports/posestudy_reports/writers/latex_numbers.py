r"""`numbers.tex`: a macro for every number of a report, so that a paper quotes it and never copies it.

`\posenum{STUDY/ADDRESS}` prints a number as the report does; `\poseraw{STUDY/ADDRESS}` expands to plain ASCII digits,
for a column of siunitx or for arithmetic.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from posestudy.home import safe_part
from posestudy_reports.addressed import Number
from posestudy_reports.words import MINUS
from posestudy_reports.writers.latex_text import escape

_DECIMAL: Final = re.compile(r"[+-]?\d+(\.\d+)?")
_HEAD: Final = r"""\makeatletter
% Prints a number; one that is not defined stops the run, rather than leave a hole in the text.
\providecommand*\posenum[1]{\@ifundefined{pose@text@#1}{\PackageError{posestudy}{There is no number `#1'}{numbers.tex
  lists all of them.}}{\csname pose@text@#1\endcsname}}
\providecommand*\poseraw[1]{\csname pose@raw@#1\endcsname}
\providecommand*\posedefine[3]{%
  \expandafter\def\csname pose@text@#1\endcsname{#2}%
  \expandafter\def\csname pose@raw@#1\endcsname{#3}}
\makeatother
"""


def numbers_tex(study: str, numbers: Mapping[str, Number]) -> str:
    """The whole file; addresses in order of first use."""
    rows = [_definition(f"{safe_part(study)}/{address}", number) for address, number in numbers.items()]
    return "\n".join([f"% Written by posestudy report {study}; change the study, not this file.", _HEAD, *rows, ""])


def _definition(address: str, number: Number) -> str:
    return f"\\posedefine{{{address}}}{{{escape(number.text)}}}{{{raw(number)}}}"


def raw(number: Number) -> str:
    """The number in ASCII with as many decimals as it is printed with; a text with units as its unrounded value."""
    plain = number.text.replace(MINUS, "-")
    if _DECIMAL.fullmatch(plain):
        return plain
    return f"{number.value:.6f}".rstrip("0").rstrip(".")
