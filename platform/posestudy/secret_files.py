"""Passwords from files: what a service manager or a container mounts, so that no variable and no argument holds one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from posestudy.errors import PoseStudyError
from posestudy.masking import remember


def read_secret(variable: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """What stands in the file that `variable` names, without the newline at its end; None where it names none.

    Texts that are masked from now on are without it.

    Raises:
        PoseStudyError: the file is missing, cannot be read, is empty, or holds more than one line. The message names
            the variable and the file, never what is in it.
    """
    named = environment.get(variable)
    if not named:
        return None
    path = Path(named).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise _refused(variable, path, f"which cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise _refused(variable, path, "which is not text") from None
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret.strip():
        raise _refused(variable, path, "which is empty")
    if not secret.isprintable():
        raise _refused(variable, path, "which holds more than one line of plain text")
    remember(secret)
    return secret


def _refused(variable: str, path: Path, what: str) -> PoseStudyError:
    return PoseStudyError(f"{variable}: found {path}, {what}; expected a file whose only line is the secret")
