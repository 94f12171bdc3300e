"""A batch system of one machine: `python queue_daemon.py FOLDER [refuse N]` takes a job script on its standard input.

Each job runs in the background, in a session of its own, as one does that outlives whoever submitted it. FOLDER then
holds `N.pid`, `N.out` and, once it ended, `N.code`. With `refuse N` the Nth submission is refused.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def main(folder: Path, refused: int) -> int:
    folder.mkdir(exist_ok=True)
    script = sys.stdin.read()
    number = len(list(folder.glob("*.sh"))) + 1
    job = folder / f"{number}.sh"
    job.write_text(script)
    if number == refused:
        print("queue course: over the limit of jobs", file=sys.stderr)
        return 3
    command = f"bash {job} >{folder}/{number}.out 2>&1; echo $? >{folder}/{number}.code"
    # The batch system gives a job little of the environment it was submitted from.
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH", "OMP_NUM_THREADS") if name in os.environ}
    process = subprocess.Popen(
        ["setsid", "bash", "-c", command], env=kept, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    (folder / f"{number}.pid").write_text(str(process.pid))
    print(f"Job <{number}> is submitted to queue <course>.")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[3]) if sys.argv[2:] else 0))
