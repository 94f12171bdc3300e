"""Training one trial in several ranks, one a GPU: MMEngine's own distributed runner, in processes of ours.

NCCL between GPUs; on a CPU gloo, where ranks are processes that share its cores, as for tests.
"""

from __future__ import annotations

# The plugin first: it holds what MMPose needs to be importable here.
from posestudy_runner import plugin  # isort: skip

import os
from datetime import timedelta
from typing import Any

import torch
import torch.distributed
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper, revert_sync_batchnorm
from torch._C._distributed_c10d import TCPStore

from posestudy.durable import is_full
from posestudy.errors import PoseStudyError
from posestudy.ledger.records import Json
from posestudy_runner.checkpoints import POSITION_KEY
from posestudy_runner.epoch_loop import Position
from posestudy_runner.order import TrialOrder
from posestudy_runner.outcomes import Preempted
from posestudy_runner.ranks import Followers, Following

__all__ = ["FollowingHook", "GoOnHook", "fit", "join", "lead", "leave", "made", "plugin"]

TIMEOUT_S = 3600.0
"""How long a rank waits for what another one sends. One that died is noticed at once; where the first rank waits for a
disk or for its worker's word, the others wait for it by pipe, without a limit."""
_LOOPBACK = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


def fit(config: Config, order: TrialOrder) -> None:
    """Change `config`, as `trial.prepare` gives it, to that of one of several ranks.

    Raises:
        PoseStudyError: batch statistics over several ranks are asked for on a CPU, where torch has none.
    """
    config.launcher = "pytorch"
    if order.device.startswith("cuda"):
        return
    if order.training.get("sync_bn") is True:
        raise PoseStudyError("sync_bn: true needs GPUs: torch has no SyncBatchNorm on a CPU; auto leaves it out there")
    config.sync_bn = None


def join(order: TrialOrder, rank: int, port: int, listener: int | None = None) -> None:
    """Make this process one of the trial's ranks, for all that MMEngine and torch ask of their group.

    Args:
        order: its `device` is this rank's.
        rank: of this process.
        port: where the first rank listens, on the loopback interface.
        listener: the descriptor of that socket, in the first rank.
    """
    on_gpu = order.device.startswith("cuda")
    index = torch.device(order.device).index or 0
    size, timeout = len(order.devices), timedelta(seconds=TIMEOUT_S)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(index if on_gpu else rank)}
    for name in _LOOPBACK:
        os.environ.setdefault(name, "lo")
    options: dict[str, Any] = {} if listener is None else {"master_listen_fd": listener}
    store = TCPStore("127.0.0.1", port, size, listener is not None, timeout, wait_for_workers=False, **options)
    torch.distributed.init_process_group(
        "nccl" if on_gpu else "gloo", store=store, rank=rank, world_size=size, timeout=timeout
    )


def lead(config: Config, order: TrialOrder, followers: Followers) -> None:
    """In the first rank: change `config` to one for several ranks, and have the others train by it too.

    Raises:
        PoseStudyError: as `fit`.
    """
    fit(config, order)
    followers.tell({"type": "train", "start": config.load_from if config.resume else None})
    # A copy: the store closes what it is given.
    join(order, 0, followers.port, os.dup(followers.listener.fileno()))
    print(f"Training in {followers.size} ranks ({', '.join(order.devices)}), by {_backend()}.", flush=True)


def made(make: Any, config: Config) -> Any:
    """The runner that `make` makes of `config`; all ranks make theirs together, so that no rank can try again alone.

    Raises:
        Preempted: the disk is full.
    """
    try:
        return make(config)
    except OSError as error:
        if is_full(error):
            raise Preempted(f"the disk is full ({error.strerror}); free some space to go on") from error
        raise


def leave(runner: Any, followers: Followers) -> None:
    """In the first rank: end the others; `runner` is that of a single process from now on."""
    followers.dismiss()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    if is_model_wrapper(runner.model):
        runner.model = revert_sync_batchnorm(runner.model.module)


class GoOnHook(Hook):  # type: ignore[misc]
    """In the first rank, after its reporter: lets the others go on once an epoch is reported."""

    priority = "LOWEST"

    def __init__(self, followers: Followers) -> None:
        self._followers = followers

    def after_train_epoch(self, runner: Any) -> None:
        """Go on where no validation follows."""
        if not runner.train_loop.validates_after(runner.epoch + 1):
            self._followers.go_on(runner.epoch + 1)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Go on."""
        self._followers.go_on(runner.epoch)


class FollowingHook(Hook):  # type: ignore[misc]
    """In another rank: starts where the first one does, and waits for it after every epoch.

    Without that it would wait for the first rank's part of the next iteration, and take a pause for its death.
    """

    priority = "LOWEST"

    def __init__(self, order: TrialOrder, following: Following) -> None:
        self._order = order
        self._following = following

    def after_load_checkpoint(self, runner: Any, checkpoint: Json) -> None:
        """Go on in the middle of the epoch that the checkpoint is of."""
        meta = checkpoint.get("meta", {})
        if POSITION_KEY in meta:
            runner.train_loop.position = Position(**meta[POSITION_KEY])

    def before_train(self, runner: Any) -> None:
        """Train nothing where nothing is left."""
        if runner.epoch >= self._order.last_epoch:
            runner.train_loop.stop_training = True

    def after_train_epoch(self, runner: Any) -> None:
        """Wait where no validation follows."""
        if not runner.train_loop.validates_after(runner.epoch + 1):
            self._following.wait_for(runner.epoch + 1)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Wait."""
        self._following.wait_for(runner.epoch)


def _backend() -> str:
    return str(torch.distributed.get_backend())
