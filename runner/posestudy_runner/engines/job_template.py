"""A job script with `{word}` where a value belongs, for whatever batch system a site has."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from posestudy import given_paths
from posestudy.errors import InputError, PoseStudyError, Problem, nearest

MEANINGS: Final[Mapping[str, str]] = {
    "study": "the study's name",
    "number": "the job's number, from 1",
    "name": "the job's name, such as cats-3",
    "command": "what the job runs, ready for a shell",
    "setup": "the lines of cluster.setup",
    "home": "the home of posestudy",
    "job": "the job script's own path",
    "log": "a file for what the job prints",
    "cpus": "cluster.cpus",
    "gpus": "how many devices cluster.gres asks for; 0 where it asks for none",
    "mem_gb": "cluster.mem_gb",
    "time": "cluster.time as hours:minutes:seconds",
    "minutes": "cluster.time in minutes",
    "partition": "cluster.partition",
    "account": "cluster.account",
    "qos": "cluster.qos",
    "gres": "cluster.gres",
    "options": "cluster.options, with spaces between them",
}
"""The placeholders and what stands for them."""

_MOST_BYTES: Final = 1_000_000
_WORD: Final = re.compile(r"(?P<doubled>\{\{[a-z_]+\}\})|(?<!\$)\{(?P<name>[a-z_]+)\}")
"""`{word}`; not the shell's `${word}`. `{{word}}` is `{word}` itself."""


@dataclass(frozen=True)
class JobTemplate:
    """The text of a template and the file it stands in."""

    file: str
    text: str

    @classmethod
    def read(cls, path: Path) -> JobTemplate:
        """The template in the file at `path`.

        Raises:
            PoseStudyError: there is no such file, it is no text, or too large.
            InputError: a placeholder that does not exist, or none for the command.
        """
        if not given_paths.is_file(path):
            raise PoseStudyError(f"{path}: found no file, expected the template of a job script")
        try:
            data = path.read_bytes()
            if len(data) > _MOST_BYTES:
                raise PoseStudyError(f"{path}: found {len(data)} bytes, expected at most {_MOST_BYTES}")
            # As an editor of another system may have saved it: no shell finds its interpreter behind either.
            template = cls(str(path), data.decode("utf-8-sig").replace("\r\n", "\n"))
        except OSError as error:
            raise PoseStudyError(f"{path} cannot be read: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise PoseStudyError(f"{path}: found bytes that are no UTF-8, expected the text of a job script") from error
        template.require_known()
        return template

    def require_known(self) -> None:
        """Raises InputError where a placeholder does not exist, or where there is none for the command."""
        wrong = self.unknown()
        if not wrong and not self.uses("command"):
            hint = "a line {command} starts the worker"
            wrong = [Problem(self.file, 1, 1, "", "no {command} in the template", "a placeholder {command}", hint)]
        if wrong:
            raise InputError(wrong)

    def unknown(self) -> list[Problem]:
        """The placeholders that do not exist."""
        known = ", ".join(f"{{{name}}}" for name in MEANINGS)
        return [
            self._problem(place, name, f"one of {known}", nearest(name, MEANINGS) or _how_to_keep(name))
            for place, name in self._names()
            if name not in MEANINGS
        ]

    def uses(self, name: str) -> bool:
        """Whether the placeholder occurs."""
        return any(name == used for _, used in self._names())

    def filled(self, values: Mapping[str, str]) -> str:
        """The job script.

        Raises:
            InputError: a placeholder occurs that has no value in `values`.
        """
        wrong = [
            self._problem(place, name, f"a value for it: {MEANINGS[name]}", _how_to_give(name))
            for place, name in self._names()
            if name not in values
        ]
        if wrong:
            raise InputError(wrong)

        def put(found: re.Match[str]) -> str:
            return values[found["name"]] if found["name"] else found["doubled"][1:-1]

        return _WORD.sub(put, self.text)

    def _names(self) -> Iterator[tuple[int, str]]:
        for found in _WORD.finditer(self.text):
            if found["name"]:
                yield found.start(), found["name"]

    def _problem(self, place: int, name: str, expected: str, hint: str) -> Problem:
        before = self.text[:place]
        line, column = before.count("\n") + 1, place - before.rfind("\n")
        return Problem(self.file, line, column, "", f"{{{name}}}", expected, hint)


def _how_to_keep(name: str) -> str:
    return f"where the shell is to have {{{name}}}, write {{{{{name}}}}}"


def _how_to_give(name: str) -> str:
    key = "time" if name == "minutes" else name
    return f"set `{key}` below `cluster:` in the study or the profile file, or write the value into the template"
