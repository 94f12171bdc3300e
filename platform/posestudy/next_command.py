"""Commands that messages name, as the user can type them now."""

from __future__ import annotations

import shlex

_home: str | None = None


def given_home(home: str | None) -> None:
    """Remember what `--home` of this call says, until it ends; an environment variable needs no mention."""
    global _home
    _home = home


def next_command(*words: str) -> str:
    """`posestudy WORDS`, with the `--home` of this call before them and quotes where a shell needs them."""
    return shlex.join(["posestudy", *([] if _home is None else ["--home", _home]), *words])
