"""Which addresses weights may be fetched from: over TLS, without a password, from nowhere on this machine's disk."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from posestudy.masking import masked, secret_part

LISTS: Final = ("torchvision", "modelzoo", "mmcls", "open-mmlab", "openmmlab")
"""Lists of published weights by the word before `://`."""
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
EXPECTED: Final = "a file, https://, torchvision://, mmcls://, open-mmlab:// or none"


def mistake(init: str) -> tuple[str, str, str] | None:
    """What was found, expected and hinted at where `init` is an address nothing may be fetched from; else None."""
    scheme, separator, _ = init.partition("://")
    if not separator or scheme in LISTS:
        return None
    shown = repr(masked(init))
    if scheme not in ("http", "https"):
        return shown, EXPECTED, ""
    if secret_part(init) is not None:
        hint = "download it and name the file: the address is kept with every result"
        return shown, "an address without user name, password or token", hint
    if not is_fetched(init):
        return shown, EXPECTED, "what comes over http:// may have been changed on its way"
    return None


def is_fetched(url: str) -> bool:
    """Whether `url` is https, or http on this very machine."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and (
            parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
        )
    except ValueError:
        return False
