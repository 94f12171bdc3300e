"""Engines place workers on machines; what a worker does is the same everywhere."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Protocol

from posestudy.errors import PoseStudyError, nearest
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy_runner.context import PoolOptions
from posestudy_runner.display import Display
from posestudy_runner.pool import Goal
from posestudy_runner.steering import Steering


@dataclass(frozen=True)
class Placement:
    """What an engine needs to know. `workers` None: as many as the engine finds devices."""

    ledger: Ledger
    home: Home
    goal: Goal
    steering: Steering
    display: Display
    options: PoolOptions
    workers: int | None


class Engine(Protocol):
    """Runs workers until the study is done; True where the user ended it before."""

    def __call__(self, placement: Placement) -> bool: ...


ENGINES = {"local": "posestudy_runner.engines.local:run"}
"""Engine names and where their function is."""


def engine(name: str) -> Engine:
    """The engine called `name`.

    Raises:
        PoseStudyError: there is none, naming those there are.
    """
    if name not in ENGINES:
        known = ", ".join(ENGINES)
        raise PoseStudyError(f"found engine '{name}', expected one of: {known}. {nearest(name, ENGINES)}".strip())
    module, _, function = ENGINES[name].partition(":")
    found: Engine = getattr(importlib.import_module(module), function)
    return found
