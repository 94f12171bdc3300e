"""What posestudy adds to MMPose, as a package of its own that needs no posestudy, and what is in it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from posestudy.errors import PoseStudyError

PACKAGE: Final = "pose_plugin"
_PLUGIN: Final = "posestudy_runner.plugin"
_ROOTS: Final = ("posestudy", "posestudy_runner", "posestudy_studies", "posestudy_reports")
_IMPORT_OF_PART: Final = re.compile(r"from posestudy_runner import (\w+)")
_INSTALLERS: Final = ("install", "understand_official_checkpoints")


@dataclass(frozen=True)
class Registered:
    """A class that MMPose finds by its name in a config: the module of the package it is in, and what it is for."""

    name: str
    module: str
    purpose: str


@dataclass(frozen=True)
class Patch:
    """A function that changes something of MMPose or beside it when the package is imported, and why."""

    name: str
    module: str
    reason: str


def vendored() -> dict[str, bytes]:
    """The package's files by path, `pose_plugin/...`.

    Raises:
        PoseStudyError: the plugin imports of posestudy what cannot stand on its own.
    """
    names = {module: _new_name(module) for module in _modules()}
    if len(set(names.values())) != len(names):
        raise PoseStudyError("two modules of the plugin would have one name; please report this mistake in posestudy")
    written = {}
    for module, name in names.items():
        path = f"{PACKAGE}/__init__.py" if module == _PLUGIN else f"{name.replace('.', '/')}.py"
        written[path] = _moved(_source(module), names).encode()
    return dict(sorted(written.items()))


def registered() -> tuple[Registered, ...]:
    """Every class of the package that a config names by `type`, in order of module and place."""
    return tuple(
        Registered(node.name, _new_name(module), _first_sentence(node))
        for module in _modules()
        for node in ast.parse(_source(module)).body
        if isinstance(node, ast.ClassDef) and any("register_module" in ast.dump(d) for d in node.decorator_list)
    )


def patches() -> tuple[Patch, ...]:
    """Everything that importing the package changes, in the order of the modules and of the calls in each."""
    found = []
    for module in _modules():
        functions = {n.name: n for n in ast.parse(_source(module)).body if isinstance(n, ast.FunctionDef)}
        for name in _INSTALLERS:
            if name in functions:
                called = [functions[c] for c in _calls(functions[name]) if c in functions] or [functions[name]]
                found += [Patch(f.name, _new_name(module), _reason(f)) for f in dict.fromkeys(called)]
    return tuple(found)


def types_in(config: Any) -> frozenset[str]:
    """Every `type` that a config names, at any depth, without a scope before it."""
    return frozenset(str(name).rpartition(".")[2] for name in _types(config))


def _types(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        if "type" in value:
            yield value["type"]
        for item in value.values():
            yield from _types(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _types(item)


@cache
def _modules() -> tuple[str, ...]:
    """The plugin and every module of posestudy's that it imports, directly or not, by name."""
    seen: dict[str, None] = {}
    waiting = [_PLUGIN]
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen[module] = None
        waiting += [name for name in _imported(_source(module)) if name not in _ROOTS and _file(name)]
    return tuple(sorted(seen))


def _imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in _ROOTS:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in _ROOTS)


@cache
def _file(module: str) -> Path | None:
    """The source of a module of posestudy's, found without importing it, which would load torch; None: no module."""
    root, _, rest = module.partition(".")
    spec = find_spec(root)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        place = Path(folder, *rest.split(".")) if rest else Path(folder)
        for file in (place / "__init__.py", place.with_suffix(".py")):
            if file.is_file():
                return file
    return None


@cache
def _source(module: str) -> str:
    file = _file(module)
    if file is None:
        raise PoseStudyError(f"the source of {module} is not there; expected posestudy installed with its sources")
    return file.read_text(encoding="utf-8")


def _new_name(module: str) -> str:
    return PACKAGE if module == _PLUGIN else f"{PACKAGE}.{module.rpartition('.')[2]}"


def _moved(source: str, names: Mapping[str, str]) -> str:
    """`source` with the modules under their new names, in imports and in what it says of them."""

    def part(found: re.Match[str]) -> str:
        name = found[1]
        if name == "plugin":
            return f"import {PACKAGE} as plugin"
        return f"from {PACKAGE} import {name}"

    source = _IMPORT_OF_PART.sub(part, source)
    for module in sorted(names, key=len, reverse=True):
        source = re.sub(rf"\b{re.escape(module)}\b", names[module], source)
    left = list(_imported(source))
    if left:
        raise PoseStudyError(f"the plugin needs {left[0]}, which cannot be handed on; please report this mistake")
    return source


def _calls(function: ast.FunctionDef) -> list[str]:
    calls = (node.func for node in ast.walk(function) if isinstance(node, ast.Call))
    return [func.id for func in calls if isinstance(func, ast.Name)]


def _first_sentence(node: ast.ClassDef | ast.FunctionDef) -> str:
    text = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
    return text.partition(". ")[0].rstrip(".") + "." if text else ""


def _reason(node: ast.FunctionDef) -> str:
    return _first_sentence(node).removeprefix("Trap: ")
