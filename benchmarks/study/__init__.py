"""A whole study, ours against what a user would do instead: `python -m benchmarks.study`."""
