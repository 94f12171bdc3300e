"""Start and end of a trial, ours against stock MMPose: `python -m benchmarks.start`."""
