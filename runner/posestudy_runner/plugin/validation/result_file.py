"""The file of results that CocoMetric writes at every validation, byte for byte, by json's fast encoder.

With `indent` json takes an encoder in Python, which was the longest single step of a validation of a small network.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from mmengine.fileio import put_text
from mmengine.fileio.handlers.json_handler import set_default
from mmpose.evaluation.metrics import coco_metric

_LAYOUT = {"sort_keys": True, "indent": 4}
"""How CocoMetric lays its file out."""
_FLAT = json.JSONEncoder(separators=(",\n" + 12 * " ", ": "), default=set_default)
"""Encodes a list of numbers that lies at the third level."""


@contextmanager
def writing_results() -> Iterator[None]:
    """Have every CocoMetric write its results by `indented` meanwhile."""
    stock = coco_metric.dump

    def dump(results: Any, file: Any = None, *arguments: Any, **options: Any) -> Any:
        """MMEngine's `dump`."""
        text = indented(results) if options == _LAYOUT and not arguments and str(file).endswith(".json") else None
        if text is None:
            return stock(results, file, *arguments, **options)
        put_text(text, file)
        return None

    coco_metric.dump = dump
    try:
        yield
    finally:
        coco_metric.dump = stock


def indented(results: Any) -> str | None:
    """`json.dumps(results, sort_keys=True, indent=4)` of a list of mappings from strings to numbers, strings and lists
    of numbers; None for anything else."""
    if not isinstance(results, list) or not results:
        return None
    rows = [_row(result) for result in results]
    return None if None in rows else "[\n" + ",\n".join(row for row in rows if row is not None) + "\n]"


def _row(result: Any) -> str | None:
    if not isinstance(result, Mapping) or not result:
        return None
    items: list[str] = []
    for name in sorted(result):
        text = _value(result[name])
        if text is None or not isinstance(name, str):
            return None
        items.append(f"{json.dumps(name)}: {text}")
    return "    {\n        " + ",\n        ".join(items) + "\n    }"


def _value(value: Any) -> str | None:
    text = _FLAT.encode(value)
    if not isinstance(value, Sequence) or isinstance(value, str):
        return None if text[0] in "[{" else text
    if not value:
        return text
    # Of numbers alone.
    return None if any(mark in text[1:] for mark in '[{"') else f"[\n{12 * ' '}{text[1:-1]}\n{8 * ' '}]"
