"""Says what a file is that should hold weights and does not."""

from __future__ import annotations

import re
from typing import Any

from posestudy.errors import PoseStudyError
from posestudy.strangers import kind as kind_of
from posestudy.strangers import remedy

_FOREIGN = re.compile(r"GLOBAL (\S+)")
"""What torch's safe reader says of a name that it does not call."""
_SAFELY = "weights_only"
EXPECTED = "expected tensors by name, as torch.save writes them"


def stranger(file: Any) -> str:
    """What `file` is, as `a web page`, where its first bytes show that it holds no weights; else an empty text."""
    kind = kind_of(file)
    # torch writes zip archives.
    return "" if kind == "a zip archive" else kind


def no_weights(file: Any, error: Exception) -> PoseStudyError:
    """The error for a file that torch does not read as weights."""
    lines = str(error).strip().splitlines()
    kind, foreign = stranger(file), _FOREIGN.search(str(error))
    if foreign:
        kind = f"more than tensors: it asks for {foreign[1]}, which could run code and was not called"
    elif not kind and _SAFELY in str(error):
        # torch's own sentence says how to run what is in the file.
        kind = "damaged, or more than tensors; nothing in it was run"
    hint = remedy(kind)
    kind += f": {hint}" if hint else ""
    why = f"it is {kind}" if kind else lines[0] if lines else type(error).__name__
    return PoseStudyError(f"{file} is not a file of weights ({why}); {EXPECTED}")
