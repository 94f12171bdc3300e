"""What a command says of itself, read from its source: to list all commands none of them needs to be imported."""

from __future__ import annotations

import ast
import re
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path


def summary(entry: EntryPoint) -> str | None:
    """The docstring of the function, or the `help` of the Typer app, that `entry` names at the top of its module.

    None where that cannot be told from the source alone: a name that is imported from elsewhere, a module without
    source, a help that is computed.
    """
    try:
        tree = ast.parse(_statement(_source(entry.module), entry.attr))
    except (OSError, SyntaxError, ValueError, ImportError):
        return None
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            return ast.get_docstring(node)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            return _help(node.value)
    return None


def _source(module: str) -> str:
    # Not `find_spec` of the module itself, which would import the packages that it lies in.
    package, *parts = module.split(".")
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"{package} is no package with source files")
    place = Path(spec.submodule_search_locations[0], *parts)
    file = place / "__init__.py" if place.is_dir() else place.with_name(f"{place.name}.py")
    return file.read_text(encoding="utf-8")


def _statement(source: str, name: str) -> str:
    """The source of the function or assignment `name`; parsing whole modules would take longer than all else."""
    named = re.escape(name)
    found = re.search(rf"^(?:def {named}\(|{named} = ).*?(?=^[^\s)#]|\Z)", source, re.MULTILINE | re.DOTALL)
    return found[0] if found else ""


def _help(call: ast.Call) -> str | None:
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    text = given.get("help")
    return text.value if isinstance(text, ast.Constant) and isinstance(text.value, str) else None
