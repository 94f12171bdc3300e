"""Where a line may break inside what has no spaces, so that no word is wider than its column."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

BREAK: Final = "\u200b"
"""Zero wide: a line may end here."""
TIED: Final = "\u00a0"
LONGEST: Final = 20
"""Letters without a place to break; longer ones may break anywhere."""

_LONG_WORD: Final = re.compile(r"\S{12,}")
_SIGNS: Final = re.compile(r"[_/\\|>)}\]=@:;&*,]")
_LEVEL: Final = re.compile(r"(?<=[^\W\d_]) (?=\d)")
_WORDS: Final = re.compile(rf"[ \n\t\r{BREAK}]+")
_NUMBER: Final = re.compile(r"[\u2212+-]?[\d.,:\u00d7\u2013]+[kM%]?")
_JOINS: Final = frozenset("\u200d\ufe0e\ufe0f")


def loose(text: str, run: int = LONGEST) -> str:
    """`text` with places to break after signs of long words and, where `run` letters have none, between any two; a
    factor and its level stay together, and so do the digits of a number. Line ends become spaces."""
    flat = re.sub(r"[ \t\r\n]+", " ", text)
    signed = _LONG_WORD.sub(lambda m: _SIGNS.sub(lambda s: s[0] + BREAK, m[0]), flat)
    tied = _LEVEL.sub(TIED, signed).replace(" %", f"{TIED}%")
    return re.sub(rf"[^\s{BREAK}]{{{run},}}", lambda m: _anywhere(m[0]), tied)


def _anywhere(word: str) -> str:
    return word if _NUMBER.fullmatch(word) else BREAK.join(_letters(word))


def tied(text: str) -> str:
    """`text` on one line."""
    return text.replace(" ", TIED)


def words_of(text: str) -> list[str]:
    """What cannot break any further."""
    return [word for word in _WORDS.split(text) if word] or [""]


def whole(text: str) -> str:
    """`text` as it is when nothing breaks."""
    return text.replace(BREAK, "")


def _letters(word: str) -> list[str]:
    """The letters of a word, each with the marks that belong to it."""
    found: list[str] = []
    for letter in word:
        follows = unicodedata.combining(letter) or letter in _JOINS or (found and found[-1][-1] == "\u200d")
        if found and follows:
            found[-1] += letter
        else:
            found.append(letter)
    return found
