"""Files for MLflow's artifact store, which may be full or read-only while its database works: they wait alone."""

from __future__ import annotations

from collections.abc import Callable

from posestudy.projections.quiet_mlflow import trouble
from posestudy.projections.reasons import reason


class ArtifactGate:
    """Lets files through during one pass over one study; closed by the first trouble of the store as a whole.

    Args:
        raise_if_outage: raises where MLflow itself does not answer, so that not only its files wait.
    """

    def __init__(self, raise_if_outage: Callable[[Exception], None]) -> None:
        self._raise_if_outage = raise_if_outage
        self._closed: str | None = None
        self._waiting: list[str] = []
        self._refused: list[str] = []

    def passes(self, what: str, send: Callable[[], None]) -> bool:
        """Whether `send` sent all the files of `what`; where not, they are sent once more in a later pass."""
        if self._closed is None:
            try:
                send()
            except trouble() as error:
                self._raise_if_outage(error)
                found = reason(error)
                if not found.passing:
                    self._refused.append(f"{what}: {found.said}")
                    return False
                self._closed = found.said
            else:
                return True
        self._waiting.append(what)
        return False

    def problems(self, study: str) -> list[str]:
        """Sentences about what has to wait."""
        said = [f"study '{study}': MLflow's artifact store refused {one}" for one in self._refused]
        if self._waiting:
            more = f" and {len(self._waiting) - 1} more" if len(self._waiting) > 1 else ""
            said.append(
                f"study '{study}': files wait for MLflow's artifact store ({self._waiting[0]}{more}): {self._closed}; "
                "values are sent"
            )
        return said
