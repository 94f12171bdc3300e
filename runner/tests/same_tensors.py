"""Nested checkpoints held against each other, bit for bit."""

from __future__ import annotations

from typing import Any

import torch


def assert_equal_tensors(left: Any, right: Any) -> None:
    if isinstance(left, torch.Tensor):
        assert torch.equal(left, right)
    elif isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_equal_tensors(left[key], right[key])
    elif isinstance(left, list):
        for a, b in zip(left, right, strict=True):
            assert_equal_tensors(a, b)
    else:
        assert left == right
