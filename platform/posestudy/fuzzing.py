"""Seeded damage for tests of bad input: to bytes, to the data in a file; and how many examples a test draws."""

from __future__ import annotations

import copy
import os
import random
import string
from collections.abc import Callable, Iterator
from typing import Any

EXAMPLES = "POSESTUDY_FUZZ_EXAMPLES"
"""Environment variable: examples of every such test, in place of the few that a usual run draws."""

Path = tuple[str | int, ...]

NUMBERS: tuple[Any, ...] = (
    0, -1, 1, 0.0, -0.5, 1.5, 1e-320, 1e300, -1e300, 2**31, 2**63, 2**64, -(2**63), 10**30, float("nan"), float("inf"),
    float("-inf"),
)  # fmt: skip
TEXTS: tuple[str, ...] = (
    "", " ", "0", "1", "-1", "1e5", "nan", "true", "null", "none", "ä", "\u202e", "\U0001f431", "\x00", "\n",
    "a" * 5000, "../x", "/etc/passwd", "~", "~nobody", "a/b", "a\\b", "C:\\x", "://", "http://", "torchvision://", "torchvision://x",
    "<script>", "%s", "{0}", "$(x)", "a.b", ".", "..", "\ud800".encode("utf-8", "replace").decode(), "config", "label",
    "coco", "best", "baseline",
)  # fmt: skip


def examples(few: int) -> int:
    """`few`, or what `POSESTUDY_FUZZ_EXAMPLES` says."""
    return int(os.environ.get(EXAMPLES) or few)


def derandomized() -> bool:
    """Whether every run draws the same examples; not where many were asked for."""
    return EXAMPLES not in os.environ


def damaged(raw: bytes, chance: random.Random) -> bytes:
    """`raw` cut off, with bytes overwritten, taken out or put in, or other bytes altogether."""
    kind = chance.randrange(7)
    at = chance.randrange(len(raw) + 1)
    length = chance.choice((1, 1, 2, 8, 64))
    noise = bytes(chance.randrange(256) for _ in range(length))
    if kind == 0:
        return raw[:at]
    if kind == 1:
        return raw[:at] + noise + raw[at + length :]
    if kind == 2:
        return raw[:at] + raw[at + length :]
    if kind == 3:
        return raw[:at] + noise + raw[at:]
    if kind == 4:
        return raw[at:]
    if kind == 5:
        return raw[:at] + bytes(length) + raw[at + length :]
    if raw and chance.random() < 0.8:
        at = min(at, len(raw) - 1)
        return raw[:at] + bytes([raw[at] ^ (1 << chance.randrange(8))]) + raw[at + 1 :]
    return noise


def places(data: Any, path: Path = ()) -> Iterator[Path]:
    """Every path in nested dicts and lists but the root's own."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def at(data: Any, path: Path) -> Any:
    """What stands at `path`."""
    for part in path:
        data = data[part]
    return data


def odd_value(chance: random.Random) -> Any:
    """Something that hardly any place expects."""
    kind = chance.randrange(6)
    if kind == 0:
        return chance.choice(NUMBERS)
    if kind == 1:
        return chance.choice(TEXTS)
    if kind == 2:
        return chance.choice((True, False, None))
    if kind == 3:
        return [odd_value(chance) for _ in range(chance.randrange(4))]
    if kind == 4:
        return {chance.choice(TEXTS): odd_value(chance) for _ in range(chance.randrange(3))}
    return "".join(chance.choices(string.printable, k=chance.randrange(12)))


def misspelt(word: str, chance: random.Random) -> str:
    """`word` with one letter missing, doubled, exchanged or swapped."""
    if not word:
        return "x"
    at = chance.randrange(len(word))
    kind = chance.randrange(4)
    if kind == 0:
        return word[:at] + word[at + 1 :]
    if kind == 1:
        return word[: at + 1] + word[at:]
    if kind == 2:
        return word[:at] + chance.choice(string.ascii_lowercase) + word[at + 1 :]
    return word[:at] + word[at + 1 : at + 2] + word[at : at + 1] + word[at + 2 :]


def mutated(document: Any, chance: random.Random, times: int = 1) -> tuple[Any, list[tuple[str, Path]]]:
    """A changed copy of nested data, and what was done where: `(kind, path)`.

    Kinds: `delete`, `rename` (a key misspelt), `value` (something odd), `swap` (two values exchanged), `wrap` (a value
    put into a list), `repeat` (an entry of a list twice), `misspell` (a text), `scale` (a number).
    """
    data: Any = copy.deepcopy(document)
    done: list[tuple[str, Path]] = []
    for _ in range(times):
        every = list(places(data))
        if not every:
            return odd_value(chance), [*done, ("value", ())]
        path = chance.choice(every)
        done.append((_change(data, path, every, chance), path))
    return data, done


def _change(data: Any, path: Path, every: list[Path], chance: random.Random) -> str:
    holder, key = at(data, path[:-1]), path[-1]
    value = holder[key]
    kind = chance.choice(("delete", "rename", "value", "value", "swap", "wrap", "repeat", "misspell", "scale"))
    if kind == "delete":
        del holder[key]
    elif kind == "rename" and isinstance(holder, dict):
        items = [(misspelt(str(k), chance) if k == key else k, v) for k, v in holder.items()]
        holder.clear()
        holder.update(items)
    elif kind == "swap":
        other = chance.choice(every)
        if other[: len(path)] == path or path[: len(other)] == other:
            holder[key] = odd_value(chance)
            return "value"
        there = at(data, other[:-1])
        holder[key], there[other[-1]] = there[other[-1]], value
    elif kind == "wrap":
        holder[key] = chance.choice(([value], {"x": value}, [value, value]))
    elif kind == "repeat" and isinstance(holder, list):
        holder.insert(int(key), copy.deepcopy(value))
    elif kind == "misspell" and isinstance(value, str):
        holder[key] = misspelt(value, chance)
    elif kind == "scale" and isinstance(value, (int, float)) and not isinstance(value, bool):
        holder[key] = value * chance.choice((-1, 0, 0.5, 1000, 1e9, 1e30))
    else:
        holder[key] = odd_value(chance)
        return "value"
    return kind


def drawn(few: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator that calls a test with `seed`, a whole number: a `few` times with seeds that are always the same, or
    with as many others as `POSESTUDY_FUZZ_EXAMPLES` says; a failure names its seed."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st

    phases = (Phase.explicit, Phase.generate)  # a smaller seed is no simpler one
    options = settings(
        max_examples=examples(few), derandomize=derandomized(), deadline=None, database=None, phases=phases,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    return lambda test: options(given(seed=st.integers(0, 2**63))(test))
