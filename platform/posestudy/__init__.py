"""posestudy: the ablation platform for 2D pose estimation.

This package is the platform: vocabulary, errors, settings, the ledger and its projections, the command line.
It imports no other part; `posestudy_studies`, `posestudy_runner` and `posestudy_reports` build on it, in that order.
"""

__version__ = "0.1.0"
