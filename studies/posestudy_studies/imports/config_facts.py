"""What a dumped MMPose config says of its run, read as text: a config from elsewhere is never executed."""

from __future__ import annotations

import ast
from typing import Any

from posestudy_studies.imports.logged_run import MAX_COUNT, Facts


def facts(text: str) -> Facts:
    """Epochs and seed in the Python source of a config of MMPose 1.x (`train_cfg`, `randomness`) or 0.x."""
    try:
        module = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return Facts()
    values: dict[str, Any] = {}
    for node in module.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            values[node.targets[0].id] = _plain(node.value)
    epochs = [_entry(values.get("train_cfg"), "max_epochs"), values.get("total_epochs")]
    epochs.append(_entry(values.get("runner"), "max_epochs"))
    seeds = [_entry(values.get("randomness"), "seed"), values.get("seed")]
    return Facts(max_epochs=_first(epochs, 1), seed=_first(seeds, 0))


def _plain(node: ast.expr) -> Any:
    """The value of a constant or of `dict(...)` or `{...}` of them; None for anything else."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        return {k.arg: _plain(k.value) for k in node.keywords if k.arg is not None}
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return {_plain(key): _plain(value) for key, value in pairs if isinstance(key, ast.Constant)}
    return None


def _entry(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _first(values: list[Any], least: int) -> int | None:
    return next((v for v in values if isinstance(v, int) and not isinstance(v, bool) and least <= v < MAX_COUNT), None)
