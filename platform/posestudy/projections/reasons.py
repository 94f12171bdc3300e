"""Why something could not be sent, in words of its user: an exception of MLflow, SQLAlchemy or the disk explained."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from posestudy.masking import hidden
from posestudy.projections.run_card import cut

_LONGEST = 400
_STATUS = re.compile(r"error code (\d{3})\b|too many (\d{3}) error responses|\b(\d{3}) (?:Client|Server) Error")
_ACCOUNT = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD_FILE"

_BY_NUMBER = {
    errno.ENOSPC: "the disk is full{place}; free some space",
    errno.EDQUOT: "the disk quota is used up{place}; free some space",
    errno.EROFS: "the disk is read-only{place}; make it writable",
    errno.EACCES: "this user may not write there{place}",
    errno.EPERM: "this user may not write there{place}",
    errno.EIO: "the disk reports an error{place}",
}

GONE = "its tables are gone"
"""What is said of a database that somebody deleted and made anew."""

_BY_WORDS = (
    (re.compile(r"no such table|relation .* does not exist|UndefinedTable", re.I), GONE),
    (re.compile(r"database is locked|database table is locked", re.I), "another process keeps its database locked"),
    (re.compile(r"database or disk is full|No space left on device", re.I), "the disk is full; free some space"),
    (re.compile(r"readonly database|Read-only file system", re.I), "it is read-only; make it writable"),
    (re.compile(r"disk I/O error", re.I), "the disk under its database reports an error"),
    (re.compile(r"unable to open database file", re.I), "its database file cannot be opened; does its folder exist?"),
    (re.compile(r"timed? ?out", re.I), "it does not answer"),
    (re.compile(r"connection refused", re.I), "nothing answers there: the connection is refused"),
    (
        re.compile(r"connection (aborted|reset|broken)|RemoteDisconnected|server closed the connection", re.I),
        "the connection was cut",
    ),
    (re.compile(r"Max retries exceeded|connection failed|could not connect", re.I), "it cannot be reached"),
)


@dataclass(frozen=True)
class Reason:
    """A part of a sentence without its full stop.

    Attributes:
        passing: the place is at fault and not what was sent, so that the next thing will not do better now.
    """

    said: str
    passing: bool


def reason(error: BaseException) -> Reason:
    """Why `error` was raised; what is not known is quoted, without secrets, in one line."""
    chain = list(_chain(error))
    for one in chain:
        number = one.errno if isinstance(one, OSError) else None
        if number in _BY_NUMBER:
            # The folder: the file has a name for the moment only.
            name = os.path.dirname(str(getattr(one, "filename", None) or ""))
            return Reason(_BY_NUMBER[number].format(place=hidden(f" ({name})") if name else ""), passing=True)
    for one in chain:
        status = _status(one)
        if status is not None:
            return Reason(*status)
    for one in chain:
        for words, said in _BY_WORDS:
            if words.search(str(one)):
                return Reason(said, passing=True)
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return Reason(cut(hidden(lines[0]), _LONGEST).rstrip("."), passing=False)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__


def _status(error: BaseException) -> tuple[str, bool] | None:
    """What an HTTP status other than the server's own refusal of this one request means."""
    found = _STATUS.search(str(error))
    if found is None:
        return None
    status = int(next(group for group in found.groups() if group))
    if status == 401:
        return f"it asks for a user name and a password (401): set {_ACCOUNT} for this user", True
    if status == 403:
        return f"it refuses this user (403): {_ACCOUNT} must name one who may write here", True
    if status >= 500 or status in (408, 429):
        return f"it answers with an error ({status})", True
    return None
