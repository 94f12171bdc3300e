"""`python -m benchmarks.start`; each trial process imports this module anew, so nothing else is imported here."""

from __future__ import annotations

if __name__ == "__main__":
    from benchmarks.start.measure import main

    main()
