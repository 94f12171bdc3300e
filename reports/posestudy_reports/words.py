"""How numbers, levels, times and outcomes are put in words, the same in every format."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from posestudy.vocabulary import Metric, Outcome
from posestudy_studies import factors

MINUS: Final = "\u2212"
DASH: Final = "\u2013"
ARROW: Final = "\u2192"
TIMES: Final = "\u00d7"

OUTCOMES: Final[Mapping[Outcome, str]] = {
    Outcome.COMPLETED: "completed",
    Outcome.PRUNED: "pruned",
    Outcome.OUT_OF_MEMORY: "out of memory",
    Outcome.DIVERGED: "diverged",
    Outcome.NOT_CONVERGED: "not converged",
    Outcome.TIMED_OUT: "timed out",
    Outcome.FAILED: "failed",
    Outcome.CANCELLED: "cancelled",
}

# The groups that only sort the study file: a table says `lr`, not `optimizer.lr`.
_GROUPS: Final = frozenset({"augmentation", "evaluation", "optimizer", "schedule"})


def score(value: float, metric: Metric) -> str:
    """A value of the metric, with as many decimals as it is given in; a dash for what is no number."""
    if not math.isfinite(value):
        return DASH
    text = f"{value:.{decimals(metric)}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", MINUS)


def header(metric: Metric) -> str:
    """A column's header: `AP`, `EPE [px]`."""
    return f"{metric.short} [{metric.unit}]" if metric.unit != "1" else metric.short


def decimals(metric: Metric) -> int:
    return metric.decimals


def precise(value: float, metric: Metric) -> str:
    """A small positive number with two digits that count, as long as they are among the first six decimals; of others
    as `score`."""
    if not math.isfinite(value) or value <= 0:
        return score(value, metric)
    digits = 1 - math.floor(math.log10(value))
    return f"{value:.{min(6, max(decimals(metric), digits))}f}"


def difference(value: float, metric: Metric) -> str:
    """A signed difference; one that rounds to zero has no sign. A dash for what is no number."""
    if not math.isfinite(value):
        return DASH
    text = f"{value:+.{decimals(metric)}f}"
    return text[1:] if float(text) == 0 else text.replace("-", MINUS)


def duration(seconds: float) -> str:
    """`48 s`, `7 min 03 s` or `2 h 05 min`; a dash for what no clock can have measured."""
    if not math.isfinite(seconds) or seconds < 0:
        return DASH
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def factor(name: str) -> str:
    """A factor's short name: `optimizer.lr` is `lr`, `optimizer.type` the optimizer, `augmentation.half_body` is
    `half body`."""
    first, _, rest = name.partition(".")
    if rest == "type":
        return first.replace("_", " ")
    short = rest if rest and first in _GROUPS else name
    return short.replace(".", " ").replace("_", " ")


def level(value: Any, name: str = "") -> str:
    """A level as a table shows it: `5e-4`, `on`, `prob 0.5`; for a factor `name` that is a size `64x64` with a times
    sign, and of a web address its last part."""
    if value is None or value is False:
        return "off"
    if value is True:
        return "on"
    if isinstance(value, float):
        if not math.isfinite(value):
            return "not finite"
        value = float(f"{value:.6g}") + 0.0  # no minus before a zero
        # Below a hundredth as the students write rates: 5e-4, not 0.0005.
        plain = f"{value:g}" if value == 0 or abs(value) >= 0.01 else f"{value:.5e}"
        mantissa, e, exponent = plain.partition("e")
        mantissa = mantissa.rstrip("0").rstrip(".") if e else mantissa
        return f"{mantissa}e{int(exponent)}" if e else mantissa
    if isinstance(value, Mapping):
        value = factors.told(value, name)
        if isinstance(value, str):
            return value
        return ", ".join(f"{factor(str(k))} {level(v, str(k))}" for k, v in value.items() if v is not None) or "on"
    if isinstance(value, Sequence) and not isinstance(value, str):
        parts = [level(v) for v in value]
        return TIMES.join(parts) if name.endswith("_size") else f"[{', '.join(parts)}]"
    text = str(value)
    return text.rstrip("/").rpartition("/")[2] if text.startswith(("http://", "https://")) else text


def levels(chosen: Mapping[str, Any]) -> str:
    """`sigma 1.5, lr 0.003`; empty for a baseline."""
    return ", ".join(f"{factor(name)} {level(value, name)}" for name, value in chosen.items())


def quoted(name: str) -> str:
    return f"\u201c{name}\u201d"


def count(number: int, noun: str) -> str:
    """`1 trial`, `2 trials`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def listing(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1] if parts else ""
