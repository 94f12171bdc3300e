"""Text of strangers as a terminal may show it: nothing in it moves the cursor, colours or turns letters round."""

from __future__ import annotations

import re
from typing import Final

_CONTROLS: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # all but tabulator and line feed
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029\ud800-\udfff]"
)


def printable(text: str) -> str:
    r"""`text` with every control character as its code, such as `\x1b`; tabulators and line feeds stay."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
