"""Stand-in trials of several ranks: what happens to a rank is what the cell's name says; nothing is trained."""

from __future__ import annotations

import os
import signal
import time

from posestudy.vocabulary import Outcome
from posestudy_runner import ranks
from posestudy_runner.control import Control
from posestudy_runner.order import TrialOrder
from posestudy_runner.outcomes import Ending
from posestudy_runner.ranks import Following

ranks.GRACE_S = 0.5
LONG_S = 300.0


def train(order: TrialOrder, control: Control) -> Ending:
    """The first rank, which waits for the others as for their part of a sum."""
    if control.followers is None:
        raise RuntimeError("there are no other ranks")
    what = order.training["what"]
    control.followers.tell({"type": "train"})
    (order.paths.folder / "pid").write_text(str(os.getpid()))
    if what == "works":
        for rank in range(1, len(order.devices)):
            _wait_for(order, f"pid{rank}")
        control.followers.go_on(1)
        for rank in range(1, len(order.devices)):
            _wait_for(order, f"done{rank}")
        return Ending(Outcome.COMPLETED)
    if what.startswith("loses"):
        while control.followers.lost(0.1) is None:
            pass
        raise RuntimeError("connection closed by peer")
    if what == "leaves":
        _wait_for(order, "pid1")
        raise RuntimeError("no such keypoint")
    while True:  # as in a collective of a GPU, which nobody ends
        time.sleep(0.1)
        control.check()


def follow(order: TrialOrder, following: Following) -> None:
    """Another rank."""
    following.told()
    folder, what = order.paths.folder, order.training["what"]
    (folder / f"pid{following.rank}").write_text(f"{os.getpid()} {order.device}")
    if what == "works":
        following.wait_for(1)
        (folder / f"done{following.rank}").touch()
        return
    if following.rank == 1 and what.endswith("memory"):
        raise MemoryError("out of memory on the second GPU")
    if following.rank == 1 and what.endswith("divergence"):
        raise FloatingPointError("the loss was nan")
    if following.rank == 1 and what.endswith("killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    if following.rank == 2 and what.startswith("loses"):
        # It complains only once the cause is gone.
        time.sleep(0.1)
        raise RuntimeError("connection closed by peer")
    time.sleep(LONG_S)


def _wait_for(order: TrialOrder, name: str) -> None:
    while not (order.paths.folder / name).exists():
        time.sleep(0.01)
