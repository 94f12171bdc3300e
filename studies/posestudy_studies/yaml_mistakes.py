"""What is wrong with text that is no YAML, in words of the file and not of the parser."""

from __future__ import annotations

import re

from ruamel.yaml.error import MarkedYAMLError

from posestudy.errors import Problem
from posestudy_studies.mistakes import show

_SPACE = "a space belongs after the colon"
_LIST = (
    "a list item ('- ') among keys",
    "list items directly below the key of their list",
    "a further stage stands below the last one of `stages:`",
)


def problem(error: MarkedYAMLError, text: str, name: str) -> Problem:
    """The mistake that `error` is about in `text`, at its line and column in the file `name`."""
    mark, context = error.problem_mark or error.context_mark, error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    lines = text.splitlines()
    row = _line(lines, line)
    said = str(error.problem or error)
    if row[column - 1 :].startswith("\t"):
        return Problem(name, line, column, "", "a tab", "spaces", "YAML is indented with spaces only")
    if context is not None and said.startswith("could not find expected ':'"):
        wrong = _line(lines, context.line + 1).strip()
        hint = _SPACE if ":" in wrong else ""
        return Problem(name, context.line + 1, context.column + 1, "", show(wrong), "`key: value`", hint)
    if context is not None and "quoted scalar" in str(error.context):
        return Problem(name, context.line + 1, context.column + 1, "", "a quote that is not closed", "its other end")
    found, expected, hint = _told(said, row, lines[: line - 1], context.line + 1 if context else line)
    return Problem(name, line, column, "", found, expected, hint)


def _line(lines: list[str], number: int) -> str:
    """Line `number`, from 1; empty where the parser counts more lines than there are."""
    return lines[number - 1] if number <= len(lines) else ""


def _told(said: str, row: str, above: list[str], opened: int) -> tuple[str, str, str]:
    """What was found, what was expected, and a hint; `opened` is the line where the surrounding value begins."""
    item = row.lstrip().startswith("- ")
    if said == "mapping values are not allowed here":
        return _second_colon(row, above)
    if said.startswith("expected <block end>"):
        found = said.partition("but found ")[2].strip("'")
        if found in "]},:" and found:
            return f"'{found}'", "brackets that are opened before they are closed", ""
        if item:
            return _LIST
        return _indented(row), "as many as before the keys beside it", ""
    if said.startswith("expected ',' or '"):
        bracket = said[len("expected ',' or '")]
        opening = {"]": "[", "}": "{"}[bracket]
        expected = f"a comma between entries, and '{bracket}' after the last"
        return "neither a comma nor an end", expected, f"'{opening}' is opened in line {opened}"
    if token := re.match(r"found character '(.)' that cannot start", said):
        return f"text that begins with {token[1]}", "such text in quotes", ""
    if said == "but found another document":
        return "a second document ('---')", "one document", ""
    return said.removeprefix("found "), "YAML", ""


def _second_colon(row: str, above: list[str]) -> tuple[str, str, str]:
    before = next((line for line in reversed(above) if line.strip() and not line.lstrip().startswith("#")), "")
    if row.lstrip().startswith("- "):
        return _LIST
    if len(re.findall(r":(?:\s|$)", row.partition(" #")[0])) > 1:
        return "a second ': ' in one value", "one `key: value` in a line", "text that holds ': ' belongs in quotes"
    if re.search(r"\w:\S", before) and ": " not in before:
        return f"a key below {show(before.strip())}", "`key: value` there too", _SPACE
    return _indented(row), "as many as before the keys beside it", ""


def _indented(row: str) -> str:
    spaces = len(row) - len(row.lstrip(" "))
    return f"a line that begins with {spaces} space{'' if spaces == 1 else 's'}"
