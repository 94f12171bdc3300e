"""What engines that submit jobs ask of the ledger before, and what their jobs prepare on a node."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from posestudy.errors import PoseStudyError
from posestudy.vocabulary import TrialState
from posestudy_runner import image_cache
from posestudy_runner.image_cache import network_file_system
from posestudy_runner.settling import settle
from posestudy_studies import asked_gpus
from posestudy_studies.cluster import Cluster

if TYPE_CHECKING:
    from posestudy_runner.engines import Placement

_DEVICES: Final = re.compile(r"gpu(?::[A-Za-z_][\w.-]*)?(?::(\d+))?")


def devices(cluster: Cluster) -> int:
    """How many GPUs `cluster.gres` asks for."""
    found = [_DEVICES.fullmatch(part) for part in (cluster.gres or "").split(",")]
    return sum(int(match[1] or 1) for match in found if match)


def check_gpus(cluster: Cluster, most: int) -> None:
    """Tell of jobs that would wait for a GPU and then could not train; most GPUs that one trial asks for are `most`.

    Raises:
        PoseStudyError: `cluster.gres` asks for fewer.
    """
    if 0 < devices(cluster) < most:
        raise PoseStudyError(
            f"cluster.gres: found {cluster.gres}, expected {most} GPUs or more, as the study has trials with "
            f"`gpus: {most}` and a trial's GPUs are of one job: gres: gpu:{most}"
        )


def asked_of_one(placement: Placement) -> int:
    """The GPUs that the largest trial of the study takes."""
    return asked_gpus.most(placement.ledger.study(placement.study.study).document)


def known_open_trials(placement: Placement) -> int:
    """How many trials are not done, of all that can be known now; 0 where the study is closed."""
    snapshot = settle(placement.ledger, placement.study.study, placement.steering.advance)
    if snapshot.study.state == "closed":
        return 0
    return sum(trial.state is not TrialState.DONE for trial in snapshot.trials)


def check_ledger(placement: Placement) -> None:
    """Tell of a ledger that jobs on other machines will not find.

    Raises:
        PoseStudyError: they would damage it.
    """
    if not placement.settings.database_url.startswith("sqlite"):
        return
    wanted = "POSESTUDY_DATABASE_URL may name a PostgreSQL that all nodes reach (docs/clusters.md)"
    if kind := network_file_system(placement.home.database):
        raise PoseStudyError(
            f"the ledger {placement.home.database} is an SQLite file on a network file system ({kind}), which several "
            f"machines would damage; {wanted}"
        )
    placement.display.say(f"the ledger is an SQLite file, which only jobs on this very machine can use; {wanted}")


def use_disk_of_node(cluster: Cluster, say: Callable[[str], None]) -> None:
    """Keep decoded images where `cluster.local_cache` says, with the variables of this node."""
    if cluster.local_cache is None:
        return
    folder = os.path.expandvars(cluster.local_cache)
    if "$" in folder:
        say(f"cluster.local_cache: found {cluster.local_cache}, but this node does not have all of its variables")
        return
    os.environ[image_cache.FOLDER_VARIABLE] = folder
