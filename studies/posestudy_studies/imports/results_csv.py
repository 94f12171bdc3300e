"""Reads a table of results: one row a trial, every mistake with its line."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from posestudy.errors import InputError, Problem, nearest
from posestudy.vocabulary import Outcome

COLUMNS: Final = (
    "stage", "cell", "label", "seed", "outcome", "final", "final_epoch", "best", "best_epoch", "peak_memory_mb",
    "note", "from", "log",
)  # fmt: skip
MAX_BYTES: Final = 64 << 20
MAX_NAME: Final = 200
MAX_WHOLE: Final = 2**31
"""Epochs and seeds are below it, as the ledger keeps them."""
_EPOCH_DIGITS: Final = 10
_SHOWN: Final = 60

_NOTHING: Final = frozenset({"", "-", "–", "—", "none", "n/a", "null"})
_WORDS: Final[Mapping[str, Outcome]] = {
    **{outcome.value: outcome for outcome in Outcome},
    "done": Outcome.COMPLETED,
    "ok": Outcome.COMPLETED,
    "oom": Outcome.OUT_OF_MEMORY,
    "cuda_out_of_memory": Outcome.OUT_OF_MEMORY,
    "not_converge": Outcome.NOT_CONVERGED,
    "did_not_converge": Outcome.NOT_CONVERGED,
    "no_convergence": Outcome.NOT_CONVERGED,
    "timeout": Outcome.TIMED_OUT,
}
_NUMBER: Final = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_EPOCH_FIRST: Final = re.compile(rf"(\d+)\s*:\s*({_NUMBER})")
_EPOCH_LAST: Final = re.compile(rf"({_NUMBER})\s*\((\d+)\)")


@dataclass(frozen=True)
class ResultRow:
    """One row of the table: what somebody wrote down of one trial.

    Attributes:
        line: where the row starts in the file, from 1.
        stage: name of the stage.
        cell, label: the cell's name and its row label; one of them may be empty, not both.
        seed: None: not stated.
        final, best: the metric at the last epoch and at the best evaluated one, in the metric's unit; None: not stated.
            `completed` rows have a `final`, or a `log`.
        final_epoch, best_epoch: counted from 1; None: not stated.
        peak_memory_mb: MiB.
        note: text, shown and not interpreted.
        start: cell or label of the row that this one was built on, as the column `from` says; empty: not stated.
        log: the log or work dir that says the results, which the row then does not; empty: none.
    """

    line: int
    stage: str
    cell: str
    label: str
    seed: int | None
    outcome: Outcome
    final: float | None
    final_epoch: int | None
    best: float | None
    best_epoch: int | None
    peak_memory_mb: float | None
    note: str
    start: str = ""
    log: str = ""

    @property
    def shown(self) -> str:
        """The row as a sentence names it: its label, else its cell."""
        return self.label or self.cell


def read(path: Path) -> list[ResultRow]:
    """The rows of the CSV file at `path`, in order; comma, semicolon or tab, UTF-8, the first line names the columns.

    `final` and `best` may hold value and epoch together (`150: 0.485` or `0.485 (150)`), and `final` may hold the
    outcome in words (`CUDA out of memory`).

    Raises:
        InputError: every mistake with its line; `column` counts the columns of the table.
    """
    text = _text(path)
    if "\0" in text:
        raise InputError([Problem(str(path), text[: text.index("\0")].count("\n") + 1, 1, "", "a zero byte", "text")])
    header_line = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=header_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    problems: list[Problem] = []
    rows: list[ResultRow] = []
    try:
        header = [name.strip() for name in next(reader, [])]
        problems += _header_problems(str(path), header)
        if problems:
            raise InputError(problems)
        for line, fields in _records(reader):
            if len(fields) != len(header):
                expected = f"{len(header)} fields, as in the first line"
                problems.append(Problem(str(path), line, 1, "", f"{len(fields)} fields", expected))
                continue
            row = _Row(str(path), line, {name: field.strip() for name, field in zip(header, fields, strict=True)})
            result = row.result()
            problems += row.problems
            rows += [result] if result is not None else []
    except csv.Error as error:
        problems.append(Problem(str(path), reader.line_num, 1, "", str(error), "a CSV table"))
    problems += _repeated(str(path), rows)
    if not rows and not problems:
        problems.append(Problem(str(path), 1, 1, "", "no row", "a row for each result"))
    if problems:
        raise InputError(sorted(problems, key=lambda p: (p.line, p.column)))
    return rows


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            found, expected = f"a file of {path.stat().st_size >> 20} MiB", f"at most {MAX_BYTES >> 20} MiB"
            raise InputError([Problem(str(path), 0, 0, "", found, expected)])
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError([Problem(str(path), 0, 0, "", error.strerror or str(error), "a readable CSV file")]) from error
    except UnicodeDecodeError as error:
        raise InputError([Problem(str(path), 0, 0, "", f"byte {error.start} is no UTF-8", "UTF-8 text")]) from error


def _records(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """Each record that is not blank, with the line it starts on."""
    last = int(getattr(reader, "line_num"))  # noqa: B009 - csv's reader has no public type with it
    for fields in reader:
        start, last = last + 1, int(getattr(reader, "line_num"))  # noqa: B009
        if any(field.strip() for field in fields):
            yield start, fields


def _header_problems(file: str, header: list[str]) -> list[Problem]:
    found = []
    for column, name in enumerate(header, 1):
        if name not in COLUMNS:
            expected = f"one of the columns {', '.join(COLUMNS)}"
            found.append(Problem(file, 1, column, "", repr(name), expected, nearest(name, COLUMNS)))
        elif name in header[: column - 1]:
            found.append(Problem(file, 1, column, "", f"the column '{name}' again", "each column once"))
    if not header:
        return [Problem(file, 1, 1, "", "an empty file", f"a first line with columns of {', '.join(COLUMNS)}")]
    if "stage" not in header:
        found.append(Problem(file, 1, 1, "", "no column 'stage'", "the stage of each row"))
    if "cell" not in header and "label" not in header:
        found.append(Problem(file, 1, 1, "", "no column 'cell' or 'label'", "what tells the row in its stage"))
    if not {"final", "outcome", "log"} & set(header):
        found.append(Problem(file, 1, 1, "", "no column 'final', 'outcome' or 'log'", "what came out"))
    return found


def _repeated(file: str, rows: list[ResultRow]) -> list[Problem]:
    first: dict[tuple[str, str, str, int | None, str], int] = {}
    found = []
    for row in rows:
        # A log may say its seed itself; `logged_rows` looks at these again.
        which = (row.stage, row.cell, row.label, row.seed, row.log if row.seed is None else "")
        if which in first:
            what = f"'{row.shown}' of stage '{row.stage}' again (first on line {first[which]})"
            hint = "give replicates a seed each"
            found.append(Problem(file, row.line, 1, "", what, "each cell and seed once", hint))
        first.setdefault(which, row.line)
    return found


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "...")


class _Row:
    """One record while it is read; gathers its mistakes."""

    def __init__(self, file: str, line: int, fields: Mapping[str, str]) -> None:
        self._file = file
        self._line = line
        self._fields = fields
        self.problems: list[Problem] = []

    def result(self) -> ResultRow | None:
        """The row; None where it has mistakes."""
        stage, cell, label = self._word("stage"), self._word("cell"), self._word("label")
        if not stage:
            self._wrong("stage", "nothing", "the name of a stage")
        for column in ("stage", "cell", "label"):
            if len(self._word(column)) > MAX_NAME:
                self._wrong(column, f"{len(self._word(column))} characters", f"at most {MAX_NAME}")
        if not cell and not label:
            self._wrong("cell" if "cell" in self._fields else "label", "nothing", "the cell or the label of the row")
        if self._word("log"):
            return self._logged(stage, cell, label)
        told = self._outcome("final")
        final, final_epoch = (None, self._whole("final_epoch")) if told else self._score("final")
        best, best_epoch = self._score("best")
        outcome = self._agreed(self._outcome("outcome"), told, final)
        if best is not None and best_epoch is None and best != final:
            self._wrong("best", repr(self._word("best")), f"its epoch too, as 120: {best}")
        best_epoch = final_epoch if best is not None and best_epoch is None else best_epoch
        memory = self._number("peak_memory_mb")
        if memory is not None and memory <= 0:
            self._wrong("peak_memory_mb", self._word("peak_memory_mb"), "MiB, more than zero")
        seed = self._whole("seed", least=0)
        if self.problems or outcome is None:
            return None
        note, start = self._fields.get("note", ""), self._word("from")
        return ResultRow(
            self._line, stage, cell, label, seed, outcome, final, final_epoch, best, best_epoch, memory, note, start
        )

    def _logged(self, stage: str, cell: str, label: str) -> ResultRow | None:
        """A row whose results are in a log."""
        for column in ("outcome", "final", "final_epoch", "best", "best_epoch", "peak_memory_mb"):
            if self._word(column).lower() not in _NOTHING:
                self._wrong(column, _shown(self._word(column)), "nothing beside a log, which says it")
        seed, note, start = self._whole("seed", least=0), self._fields.get("note", ""), self._word("from")
        if self.problems:
            return None
        nothing = (None, None, None, None, None)
        return ResultRow(
            self._line, stage, cell, label, seed, Outcome.COMPLETED, *nothing, note, start, self._word("log")
        )

    def _agreed(self, stated: Outcome | None, told: Outcome | None, final: float | None) -> Outcome | None:
        if stated and told and stated is not told:
            self._wrong("final", repr(self._word("final")), f"what agrees with the outcome '{stated}'")
        outcome = stated or told or (Outcome.COMPLETED if final is not None else None)
        if self.problems:
            return outcome
        if outcome is None:
            self._wrong("final", "nothing", "a value as 150: 0.485, or an outcome")
        elif not outcome.is_result:
            hint = "leave the row out and it is trained"
            self._wrong("outcome", repr(outcome.value), "an outcome that is a result", hint)
        elif outcome is Outcome.COMPLETED and final is None:
            self._wrong("final", "nothing", "the final value of a completed trial, as 150: 0.485")
        return outcome

    def _wrong(self, column: str, found: str, expected: str, hint: str = "") -> None:
        place = list(self._fields).index(column) + 1 if column in self._fields else 1
        self.problems.append(Problem(self._file, self._line, place, column, found, expected, hint))

    def _word(self, column: str) -> str:
        """The field, empty where it is left out; a cell of that table may be called `-`."""
        return self._fields.get(column, "")

    def _outcome(self, column: str) -> Outcome | None:
        text = self._word(column)
        if text.lower() in _NOTHING:
            return None
        word = re.sub(r"[\s_-]+", "_", text.lower())
        if word in _WORDS:
            return _WORDS[word]
        if column == "outcome" or not re.search(r"\d", text):
            words = [outcome.value for outcome in Outcome if outcome.is_result]
            self._wrong(column, _shown(text), f"one of {', '.join(words)}", nearest(word, words))
        return None

    def _score(self, column: str) -> tuple[float | None, int | None]:
        """Value and epoch, from one field or from two."""
        text, epoch = self._word(column), self._whole(f"{column}_epoch")
        if text.lower() in _NOTHING or not re.search(r"\d", text):
            if text.lower() not in _NOTHING and column != "final":
                self._wrong(column, _shown(text), "a number, or epoch: number as 150: 0.485")
            return None, epoch
        first, last = _EPOCH_FIRST.fullmatch(text), _EPOCH_LAST.fullmatch(text)
        if first or last:
            inside, number = (first[1], first[2]) if first else (last[2], last[1])  # type: ignore[index]
            told = int(inside) if inside.isascii() and len(inside) <= _EPOCH_DIGITS else 0
            if not 1 <= told < MAX_WHOLE:
                self._wrong(column, _shown(text), "an epoch from 1")
            elif epoch is not None and epoch != told:
                self._wrong(f"{column}_epoch", str(epoch), f"the epoch in the column '{column}', {told}")
            epoch, text = told, number
        return self._float(column, text), epoch

    def _number(self, column: str) -> float | None:
        text = self._word(column)
        return None if text.lower() in _NOTHING else self._float(column, text)

    def _float(self, column: str, text: str) -> float | None:
        value = float(text) if re.fullmatch(_NUMBER, text) else math.nan
        if not math.isfinite(value):
            hint = "write a decimal point" if "," in text else ""
            self._wrong(column, _shown(self._word(column)), "a number, or epoch: number as 150: 0.485", hint)
            return None
        return value

    def _whole(self, column: str, least: int = 1) -> int | None:
        text = self._word(column)
        if text.lower() in _NOTHING:
            return None
        if (
            not text.isascii()
            or not text.isdecimal()
            or len(text) > _EPOCH_DIGITS
            or not least <= int(text) < MAX_WHOLE
        ):
            self._wrong(column, _shown(text), f"a whole number from {least}")
            return None
        return int(text)
