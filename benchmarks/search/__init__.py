"""What a search spends to find a good configuration: `python -m benchmarks.search.fit` makes its surrogates."""
