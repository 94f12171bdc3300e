"""docker-compose.yml as an engine reads it: variables put in, merge keys resolved."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker-compose.yml"

_VARIABLE = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<rule>:?[-+?])?")


def interpolate(text: str, environment: Mapping[str, str]) -> str:
    """`text` with `$$`, `$NAME`, `${NAME}`, `${NAME:-else}`, `${NAME:+then}` replaced, nested ones too."""
    done, position = "", 0
    while (start := text.find("$", position)) >= 0:
        done += text[position:start]
        if text[start + 1] == "$":
            done, position = done + "$", start + 2
        elif text[start + 1] == "{":
            end = _closing(text, start + 1)
            done, position = done + _value(text[start + 2 : end], environment), end + 1
        else:
            found = _VARIABLE.match(text, start + 1)
            assert found is not None, text
            done, position = done + environment.get(found["name"], ""), found.end("name")
    return done + text[position:]


def _closing(text: str, opening: int) -> int:
    depth = 0
    for position in range(opening, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return position
    raise AssertionError(f"a brace is open in {text}")


def _value(inner: str, environment: Mapping[str, str]) -> str:
    found = _VARIABLE.match(inner)
    assert found is not None, inner
    rest = inner[found.end() :]
    value = environment.get(found["name"], "")
    match found["rule"]:
        case None:
            assert not rest, inner
            return value
        case ":-":
            return value or interpolate(rest, environment)
        case ":+":
            return interpolate(rest, environment) if value else ""
        case rule:
            raise AssertionError(f"{rule} in {inner}: a missing variable of one profile would stop every other")


def _put_in(node: Any, environment: Mapping[str, str]) -> Any:
    if isinstance(node, str):
        return interpolate(node, environment)
    if isinstance(node, dict):
        return {key: _put_in(value, environment) for key, value in node.items()}
    if isinstance(node, list):
        return [_put_in(value, environment) for value in node]
    return node


@functools.cache
def _document() -> Any:
    return YAML(typ="safe").load(FILE.read_text(encoding="utf-8"))


def compose(environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The whole file as data, with variables from `environment` alone."""
    return _put_in(_document(), environment or {})


def services(environment: Mapping[str, str] | None = None) -> dict[str, dict[str, Any]]:
    return compose(environment)["services"]


def split_mount(mount: str) -> tuple[str, str, bool]:
    """`SOURCE:TARGET[:ro]` as source, target and whether it is read-only."""
    parts = mount.split(":")
    return parts[0], parts[1], parts[2:] == ["ro"]
