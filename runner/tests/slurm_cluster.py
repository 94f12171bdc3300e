"""A real Slurm of the test's own on this machine: munged, slurmctld and slurmd on loopback, stopped at the end."""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from posestudy.testing_network import free_port

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")
CPUS = 8
"""CPUs that the only node is said to have; how many there really are does not matter to Slurm."""
SHORT_LIMIT_S = 60.0


def why_not() -> str:
    """Why no Slurm can be started here; empty where it can."""
    missing = [name for name in PROGRAMS if _program(name) is None]
    return f"{', '.join(missing)} not installed: apt-get install slurm-wlm munge" if missing else ""


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


@dataclass(frozen=True)
class Slurm:
    """A running cluster, to which `PATH` and `SLURM_CONF` lead commands.

    Its partitions `low` and, after a minute of grace, `graceful` give way to `high`.
    """

    folder: Path
    environment: dict[str, str]

    def call(self, *command: str) -> str:
        """What a Slurm command prints.

        Raises:
            RuntimeError: it fails.
        """
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=400, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr or done.stdout}")
        return done.stdout

    def queue(self) -> dict[str, str]:
        """The state of every job and array task in the queue, by `JOB` or `ARRAY_INDEX`."""
        lines = self.call("squeue", "--noheader", "--array", "--format=%i %T").splitlines()
        return dict(line.split(maxsplit=1) for line in lines)

    def logs(self) -> str:
        """The last words of the daemons, for a test that fails."""
        ends = [path.read_text(errors="replace")[-4000:] for path in sorted(self.folder.glob("*.log"))]
        return "\n---\n".join(ends)


_CONF = """
ClusterName=posestudy
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld}
SlurmdPort={d}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=1,sched_min_interval=200000
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PreemptExemptTime=0
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=20
InactiveLimit=0
MinJobAge=300
SlurmctldTimeout=60
SlurmdTimeout=60
MailProg=/bin/true
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} Sockets=1 CoresPerSocket={cpus} ThreadsPerCore=1 State=UNKNOWN
PartitionName=low Nodes={host} Default=YES PriorityTier=1 PreemptMode=REQUEUE MaxTime=INFINITE State=UP
PartitionName=graceful Nodes={host} PriorityTier=1 PreemptMode=REQUEUE GraceTime=60 MaxTime=INFINITE State=UP
PartitionName=high Nodes={host} PriorityTier=10 PreemptMode=OFF MaxTime=INFINITE State=UP
"""


@contextmanager
def running_slurm() -> Iterator[Slurm]:
    """A cluster of one node while the block runs."""
    # A socket's path may have no more than 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="posestudy-slurm-"))
    try:
        with ExitStack() as stack:
            yield _start(folder, stack)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path, stack: ExitStack) -> Slurm:
    for name in ("state", "spool"):
        (folder / name).mkdir()
    host = socket.gethostname().partition(".")[0]
    places = {"host": host, "folder": folder, "user": getpass.getuser(), "cpus": CPUS}
    conf = folder / "slurm.conf"
    conf.write_text(_CONF.format(**places, ctld=free_port(), d=free_port()))
    (folder / "cgroup.conf").write_text("")
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))},
        "SLURM_CONF": str(conf),
        "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin",
    }
    slurm = Slurm(folder, environment)
    munge = ["--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket"]
    munge += [f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log", f"--seed-file={folder}/munge.seed"]
    _daemon(stack, slurm, ["munged", *munge, "--num-threads=2"])
    _until(slurm, lambda: (folder / "munge.socket").exists(), "munged")
    _daemon(stack, slurm, ["slurmctld", "-D", "-f", str(conf)])
    _until(slurm, lambda: "UP" in slurm.call("scontrol", "ping"), "slurmctld")
    _daemon(stack, slurm, ["slurmd", "-D", "-f", str(conf), "-N", host])
    stack.callback(_empty, slurm)
    _until(slurm, lambda: slurm.call("sinfo", "-h", "-o", "%T").split()[:1] == ["idle"], "slurmd")
    return slurm


def _daemon(stack: ExitStack, slurm: Slurm, command: list[str]) -> None:
    program = _program(command[0])
    with (slurm.folder / f"{command[0]}.out.log").open("wb") as output:
        process = subprocess.Popen(
            [str(program), *command[1:]], env=slurm.environment, stdout=output, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL, cwd=slurm.folder,
        )  # fmt: skip
    stack.callback(_stop, process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(15)
        return
    process.kill()
    process.wait()


def _empty(slurm: Slurm) -> None:
    """End what still runs: job steps are no children of the daemons' and would outlive them."""
    with suppress(RuntimeError, subprocess.TimeoutExpired):
        for job in slurm.queue():
            slurm.call("scancel", "--signal=KILL", "--full", job)
            slurm.call("scancel", job)
        _until(slurm, lambda: not slurm.queue(), "scancel")


def _until(slurm: Slurm, condition: object, what: str) -> None:
    ends = time.monotonic() + SHORT_LIMIT_S
    while time.monotonic() < ends:
        with suppress(RuntimeError):
            if condition():  # type: ignore[operator]
                return
        time.sleep(0.1)
    raise RuntimeError(f"{what} did not get ready:\n{slurm.logs()}")


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    """One cluster for the tests of a module; skips, saying why, where it cannot be."""
    if reason := why_not():
        pytest.skip(reason)
    with running_slurm() as cluster:
        yield cluster
