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
    found: Json = {"problem": problem, "gpus": []}
    # Without a preload this process may be torch-free on purpose.
    if problem is None and (torch := sys.modules.get("torch")) is not None:
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        found["gpus"] = [torch.cuda.get_device_name(i) for i in range(count)]
    connection.send_bytes(json.dumps(found).encode())


def probe(starter: Starter) -> Json:
    """`{"problem": None, "gpus": [names]}` as a child of `starter` sees it; waits for the forkserver's imports.

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


def usable_devices(listed: list[Device], gpus_of_torch: list[str], cpu: Device) -> list[Device]:
    """The GPUs that torch can use as well, else the CPU."""
    return [device for device in listed if not device.is_cpu][: len(gpus_of_torch)] or [cpu]
