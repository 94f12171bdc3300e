"""Validation in batches: the stock loop's hooks, predictions and metrics, without doing anything twice."""
