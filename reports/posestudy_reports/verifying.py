"""Whether the numbers of a paper are those that the saved predictions give, now and by nobody's hand."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from posestudy.errors import InputError, NotFoundError, PoseStudyError, nearest
from posestudy.home import safe_part
from posestudy_reports.number_list import FORMAT, trial_row
from posestudy_reports.paper_files import PaperFile
from posestudy_reports.writers.latex_numbers import raw
from posestudy_reports.writers.latex_text import escape
from posestudy_studies.dataset import fingerprint
from posestudy_studies.spec import Study

if TYPE_CHECKING:
    from posestudy_reports.recomputed import Recomputed

NUMBERS: Final = "numbers.json"
_FILES: Final = {"predictions": "final", "best_predictions": "best"}


@dataclass(frozen=True)
class Quoted:
    """A report whose numbers a paper quotes: its `numbers.json`, and the file beside it that defines the macros."""

    folder: Path
    document: Mapping[str, Any]
    definitions: PaperFile

    @property
    def study(self) -> str:
        return str(self.document["study"])


@dataclass
class Verdict:
    """What was found. `mistakes` make the paper wrong; `checked` and `stated` count its numbers.

    Attributes:
        mistakes: sentences with the place, what stands there and what the predictions give.
        checked: numbers that were computed again from predictions.
        stated: numbers that rest on the ledger alone, as costs, times and imported results do.
    """

    mistakes: list[str] = field(default_factory=list)
    checked: int = 0
    stated: int = 0


def quoted_reports(paper: tuple[PaperFile, ...]) -> tuple[Quoted, ...]:
    """The reports a paper quotes.

    Raises:
        NotFoundError: it takes in no `numbers.tex`, or there is no `numbers.json` beside one.
        PoseStudyError: that file is damaged or of another posestudy.
    """
    found = [Quoted(file.path.parent, _document(file.path.parent / NUMBERS), file) for file in paper if file.defined]
    if not found:
        raise NotFoundError(f"{paper[0].path} quotes no report, expected an \\input of the numbers.tex of one")
    return tuple(found)


def _document(path: Path) -> Mapping[str, Any]:
    try:
        document: Any = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise NotFoundError(f"no file {path}, expected the one that was written beside numbers.tex") from error
    except (OSError, ValueError) as error:
        raise PoseStudyError(f"{path} cannot be read: {error}") from error
    keys = ("study", "numbers", "trials", "files")
    if not isinstance(document, dict) or document.get("format") != FORMAT or any(key not in document for key in keys):
        raise PoseStudyError(f"{path} is not what this posestudy writes, write the report again")
    return document


def verify(paper: tuple[PaperFile, ...], quoted: Quoted, again: Recomputed, written: Mapping[str, str]) -> Verdict:
    """Hold what a paper quotes of one report against `again`, and its generated files against `written` anew."""
    verdict = Verdict()
    _predictions(verdict, quoted, again)
    _numbers(verdict, quoted, again)
    _definitions(verdict, quoted, again)
    _quotations(verdict, paper, quoted)
    _files(verdict, paper, quoted, written)
    return verdict


def changed_data(study: Study | None) -> list[str]:
    """A sentence where the data set is not the one that the study was launched on; none where it cannot be told, as
    without its images."""
    if study is None or study.dataset.fingerprint is None:
        return []
    try:
        same = fingerprint(study.dataset) == study.dataset.fingerprint
    except InputError:
        return []
    root = study.dataset.root
    return (
        [] if same else [f"the data set in {root} is not the one the study was launched on (its fingerprint differs)"]
    )


def _predictions(verdict: Verdict, quoted: Quoted, again: Recomputed) -> None:
    """The predictions that the report was made from are those that are there, and give what the ledger says."""
    trials = {t.uid: t for t in again.report.result.snapshot.trials}
    for uid, row in quoted.document["trials"].items():
        trial = trials.get(uid)
        if trial is None:
            verdict.mistakes.append(f"trial {row['number']} ({uid}) is not in the study any more")
            continue
        now = trial_row(again.report, trial)
        for key, kind in _FILES.items():
            if row.get(key) and now[key] is None:
                verdict.mistakes.append(f"trial {trial.number}: the predictions of its {kind} value are gone")
            elif row.get(key) and now[key] != row[key]:
                verdict.mistakes.append(
                    f"trial {trial.number}: the predictions of its {kind} value are not those the report was made from "
                    f"(sha256 {now[key][:12]}, expected {row[key][:12]})"
                )
        if uid in again.differing:
            verdict.mistakes.append(f"trial {trial.number}: {again.differing[uid]}")
        elif row.get("predictions") and uid in again.without:
            verdict.mistakes.append(f"trial {trial.number} {again.without[uid]}")


def _numbers(verdict: Verdict, quoted: Quoted, again: Recomputed) -> None:
    """Every number that the report listed is what the predictions give now."""
    now = again.report.numbers
    for address, row in quoted.document["numbers"].items():
        number = now.get(address)
        if number is None:
            verdict.mistakes.append(f"{address} is {row['text']} in the report, but the study has no such number now")
            continue
        if number.text != row["text"]:
            verdict.mistakes.append(
                f"{address} is {row['text']} in the report, the predictions give {number.text} ({number.formula})"
            )
        backed = again.bests if "/best" in address else again.finals
        if number.uids and "from the ledger" not in number.formula and all(uid in backed for uid in number.uids):
            verdict.checked += 1
        else:
            verdict.stated += 1


def _definitions(verdict: Verdict, quoted: Quoted, again: Recomputed) -> None:
    """The macros print those numbers."""
    now = {f"{safe_part(quoted.study)}/{address}": number for address, number in again.report.numbers.items()}
    for address, (line, text, digits) in quoted.definitions.defined.items():
        number = now.get(address)
        if number is None:
            verdict.mistakes.append(f"{line}: {address} is defined as {text}, but the study has no such number")
        elif (text, digits) != (escape(number.text), raw(number)):
            verdict.mistakes.append(f"{line}: {address} is defined as {text}, the predictions give {number.text}")


def _quotations(verdict: Verdict, paper: tuple[PaperFile, ...], quoted: Quoted) -> None:
    """Every quoted number of this study is defined."""
    mine, known = f"{safe_part(quoted.study)}/", quoted.definitions.defined
    for file in paper:
        for line, address in file.quoted:
            if address.startswith(mine) and address not in known:
                hint = nearest(address, list(known))
                verdict.mistakes.append(f"{line}: there is no number {address}{f' ({hint})' if hint else ''}")


def _files(verdict: Verdict, paper: tuple[PaperFile, ...], quoted: Quoted, written: Mapping[str, str]) -> None:
    """What the report wrote stands in the paper as it would be written now."""
    for name in quoted.document["files"]:
        path = (quoted.folder / str(name)).resolve()
        file = next((f for f in paper if f.path.resolve() == path), None)
        if file is None or file is quoted.definitions:
            continue
        if name not in written:
            verdict.mistakes.append(f"{file.path}: the report has no such file any more")
            continue
        found, expected = list(file.lines), [line.text for line in PaperFile(file.path, written[name]).lines]
        verdict.mistakes += _edits(file, [line.text for line in found], [line.number for line in found], expected)


def _edits(file: PaperFile, found: list[str], numbers: list[int], expected: list[str]) -> list[str]:
    """A sentence for every stretch of lines that is not as the report would write it."""
    told = []
    for tag, a, b, c, d in difflib.SequenceMatcher(None, found, expected, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        line = numbers[a] if a < len(numbers) else (numbers[-1] if numbers else 1)
        stands, wanted = _differing(" ".join(found[a:b]), " ".join(expected[c:d]))
        told.append(f"{file.path}:{line}: found {stands or 'nothing'}, the report writes {wanted or 'nothing'}")
    return told


def _differing(found: str, expected: str, around: int = 30) -> tuple[str, str]:
    """Two texts cut down to where they differ and some letters on either side."""
    start = 0
    while start < min(len(found), len(expected)) and found[start] == expected[start]:
        start += 1
    end = 0
    while end < min(len(found), len(expected)) - start and found[-1 - end] == expected[-1 - end]:
        end += 1

    def cut(text: str) -> str:
        first, last = max(0, start - around), min(len(text), len(text) - end + around)
        return ("\u2026" if first else "") + text[first:last].strip() + ("\u2026" if last < len(text) else "")

    return cut(found), cut(expected)
