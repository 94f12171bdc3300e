"""Projections: MLflow and Optuna's tables as copies of the ledger that can be deleted and rebuilt at any time."""
