"""What runs on a node of a Ray cluster: an actor with one slot's pool in it."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from posestudy import given_paths, masking
from posestudy.errors import MissingPieceError, PoseStudyError
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy_runner import weights
from posestudy_runner.context import PoolOptions, owner_name
from posestudy_runner.engines.relayed_display import Event, RelayedDisplay
from posestudy_runner.launching import check_environment
from posestudy_runner.packages import check_packages
from posestudy_runner.pool import Goal, Pool
from posestudy_runner.steering import study_steering
from posestudy_studies.spec import Study

SQLITE = "sqlite:///"
_LONG_POLL_S = 5.0
_LOOK_S = 1.0
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Errand:
    """What an actor is asked to do; the same for all of them.

    Attributes:
        database_url: may hold a password, so it goes from process to process and into nobody's environment.
        folder: where `launch` was called: paths of the study file may start there.
        environment: variables of the launcher that its workers must share.
        machine: see `machine`; the launcher's.
        sign: a file of the home that is there as long as the launcher is.
    """

    home: Path
    database_url: str = field(repr=False)
    folder: Path
    goal: Goal
    options: PoolOptions
    environment: Mapping[str, str]
    machine: str
    sign: Path


@dataclass(frozen=True)
class Place:
    """Where an actor came to life.

    Attributes:
        node: Ray's identifier of the node.
        owner: under which name its worker holds leases in the ledger.
    """

    host: str
    node: str
    owner: str


class How(Enum):
    """How an actor's work ended."""

    DONE = "nothing is left to do"
    STOPPED = "it was asked to stop"
    REFUSED = "it cannot work on its node"
    LEFT = "its node died"


@dataclass(frozen=True)
class WorkEnd:
    """How an actor's work ended, and where it could not begin, why."""

    how: How
    why: str = ""


def machine() -> str:
    """What tells this machine from others, its containers included; it changes with every boot."""
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname()


class RayWorker:
    """One worker. Ray calls every method in a thread of its own, `work` for as long as there is something to do."""

    def __init__(self) -> None:
        self._display = RelayedDisplay()
        self._lock = threading.Lock()
        self._pool: Pool | None = None
        self._stops: list[str] = []
        self._told = 0
        self._raylet = os.getppid()
        self._orphaned = False
        self._ended = threading.Event()

    def place(self) -> Place:
        """Answered as soon as the actor is on a node."""
        import ray

        return Place(socket.gethostname(), ray.get_runtime_context().get_node_id(), owner_name(0))

    def news(self) -> tuple[list[Event], bool]:
        """What happened since the last call, waited for some seconds, and whether nothing more will."""
        return self._display.fetch(_LONG_POLL_S)

    def stop(self, why: str) -> None:
        """First call: save, and give the lease back. Second call: kill."""
        with self._lock:
            self._told += 1
            # Where its node is gone, the worker saves already.
            if self._told > len(self._stops):
                self._request(why)

    def _request(self, why: str) -> None:
        self._stops.append(why)
        if self._pool is not None:
            self._pool.stop.request(why)

    def work(self, errand: Errand) -> WorkEnd:
        """Until the study has nothing more to do, or `stop` is called."""
        masking.remember(masking.secret_part(errand.database_url) or "")
        threading.Thread(target=self._watch, name="raylet", daemon=True).start()
        try:
            stopped = self._run(errand)
            if stopped and self._orphaned:
                return WorkEnd(How.LEFT)
            return WorkEnd(How.STOPPED if stopped else How.DONE)
        except PoseStudyError as error:
            return WorkEnd(How.REFUSED, masking.hidden(str(error)))
        finally:
            self._ended.set()
            self._display.close()

    def _watch(self) -> None:
        """Stop when Ray's own process of this node is gone: `work` would go on, with nobody to look after it."""
        while not self._ended.wait(_LOOK_S):
            if os.getppid() != self._raylet:
                with self._lock:
                    self._orphaned = True
                    if not self._stops:
                        self._request("the Ray node of the worker is gone")
                return

    def _run(self, errand: Errand) -> bool:
        os.environ.update(errand.environment)
        # A trial process imports its parent's main module, which here is Ray's: seconds, and nothing a trial needs.
        vars(sys.modules["__main__"]).pop("__file__", None)
        check_node(errand)
        if not errand.sign.is_file():
            self._display.say(
                f"{errand.home} is not the launcher's: checkpoints and logs stay on this node, and without it a trial "
                "begins again with its first epoch"
            )
        home = Home(errand.home)
        ledger = Ledger.open(errand.database_url, create=False)
        try:
            study = Study.model_validate(ledger.study(errand.goal.study).document)
            check_data(study)
            check_environment(home, self._display.say)
            check_packages(study)
            weights.fetch(study, self._display.say)
            pool = Pool(ledger, home, errand.goal, study_steering(), self._display, errand.options)
            with self._lock:
                self._pool = pool
                for why in self._stops:
                    pool.stop.request(why)
            return pool.run(1)
        finally:
            ledger.close()


def check_node(errand: Errand) -> None:
    """Go to the launcher's folder.

    Raises:
        MissingPieceError: this node lacks what a worker needs: the ledger, or that folder.
    """
    if errand.database_url.startswith(SQLITE):
        file = errand.database_url.removeprefix(SQLITE)
        if errand.machine != machine():
            raise MissingPieceError(
                f"the ledger is the SQLite file {file} of another machine, which several machines must not share, over "
                "a network file system neither; expected POSESTUDY_DATABASE_URL=postgresql://USER@HOST/DATABASE"
            )
        if not Path(file).is_file():
            raise MissingPieceError(f"the ledger {file} cannot be seen there; expected the same folders on every node")
    try:
        os.chdir(errand.folder)
    except OSError as error:
        raise MissingPieceError(
            f"{errand.folder}, where launch was called, cannot be entered there ({error.strerror}); "
            "expected the same folders on every node"
        ) from error


def check_data(study: Study) -> None:
    """Raises MissingPieceError where the data set cannot be seen on this node: every trial would fail for it.

    Where nothing is mounted its folder may be there all the same, and empty.
    """
    root, parts = Path(study.dataset.root), (study.dataset.train, study.dataset.val)
    needed = [root, *(root / path for part in parts for path in (part.annotations, part.images))]
    missing = next((path for path in needed if not given_paths.exists(path)), None)
    if missing is not None:
        where = given_paths.absolute(missing)
        raise MissingPieceError(f"the data set {where} cannot be seen there; expected the same folders on every node")
