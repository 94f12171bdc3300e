"""Reads YAML 1.2 as data, never as code, and remembers where each key and value stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from posestudy import given_paths
from posestudy.errors import InputError, Problem
from posestudy_studies import mistakes, yaml_mistakes
from posestudy_studies.mistakes import Mistake

MAX_BYTES = 1_000_000
MAX_NODES = 20_000
MAX_DEPTH = 40
MAX_NUMBER_DIGITS = 40

Place = tuple[int, int]
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Document:
    """Plain data (dict with text keys, list, str, int, float, bool, None) and its positions.

    Attributes:
        file: the file, as the user named it.
        values, keys: 1-based (line, column) of every value and of every mapping key, by path.
        sets: the text of the command line's `--set` by the path it wrote to.
    """

    file: str
    data: Any
    values: dict[mistakes.Path, Place] = field(default_factory=dict)
    keys: dict[mistakes.Path, Place] = field(default_factory=dict)
    sets: dict[mistakes.Path, str] = field(default_factory=dict)

    def problem(self, mistake: Mistake) -> Problem:
        """`mistake` with its file, line and column, or with the `--set` it came from."""
        path = mistake.path
        dotted = ".".join(str(part) for part in path)
        for length in range(len(path), -1, -1):
            if (override := self.sets.get(path[:length])) is not None:
                return Problem(f"--set {override}", 0, 0, dotted, mistake.found, mistake.expected, mistake.hint)
        line, column = self._place(path, mistake.at_key)
        return Problem(self.file, line, column, dotted, mistake.found, mistake.expected, mistake.hint)

    def _place(self, path: mistakes.Path, at_key: bool) -> Place:
        if at_key and path in self.keys:
            return self.keys[path]
        for length in range(len(path), -1, -1):
            # Something inside a mapping that is missing there is told at the mapping's key.
            table = self.values if length == len(path) else self.keys
            for places in (table, self.values):
                if path[:length] in places:
                    return places[path[:length]]
        return (1, 1)


class _RefusedError(Exception):
    """Carries what is wrong at a node out of the reader."""

    def __init__(self, place: Place, path: mistakes.Path, found: str, expected: str, hint: str = "") -> None:
        super().__init__(found)
        self.place, self.path, self.found, self.expected, self.hint = place, path, found, expected, hint


class _BoundedComposer(Composer):
    """Stops at documents that are too large or too deep while they are still being read."""

    nodes = 0
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.nodes += 1
        self.depth += 1
        if self.nodes > MAX_NODES or self.depth > MAX_DEPTH:
            mark = self.parser.peek_event().start_mark
            many, deep = f"more than {MAX_NODES} values", f"nesting deeper than {MAX_DEPTH} levels"
            limit = many if self.nodes > MAX_NODES else deep
            raise _RefusedError((mark.line + 1, mark.column + 1), (), limit, "a study file of ordinary size")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def read(path: Path) -> Document:
    """The document in the file at `path`.

    Raises:
        InputError: the file is missing, too large, no UTF-8, no YAML, or more than plain data.
    """
    name = str(path)
    if not given_paths.exists(path):
        hint = "`posestudy init FILE` writes one to edit"
        raise InputError([Problem(name, 0, 0, "", "no such file", "a YAML file", hint)])
    if not given_paths.is_file(path):
        raise InputError([Problem(name, 0, 0, "", "no regular file", "a YAML file")])
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError([Problem(name, 0, 0, "", f"{error.strerror or error}", "a readable file")]) from error
    if len(raw) > MAX_BYTES:
        size = path.stat().st_size / 1e6
        raise InputError([Problem(name, 0, 0, "", f"a file of {size:.1f} MB", "a study file of at most 1 MB")])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        problem = Problem(name, line, 1, "", f"byte 0x{raw[error.start]:02x}", "UTF-8 text", "save the file as UTF-8")
        raise InputError([problem]) from error
    return parse(text, name)


def parse(text: str, name: str) -> Document:
    """The document in `text`; errors name the file `name`. Raises `InputError` as `read` does."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _BoundedComposer
    reader = _Reader()
    try:
        node = yaml.compose(text)
        if node is None:
            raise _RefusedError((1, 1), (), "an empty file", "a YAML mapping")
        data = reader.data(node, ())
    except _RefusedError as error:
        dotted = ".".join(map(str, error.path))
        raise InputError([Problem(name, *error.place, dotted, error.found, error.expected, error.hint)]) from None
    except MarkedYAMLError as error:
        raise InputError([yaml_mistakes.problem(error, text, name)]) from error
    except (YAMLError, ValueError, RecursionError) as error:
        found = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError([Problem(name, 1, 1, "", found, "YAML")]) from error
    return Document(name, data, reader.values, reader.keys)


def _place(node: Node) -> Place:
    return (node.start_mark.line + 1, node.start_mark.column + 1)


class _Reader:
    """Turns nodes into data, counting what aliases expand to."""

    def __init__(self) -> None:
        self.values: dict[mistakes.Path, Place] = {}
        self.keys: dict[mistakes.Path, Place] = {}

    def data(self, node: Node, path: mistakes.Path) -> Any:
        self.values[path] = _place(node)
        if len(self.values) > MAX_NODES:
            found = f"aliases that expand to more than {MAX_NODES} values"
            raise _RefusedError(_place(node), (), found, "plain values")
        if len(path) > MAX_DEPTH:
            found = f"nesting deeper than {MAX_DEPTH} levels"
            raise _RefusedError(_place(node), (), found, "a study file of ordinary size")
        if isinstance(node, MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node, path)
        if isinstance(node, SequenceNode) and node.tag == _TAG + "seq":
            return [self.data(item, (*path, i)) for i, item in enumerate(node.value)]
        if isinstance(node, ScalarNode):
            return _scalar(node, path)
        raise _tag(node, path)

    def _mapping(self, node: MappingNode, path: mistakes.Path) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                raise _RefusedError(_place(key), path, "a list or mapping as a key", "a word as a key")
            name = str(key.value)
            if not str(key.tag).startswith(_TAG) or "/" in str(key.tag):
                raise _tag(key, path)
            if name in mapping:
                first = self.keys[(*path, name)][0]
                expected = f"each key once; the first is in line {first}"
                raise _RefusedError(_place(key), (*path, name), f"'{name}' a second time", expected)
            self.keys[(*path, name)] = _place(key)
            mapping[name] = self.data(value, (*path, name))
        return mapping


def _tag(node: Node, path: mistakes.Path) -> _RefusedError:
    tag = str(node.tag).replace(_TAG, "!!")
    return _RefusedError(_place(node), path, f"the tag {tag}", "plain data", "a study file is data: leave the tag out")


def _scalar(node: ScalarNode, path: mistakes.Path) -> Any:
    text, kind = str(node.value), str(node.tag).removeprefix(_TAG)
    if kind in ("str", "timestamp", "value", "merge"):
        return text
    if kind == "null":
        return None
    if kind == "bool" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if kind in ("int", "float"):
        return _number(node, kind, path)
    raise _tag(node, path)


def _number(node: ScalarNode, kind: str, path: mistakes.Path) -> int | float:
    text = str(node.value).replace("_", "")
    if len(text) > MAX_NUMBER_DIGITS:
        raise _RefusedError(_place(node), path, f"a number of {len(text)} digits", "a number of ordinary size")
    digits = text.lstrip("+-").lower()
    try:
        if kind == "int":
            base = {"0x": 16, "0o": 8, "0b": 2}.get(digits[:2], 10)
            number: int | float = int(text, base)
        else:
            number = float(text.replace(".inf", "inf").replace(".nan", "nan").replace(".NaN", "nan"))
    except ValueError:
        raise _RefusedError(_place(node), path, repr(node.value), f"a value of type {kind}") from None
    if not -1e300 < number < 1e300 or (kind == "int" and abs(number) >= 2**63):
        raise _RefusedError(_place(node), path, str(node.value), "a finite number of ordinary size")
    return number
