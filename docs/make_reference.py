"""Write docs/reference from the code (`make reference`); a test checks that it is up to date."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from posestudy.commands.app import build
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
        return ", ".join(f"`{v}`" for v in node["enum"])
    if "const" in node:
        return f"`{node['const']}`"
    for group in ("anyOf", "oneOf"):
        if group in node:
            return " or ".join(dict.fromkeys(_type(n) for n in node[group]))
    kind = str(node.get("type", "value"))
    if kind == "array":
        return f"list of {_type(node['items'])}" if "items" in node else "list"
    bounds = [f"{sign} {node[key]}" for key, sign in _BOUNDS.items() if key in node]
    return f"{kind} {', '.join(bounds)}".strip()


_BOUNDS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}


def _model(name: str, model: dict[str, Any]) -> Iterator[str]:
    yield f"## {name}\n"
    yield f"{model.get('description', '')}\n"
    if not model.get("properties"):
        return
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    for key, node in model["properties"].items():
        required = key in model.get("required", ())
        default = "required" if required else f"`{node.get('default')}`" if "default" in node else ""
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


def pages() -> dict[Path, str]:
    """Each file of the reference with the text it must have."""
    return {FOLDER / "command_line.md": command_line(), FOLDER / "study_file.md": study_file()}


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
