"""The one family of errors a user may see, each with what was found and what was expected."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass


class PoseStudyError(Exception):
    """A clear sentence for the user; the command line prints it without a traceback and exits with `exit_code`."""

    exit_code = 2


class PoseStudyWarning(UserWarning):
    """Something posestudy itself warns of; the test suite turns these into errors."""


@dataclass(frozen=True)
class Problem:
    """One mistake in a file of the user's.

    Attributes:
        file: the file, as the user named it.
        line, column: 1-based; 0 where the mistake has no place (a missing file).
        path: dotted path inside the document, such as `stages.0.design`.
        found: what stands there.
        expected: what would be accepted.
        hint: the nearest right spelling or the way to mend it; may be empty.
    """

    file: str
    line: int
    column: int
    path: str
    found: str
    expected: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        where = f" {self.path}:" if self.path else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{place}:{where} found {self.found}, expected {self.expected}{hint}"

    def as_json(self) -> dict[str, object]:
        return asdict(self)


class InputError(PoseStudyError):
    """Mistakes in the user's input, all of them at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(p) for p in problems))


class MissingDataError(PoseStudyError):
    """The data set that a study was launched on is gone or cannot be read."""


class NotFoundError(PoseStudyError):
    """A study, trial or file that was named does not exist."""


class LedgerError(PoseStudyError):
    """The ledger cannot be used: unreachable, newer than this posestudy, or damaged."""


class LedgerUnavailableError(LedgerError):
    """The ledger cannot be reached just now; nothing is wrong with what it holds, so the call may be made again."""


class MissingPieceError(PoseStudyError):
    """Something the command needs is not installed or not usable; the message names the command that mends it."""


class UnreadableImageError(PoseStudyError):
    """An image of the data set is missing or damaged; the message names the file."""


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint `did you mean 'x'?` for the known word nearest to `word`, or an empty string."""
    match = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean '{match[0]}'?" if match else ""
