"""Asking a trial process, before anything is claimed, whether it can train here and on what."""

from __future__ import annotations

import json
import os
import sys
from multiprocessing.connection import Connection, wait

from posestudy.errors import MissingPieceError
from posestudy.ledger.records import Json
from posestudy_runner.devices import Device
from posestudy_runner.forkserver import Starter, import_problem, preload_problem

PROBE_LIMIT_S = 300.0
_MEND = "`posestudy doctor` names the command that mends it"


def answer(connection: Connection, preload: str | None, needs: str | None) -> None:
    """Runs in the child: say whether the packages are there and which GPUs torch sees."""
    problem = preload_problem(preload) or import_problem(needs)
    found: Json = {"problem": problem, "gpus": [], "uuids": []}
    # Without a preload this process may be torch-free on purpose.
    if problem is None and (torch := sys.modules.get("torch")) is not None:
        try:
            count = torch.cuda.device_count() if torch.cuda.is_available() else 0
            known = [torch.cuda.get_device_properties(i) for i in range(count)]
        except Exception as error:  # noqa: BLE001 - whatever CUDA raised is what the user must read
            # Where NVML is missing, importing the packages has touched CUDA itself, and no forked process can use it.
            found["problem"] = f"a trial process cannot use the GPU, try --start spawn: {type(error).__name__}: {error}"
        else:
            found["gpus"] = [one.name for one in known]
            found["uuids"] = [str(one.uuid) if hasattr(one, "uuid") else None for one in known]
    connection.send_bytes(json.dumps(found).encode())


def probe(starter: Starter) -> Json:
    """`{"problem": None, "gpus": [names], "uuids": [identifiers]}` as a child of `starter` sees it.

    It waits for the forkserver's imports.

    Raises:
        MissingPieceError: the packages cannot be imported, or no child comes to life.
    """
    ours, theirs = starter.pipe()
    try:
        try:
            process = starter.start(answer, (theirs, starter.preload, starter.needs), "probe")
        except (EOFError, OSError) as error:
            raise MissingPieceError(f"the forkserver died while it imported {starter.preload}; {_MEND}") from error
        finally:
            theirs.close()
        if not wait([ours], PROBE_LIMIT_S):
            os.kill(int(process.pid or 0), 9)
            raise MissingPieceError(f"a trial process did not answer within {PROBE_LIMIT_S:.0f} s; {_MEND}")
        try:
            found: Json = json.loads(ours.recv_bytes())
        except EOFError as error:
            raise MissingPieceError(f"a trial process died at once; {_MEND}") from error
        starter.exit_code(process)
        starter.forget(process)
    finally:
        ours.close()
    if found["problem"]:
        raise MissingPieceError(f"{found['problem']}; {_MEND}")
    return found


def usable_devices(found: Json, cpu: Device) -> list[Device]:
    """The GPUs that torch can use, else the CPU.

    Their order is torch's: the driver counts in the order of the slots, and hidden or foreign GPUs as well.
    """
    pairs = enumerate(zip(found["gpus"], found["uuids"], strict=True))
    return [Device(f"cuda:{index}", name, uuid) for index, (name, uuid) in pairs] or [cpu]
