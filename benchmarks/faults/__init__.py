"""A fault campaign: trials of a real pool on a real ledger are killed, frozen and cut from power, and nothing is lost.

    python -m benchmarks.faults --kills 200 --seed 0 [--database URL] [--mmpose-kills 20]

`docs/faults.md` says what is done and what is checked.
"""
