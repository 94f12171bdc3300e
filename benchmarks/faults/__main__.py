"""The command line of the fault campaign."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy import inspect, select

from benchmarks.faults import standin_rounds
from benchmarks.faults.campaign import VICTIMS, Tally
from benchmarks.faults.planted import PLANTED
from posestudy.errors import PoseStudyError
from posestudy.ledger import schema
from posestudy.ledger.connection import Database


def main() -> int:
    """0 where nothing was lost; with `--plant`, 0 where the planted mistake was found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="kills of stand-in trials and their hosts")
    parser.add_argument("--mmpose-kills", type=int, default=20, help="further kills with MMPose on the drawn cats")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--database", help="URL of an empty PostgreSQL database; SQLite in a temporary home without")
    parser.add_argument("--plant", choices=sorted(PLANTED), default="", help="plant a mistake that must be found")
    parser.add_argument("--only", default="", help=f"choose only from these victims: {','.join(VICTIMS)}")
    parser.add_argument("--keep", type=Path, help="keep home, logs and witness in this folder")
    parser.add_argument("--quiet", action="store_true", help="do not print each fault")
    given = parser.parse_args()
    only = [name for name in given.only.split(",") if name]
    if unknown := set(only) - VICTIMS.keys():
        parser.error(f"no victims called {', '.join(sorted(unknown))}; there are {', '.join(VICTIMS)}")
    if min(given.kills, given.mmpose_kills) < 0:
        parser.error("--kills and --mmpose-kills: expected a number of at least 0")
    if given.database and (why := _unfit(given.database)):
        parser.error(f"--database: {why}")
    folder = given.keep or Path(tempfile.mkdtemp(prefix="posestudy-faults-"))
    tell = (lambda _: None) if given.quiet else (lambda line: print(line, flush=True))
    begun = time.monotonic()
    try:
        tally = standin_rounds.run(
            folder / "standin", given.database, given.kills, given.seed, plant=given.plant, only=only, tell=tell
        )
        _report("stand-in trials", tally, time.monotonic() - begun)
        found = bool(tally.violations)
        if given.mmpose_kills and not given.plant:
            from benchmarks.faults import real_rounds

            begun = time.monotonic()
            tally = real_rounds.run(folder / "mmpose", given.database, given.mmpose_kills, given.seed, tell=tell)
            _report("MMPose", tally, time.monotonic() - begun)
            found |= bool(tally.violations)
    finally:
        if given.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    return int(not found) if given.plant else int(found)


def _unfit(database: str) -> str:
    """Why the campaign cannot use the database, '' where it can: hosts would only wait for one that is away."""
    try:
        place = Database(database)
        try:
            # Its tables are left to the hosts, which make them at the same time.
            used = "study" in place.read(lambda c: inspect(c).get_table_names())
            used = used and place.read(lambda c: c.scalar(select(schema.study.c.id).limit(1))) is not None
        finally:
            place.close()
    except PoseStudyError as error:
        return str(error)
    return "found studies in it, expected an empty database" if used else ""


def _report(what: str, tally: Tally, seconds: float) -> None:
    kills = ", ".join(f"{count} {victim}" for victim, count in tally.kills.most_common())
    instants = ", ".join(f"{count} {instant}" for instant, count in tally.at_instants.most_common())
    print(f"{what}: {tally.total} kills ({kills}) and {tally.pauses} pauses in {tally.rounds} rounds, {seconds:.0f} s")
    print(f"  at chosen instants: {sum(tally.at_instants.values())} ({instants})")
    print(f"  violations: {len(tally.violations)}")
    for violation in tally.violations:
        print(f"    {violation}")


if __name__ == "__main__":
    sys.exit(main())
