"""The engine of a Ray cluster: one actor a worker, placed by Ray; this process looks after them."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posestudy import masking
from posestudy.errors import MissingPieceError, PoseStudyError
from posestudy.home import Home
from posestudy_runner import notifying
from posestudy_runner.context import owner_is_dead, owner_name
from posestudy_runner.ending_signals import told_to
from posestudy_runner.engines import Ended
from posestudy_runner.engines.ray_head import connect
from posestudy_runner.engines.ray_slots import slot_size
from posestudy_runner.engines.ray_worker import Errand, machine
from posestudy_runner.forkserver import PARENT_ONLY
from posestudy_runner.projector import Projector
from posestudy_runner.stop import Stop
from posestudy_studies import asked_gpus

if TYPE_CHECKING:
    from collections.abc import Callable

    from posestudy_runner.engines import Placement

LOCAL = "local"
_CONNECT_S = 10.0
_OBJECTS_B = 128 * 2**20
"""For Ray's object store, which nothing of ours goes into."""

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Ray sends no statistics, and says nothing that is not for the user. What the user has set stays."""

IMPATIENT = {"RAY_NUM_REDIS_GET_RETRIES": "2"}
"""Where something answers that is no Ray, it gives up after some minute, not after a quarter of an hour."""

LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""With it Ray takes 127.0.0.1 for the address of the node it starts, as it does on Windows, and listens there alone."""


def run(placement: Placement) -> Ended:
    """Keep workers at work until the study is done or the user ends it.

    Raises:
        MissingPieceError: Ray is not installed, or no node can train.
        PoseStudyError: the cluster cannot be reached or used.
    """
    per_gpu = placement.options.per_gpu
    if per_gpu == "auto":
        raise PoseStudyError("--per-gpu auto: with --engine ray expected a number, for Ray places by it")
    stop = Stop()

    def hear(name: str) -> None:
        stop.request(f"the launcher got {name}")

    closed = placement.ledger.study(placement.goal.study).state == "closed"
    cluster = nullcontext() if closed else _cluster(placement.address, placement.display.say)
    # Twice: Ray takes SIGTERM for itself while it connects.
    with told_to(hear), cluster as where, told_to(hear), _projected(placement, stop):
        if where is not None and not stop.requested:
            with _sign(placement.home) as sign:
                _work(placement, where, sign, stop)
    return Ended.BY_USER if stop.requested else Ended.DONE


@contextmanager
def _projected(placement: Placement, stop: Stop) -> Iterator[None]:
    """MLflow and Optuna's tables are kept up to date meanwhile, and brought there at the end."""
    if not placement.options.projects:
        yield
        return
    projector = Projector(placement.home, placement.display.say)
    projector.start()
    projector.give_way()
    try:
        yield
    except BaseException:
        projector.drain(lambda: True)
        raise
    projector.send_the_rest(stop)


def _work(placement: Placement, where: str, sign: Path, stop: Stop) -> None:
    from posestudy_runner.engines.ray_crew import Crew, alive_nodes, sizes

    options, study = placement.options, placement.goal.study
    per_gpu = options.per_gpu if isinstance(options.per_gpu, int) else 1
    nodes = sizes(alive_nodes())
    size = slot_size(nodes, placement.workers, per_gpu, asked_gpus.most(placement.study.model_dump(mode="json")))
    errand = Errand(
        home=placement.home.root,
        database_url=placement.settings.database_url,
        folder=Path.cwd(),
        goal=placement.goal,
        options=replace(
            options, projects=False, per_gpu=None, notify=None, cores=size.cores or 1, needs_gpu=size.gpus > 0
        ),
        environment=_shared_environment(),
        machine=machine(),
        sign=sign,
    )
    cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
    able = sum(node.cpus + node.gpus > 0 for node in nodes)
    has = f"{able} {'node' if able == 1 else 'nodes'}, {cpus:g} cores" + (f", {gpus:g} GPUs" if gpus else "")
    placement.display.say(f"Ray {where}: {has}; each worker has {size.words}")
    crew = Crew(placement.ledger, errand, size, placement.workers, placement.display, stop)
    told = notifying.telling(options.notify, placement.ledger, placement.home, study, placement.display.say)
    with placement.display, told as seen:
        crew.run(seen)


def _shared_environment() -> dict[str, str]:
    """What posestudy takes from the environment, without what is secret: workers get that by another way."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith("POSESTUDY_") and name not in PARENT_ONLY and name != "POSESTUDY_HOME"
    }


@contextmanager
def _sign(home: Home) -> Iterator[Path]:
    """A file by which a node sees that it shares the home; those of launches that were killed go."""
    home.root.mkdir(parents=True, exist_ok=True)
    for left in home.root.glob(".launched.*"):
        with contextlib.suppress(OSError, ValueError):
            if owner_is_dead(left.read_text(encoding="utf-8")):
                left.unlink()
    file = home.root / f".launched.{secrets.token_hex(8)}"
    file.touch()
    try:
        # On a full disk it stays empty: a sign all the same, but where this process is killed, it is left.
        with contextlib.suppress(OSError):
            file.write_text(owner_name(0), encoding="utf-8")
        yield file
    finally:
        with contextlib.suppress(OSError):
            file.unlink()


@contextmanager
def _cluster(address: str | None, say: Callable[[str], None]) -> Iterator[str]:
    """Connected to a cluster: that at `address`, that of RAY_ADDRESS, or one that is started here and ends with it.

    Raises:
        MissingPieceError: Ray is not installed.
        PoseStudyError: the cluster cannot be reached or used.
    """
    wanted = os.environ.get("RAY_ADDRESS") or LOCAL if address is None else address
    starts = wanted == LOCAL
    added = {**QUIET, **(LOOPBACK | _token() if starts else IMPATIENT)}
    added = {name: value for name, value in added.items() if name not in os.environ}
    os.environ.update(added)
    masking.remember(os.environ.get("RAY_AUTH_TOKEN", ""))
    ray = _ray()
    try:
        if ray.is_initialized():
            yield _where(ray)
            return
        if not starts:
            wanted = _reachable(wanted)
        say("starting Ray on this machine" if starts else f"connecting to the Ray cluster at {wanted}")
        _connect(ray, wanted)
        try:
            yield _where(ray)
        finally:
            ray.shutdown()
    finally:
        for name in added:
            os.environ.pop(name, None)


def _token() -> dict[str, str]:
    """A secret for a cluster of our own, unless the user has one: else Ray would leave one in the user's folder."""
    if "RAY_AUTH_MODE" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ:
        return {}
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


def _ray() -> Any:
    try:
        import ray
        from ray._private import worker
    except ImportError as error:
        raise MissingPieceError(
            f"--engine ray needs the package ray ({error}); run `pip install 'posestudy[ray]'`, on every node"
        ) from error
    # Where a node dies, Ray prints the end of its log here; the crew says it in one line.
    worker._worker_logs_enabled = False
    return ray


def _connect(ray: Any, address: str) -> None:
    # A cluster that is there already has its own resources.
    own = {"include_dashboard": False, "object_store_memory": _OBJECTS_B} if address == LOCAL else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **own)
    except (ConnectionError, RuntimeError, ValueError, OSError, AssertionError, ray.exceptions.RayError) as error:
        why = masking.hidden(" ".join(str(error).split()))
        which = "Ray could not be started on this machine" if own else f"the Ray cluster at {address} cannot be used"
        raise PoseStudyError(f"{which}: {why}") from error


def _reachable(address: str) -> str:
    """`address` as Ray takes it; where nobody answers, Ray itself waits for minutes and may end the whole process.

    Raises:
        PoseStudyError: `address` is none, or nobody answers there.
    """
    if address != "auto":
        _check_address(address)
    from ray._private import services

    try:
        # For `localhost` and 127.0.0.1 it is another one, where this machine has an address in a network.
        found = services.canonicalize_bootstrap_address(address)
    except (ConnectionError, ValueError) as error:
        raise PoseStudyError(
            f"found Ray address '{address}', but no Ray cluster on this machine; start one with `ray start --head`, or "
            "give the address HOST:PORT of its head"
        ) from error
    if found is None:
        # Ray prefers the variable to auto.
        raise PoseStudyError(
            f"found Ray address '{address}', but RAY_ADDRESS={os.environ.get('RAY_ADDRESS')} names no Ray cluster; "
            "unset it, or give the address HOST:PORT of the cluster's head"
        )
    try:
        connect(found, _CONNECT_S)
    except (OSError, OverflowError) as error:
        at = address if address == found else f"{address}, which is {found},"
        raise PoseStudyError(
            f"the Ray cluster at {at} cannot be reached ({error}); `ray start --head` prints the address"
        ) from error
    return found


def _check_address(address: str) -> None:
    """Raises PoseStudyError where `address` is not HOST:PORT."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "://" in address:
        raise PoseStudyError(
            f"found Ray address '{address}', expected HOST:PORT of its head, as `ray start --head` prints it, "
            "auto for the cluster that this machine is a node of, or local to start one"
        )


def _where(ray: Any) -> str:
    context = ray.get_runtime_context()
    logs = Path(ray._private.worker._global_node.get_logs_dir_path())
    return f"at {context.gcs_address}, logs in {logs}"
