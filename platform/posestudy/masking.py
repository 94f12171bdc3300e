"""Takes passwords and tokens out of texts before anybody reads them: messages, logs, tracebacks."""

from __future__ import annotations

import logging
import os
import re
from typing import Final
from urllib.parse import unquote, unquote_plus

STARS: Final = "***"
_LEAST: Final = 4
"""Letters of a secret that is looked for by itself; a shorter one is only known by the URL around it."""

_URLS: Final = ("POSESTUDY_DATABASE_URL", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_BACKEND_STORE_URI")
_SECRETS: Final = (
    *("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "MLFLOW_FLASK_SERVER_SECRET_KEY"),
    *("PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_ACCESS_KEY"),
    "RAY_AUTH_TOKEN",
)
"""Environment variables that hold a URL with a secret in it, or a secret alone."""

_WORD: Final = r"password|passwd|pwd|passphrase|token|secret|api_?key|access_?key|sig|signature|credential"
_USER: Final = re.compile(r"(?P<before>[A-Za-z][\w+.-]*://[^\s/@:?#\[\]'\"]*:)(?P<secret>[^\s'\"<>]*)(?=@)")
_TOKEN: Final = re.compile(r"(?P<before>https?://)(?P<secret>[^\s/@:?#'\"]+)(?=@)")
_NO_PORT: Final = re.compile(
    r"(?P<before>[A-Za-z][\w+.-]*://[^\s/@:?#\[\]'\"]*:)(?!\d+(?![^\s/?#,'\")\];.]))(?P<secret>[^\s/@?#'\"<>*]+)"
)
"""What stands where a port belongs and is none: somebody forgot the @."""
_QUERY: Final = re.compile(
    rf"(?P<before>(?<![A-Za-z])[\w-]*(?:{_WORD})=)(?P<secret>'[^']*'|\"[^\"]*\"|[^\s&'\"#;,)\]}}]+)", re.IGNORECASE
)
_REMEMBERED: set[str] = set()


def remember(secret: str) -> None:
    """Take `secret`, as read from a file, out of every text from now on."""
    if len(secret) >= _LEAST:
        _REMEMBERED.add(secret)


def remember_environment() -> None:
    """Keep what is secret in this process' environment, for it is about to be taken out of there."""
    _REMEMBERED.update(_known())


def masked(url: str) -> str:
    """`url` with `***` for its password and for what its query says in secret; any text may be given."""
    for pattern in (_USER, _TOKEN, _NO_PORT, _QUERY):
        url = pattern.sub(rf"\g<before>{STARS}", url)
    return url


def secret_part(url: str) -> str | None:
    """What of `url` is a secret, as it stands there; None where nothing is."""
    found = next((match for pattern in (_USER, _TOKEN, _QUERY) if (match := pattern.search(url))), None)
    return found["secret"] if found else None


def hidden(text: str) -> str:
    """`text` without the secrets of this process' environment, however they are written, and with its URLs masked."""
    for secret in sorted(_known(), key=len, reverse=True):
        text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(secret)}(?![A-Za-z0-9])", STARS, text)
    return masked(text)


def _known() -> set[str]:
    found = set(_REMEMBERED)
    for name in _URLS:
        url = os.environ.get(name, "")
        found |= {match["secret"] for pattern in (_USER, _TOKEN, _QUERY) for match in pattern.finditer(url)}
    found |= {os.environ.get(name, "") for name in _SECRETS}
    found |= {decoded(secret) for secret in found for decoded in (unquote, unquote_plus)}
    return {secret for secret in found if len(secret) >= _LEAST}


class HidingFormatter(logging.Formatter):
    """A log's lines without secrets, tracebacks too."""

    def format(self, record: logging.LogRecord) -> str:
        """The whole line, `hidden`."""
        return hidden(super().format(record))
