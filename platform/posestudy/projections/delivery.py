"""What one pass of a projection did, in words a user can read."""

from __future__ import annotations

from dataclasses import dataclass, field

from posestudy.errors import PoseStudyError


class ProjectionOutageError(PoseStudyError):
    """A projection's store cannot be reached; nothing is lost, the ledger keeps it for the next pass."""


@dataclass
class Delivery:
    """Counts and sentences of one pass.

    Attributes:
        sent: how many things (runs, stages, values, trials) were brought up to date; 0 where nothing was to do.
        problems: what could not be delivered and will be tried again.
        notes: what was left alone on purpose.
        interrupted: the lock was lost on the way, so that somebody else goes on.
    """

    sent: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False

    @property
    def complete(self) -> bool:
        return not self.problems and not self.interrupted

    def add(self, other: Delivery) -> None:
        self.sent += other.sent
        self.problems += other.problems
        self.notes += other.notes
        self.interrupted = self.interrupted or other.interrupted
