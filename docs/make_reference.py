"""Write docs/reference from the code (`make reference`); a test checks that it is up to date."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import posestudy_reports
from posestudy.commands.app import build
from posestudy_reports import tables, writers
from posestudy_reports.report import StudyReport
from posestudy_reports.writers.contract import WriterContract
from posestudy_runner import engines
from posestudy_runner.engines.contract import EngineContract
from posestudy_runner.preset_contract import PresetContract
from posestudy_studies import presets
from posestudy_studies.designs import base, registry
from posestudy_studies.designs.contract import DesignContract
from posestudy_studies.editor_schema import schema

FOLDER = Path(__file__).parent / "reference"
NOTICE = "<!-- Written by docs/make_reference.py; edit the docstrings instead. -->\n"


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _parameter(parameter: Any) -> str:
    names = ", ".join(f"`{n}`" for n in (*parameter.opts, *parameter.secondary_opts))
    if parameter.param_type_name == "argument":
        names = f"`{parameter.metavar or parameter.name.upper()}`"
    default = parameter.default
    shown = f" Default: `{default}`." if default not in (None, False, "", (), []) and not parameter.required else ""
    return f"| {names} | {_cell(parameter.help or '')}{_cell(shown)} |"


def command_line() -> str:
    """Every command with its arguments and options, in Markdown."""
    lines = [
        NOTICE,
        "# Command line\n",
        "`posestudy [--home DIR] [--debug] COMMAND ...`. Exit codes: 0 done, 1 a trial",
    ]
    lines += ["`failed` or cells are still open, 2 bad input.\n"]
    for entry in sorted(entry_points(group="posestudy.commands"), key=lambda e: e.name):
        lines += _command(entry.name, build(entry.name, entry.load()))
    return "\n".join(lines)


def _command(name: str, command: Any) -> Iterator[str]:
    yield f"## posestudy {name}\n"
    yield f"{(command.help or '').strip()}\n"
    if hasattr(command, "commands"):
        for inner, subcommand in command.commands.items():
            yield from _command(f"{name} {inner}", subcommand)
        return
    yield "| option | meaning |"
    yield "|---|---|"
    yield from (_parameter(p) for p in command.params if p.name != "help")
    yield ""


def _type(node: dict[str, Any]) -> str:
    if "$ref" in node:
        name = node["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if "enum" in node:
        return ", ".join(f"`{_yaml(v)}`" for v in node["enum"])
    if "const" in node:
        return f"`{_yaml(node['const'])}`"
    for group in ("anyOf", "oneOf"):
        if group in node:
            return " or ".join(dict.fromkeys(_type(n) for n in node[group]))
    kind = str(node.get("type", "value"))
    if kind == "array":
        return f"list of {_type(node['items'])}" if "items" in node else "list"
    bounds = [f"{sign} {node[key]}" for key, sign in _BOUNDS.items() if key in node]
    return f"{kind} {', '.join(bounds)}".strip()


_BOUNDS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}


def _yaml(value: object) -> str:
    """`value` as a study file says it: `null`, `true`, `[0.5, 1.5]`; text without quotes."""
    return value if isinstance(value, str) else json.dumps(value)


def _model(name: str, model: dict[str, Any]) -> Iterator[str]:
    yield f"## {name}\n"
    yield f"{model.get('description', '')}\n"
    if not model.get("properties"):
        return
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    for key, node in model["properties"].items():
        required = key in model.get("required", ())
        default = "required" if required else f"`{_yaml(node['default'])}`" if node.get("default", "") != "" else ""
        meaning = _cell(node.get("description", ""))
        yield f"| `{key}` | {_cell(_type(node))} | {_cell(default)} | {meaning} |"
    yield ""


def study_file() -> str:
    """Every model of the study file, in Markdown."""
    document = schema()
    lines = [NOTICE, "# The study file, key by key\n"]
    lines += _model("Study", document)
    for name, model in sorted(document.get("$defs", {}).items()):
        lines += _model(name, model)
    return "\n".join(lines)


_DOCUMENTED = re.compile(r"[;,:]? ?`([\w.]+)\.([A-Z_]+)` documents (the columns|them)")


def frames() -> str:
    """Every frame of a report with its columns, in Markdown."""
    lines = [
        NOTICE,
        "# Frames and their columns\n",
        "Frames of `report = posestudy_reports.open(STUDY)`, see [notebook](../notebook.md). Columns keep",
        "their names; later versions may add some. What is not known is missing, never zero.\n",
    ]
    for name, found in vars(StudyReport).items():
        if isinstance(found, cached_property) and found.func.__annotations__["return"] == "pd.DataFrame":
            text = " ".join(inspect.getdoc(found.func).split())  # type: ignore[union-attr]
            lines += [f"## report.{name}\n", _DOCUMENTED.sub("", text) + "\n"]
            documented = _DOCUMENTED.search(text)
            if documented:
                lines += _columns(getattr(importlib.import_module(documented[1]), documented[2]))
            if name == "frame":
                lines += [
                    "After them one column `factor.NAME` per factor of the study: its resolved level, in words.\n"
                ]
    return "\n".join(lines)


def _columns(columns: Mapping[str, str]) -> Iterator[str]:
    yield "| column | what it holds |"
    yield "|---|---|"
    yield from (f"| `{name}` | {_cell(meaning)} |" for name, meaning in columns.items())
    yield ""


_PYTHON: dict[str, tuple[Any, ...]] = {
    f"Designs: entry points of `{registry.GROUP}`": (
        base.Design, base.Proposal, base.Probe, base.View, DesignContract,
    ),
    f"Presets: entry points of `{presets.GROUP}`": (presets.Preset, PresetContract),
    f"Engines: entry points of `{engines.GROUP}`": (
        engines.Engine, engines.Placement, engines.Ended, EngineContract,
    ),
    f"Formats: entry points of `{writers.GROUP}`": (
        StudyReport, tables.Table, tables.Column, tables.Row, tables.Entry, WriterContract,
    ),
    "Reading results": (posestudy_reports.open,),
}  # fmt: skip
"""What a page about extending posestudy may name, by heading."""


def python() -> str:
    """The names for those who extend posestudy or read its results, in Markdown."""
    lines = [NOTICE, "# Python names for extension\n", "[Extending](../extending.md) has an example of each.\n"]
    for heading, objects in _PYTHON.items():
        lines += [f"## {heading}\n"]
        for found in objects:
            lines += _described(found)
    return "\n".join(lines)


def _described(found: Any) -> Iterator[str]:
    yield f"### {found.__name__}\n"
    yield f"`{found.__module__}.{found.__qualname__}`\n"
    if inspect.isfunction(found):
        yield f"```python\n{_signature(found)}\n```\n"
    text, attributes = _attributes(inspect.getdoc(found) or "")
    yield _prose(text)
    if isinstance(found, type) and (rows := [*_fields(found, attributes), *_methods(found)]):
        yield "| name | meaning |"
        yield "|---|---|"
        yield from (f"| `{_code(name)}` | {_cell(meaning)} |" for name, meaning in rows)
        yield ""


def _attributes(text: str) -> tuple[str, dict[str, str]]:
    """A docstring without what stands under `Attributes:`, and that by name."""
    before, _, after = text.partition("Attributes:\n")
    listed, _, rest = after.partition("\n\n")
    found: dict[str, str] = {}
    for line in listed.splitlines():
        if re.match(r" {4}\w+: ", line):
            name, _, meaning = line.strip().partition(": ")
            found[name] = meaning
        elif line.strip():
            found[name] += " " + line.strip()
    return f"{before}{rest}".strip(), found


def _fields(found: type, attributes: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The fields of the class itself, in order, with what is said of them."""
    if issubclass(found, Enum):
        yield from ((item.name, str(item.value)) for item in found)
        return
    described = {name: field.description for name, field in getattr(found, "model_fields", {}).items()}
    for name, annotation in vars(found).get("__annotations__", {}).items():
        if not name.startswith("_"):
            yield f"{name}: {annotation}", attributes.get(name) or described.get(name) or ""


def _methods(found: type) -> Iterator[tuple[str, str]]:
    """The public methods and properties of the class itself, in order, each with the first paragraph about it."""
    for name, member in vars(found).items():
        function = getattr(member, "func", None) or getattr(member, "fget", None) or member
        if not inspect.isfunction(function) or (name.startswith("_") and name != "__call__"):
            continue
        is_called = function is member and not name.startswith("test_")
        text = _DOCUMENTED.sub("", " ".join((function.__doc__ or "").split("\n\n")[0].split()))
        yield (_signature(function) if is_called else name), text


def _signature(function: Any) -> str:
    """The call with its annotations as they are written."""
    given = inspect.signature(function)
    shown = given.replace(parameters=[p for p in given.parameters.values() if p.name != "self"])
    return f"{function.__name__}{shown}".replace("'", "")


def _code(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _prose(text: str) -> str:
    """A docstring in Markdown: what stands under `Args:` and the like as a list, examples as code."""
    lines: list[str] = []
    inside = False
    for line in text.splitlines():
        if re.fullmatch(r"(Args|Returns|Raises):", line):
            inside = True
            lines += [line, ""]
        elif inside and re.match(r" {4}\S", line):
            name, colon, meaning = line.strip().partition(": ")
            lines.append(f"- `{name}`: {meaning}" if colon else f"- {line.strip()}")
        elif inside and line.startswith(" "):
            lines.append(f"  {line.strip()}")
        elif line.startswith(">>> "):
            lines.append("    " + re.sub(r" *# doctest:.*", "", line))
        else:
            inside = False
            lines.append(line)
    return "\n".join(lines) + "\n"


def pages() -> dict[Path, str]:
    """Each file of the reference with the text it must have."""
    made = {"command_line": command_line, "study_file": study_file, "frames": frames, "python": python}
    return {FOLDER / f"{name}.md": page() for name, page in made.items()}


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
