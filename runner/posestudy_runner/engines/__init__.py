"""Engines place workers on machines; what a worker does is the same everywhere."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from posestudy.errors import PoseStudyError, nearest
from posestudy.extensions import load
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.settings import Settings
from posestudy_runner.context import PoolOptions
from posestudy_runner.display import Display
from posestudy_runner.engine_names import ENGINES as ENGINES
from posestudy_runner.engine_names import GROUP as GROUP
from posestudy_runner.engine_names import names as names
from posestudy_runner.pool import Goal
from posestudy_runner.steering import Steering
from posestudy_studies.spec import Study


@dataclass(frozen=True)
class Placement:
    """What an engine needs to know.

    Attributes:
        study: as it was put into the ledger.
        settings: where ledger, home and MLflow are; for workers that run in processes elsewhere.
        workers: trials at a time; None: as many as the engine finds devices.
        address: of the cluster, for an engine that connects to one; None: as it sees fit.
    """

    study: Study
    settings: Settings
    ledger: Ledger
    goal: Goal
    steering: Steering
    display: Display
    options: PoolOptions
    workers: int | None
    address: str | None = None

    @property
    def home(self) -> Home:
        """Where attempts write."""
        return self.settings.home


class Ended(Enum):
    """Why an engine came back."""

    DONE = "nothing is left to do"
    BY_USER = "the user ended it before"
    ELSEWHERE = "workers go on without the launcher"


class Engine(Protocol):
    """Places workers, and mostly waits for them."""

    def __call__(self, placement: Placement) -> Ended: ...


def engine(name: str) -> Engine:
    """The engine called `name`.

    Raises:
        PoseStudyError: there is none, naming those there are; or another distribution's cannot be loaded.
    """
    if name not in names():
        raise PoseStudyError(
            f"found engine '{name}', expected one of: {', '.join(names())}. {nearest(name, names())}".strip()
        )
    if name not in ENGINES:
        added: Engine = load(GROUP, "engine", name)
        return added
    module, _, function = ENGINES[name].partition(":")
    found: Engine = getattr(importlib.import_module(module), function)
    return found
