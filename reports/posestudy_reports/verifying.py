"""Whether the numbers of a paper are those that the saved predictions give, now and by nobody's hand."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from posestudy.errors import InputError, NotFoundError, PoseStudyError, nearest
from posestudy.home import safe_part
from posestudy_reports.number_list import FORMAT, FROM_THE_LEDGER, same_row, trial_row
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
    except (OSError, ValueError, RecursionError) as error:
        raise PoseStudyError(f"{path} cannot be read: {error}") from error
    kinds = {"study": str, "numbers": dict, "trials": dict}
    whole = isinstance(document, dict) and all(isinstance(document.get(key), kind) for key, kind in kinds.items())
    rows = [*document["numbers"].values(), *document["trials"].values()] if whole else []
    if not whole or document.get("format") != FORMAT or not all(isinstance(row, dict) for row in rows):
        raise PoseStudyError(f"{path} is not what this posestudy writes, write the report again")
    return cast("Mapping[str, Any]", document)


def verify(paper: tuple[PaperFile, ...], quoted: Quoted, again: Recomputed, written: Mapping[str, str]) -> Verdict:
    """Hold what a paper quotes of one report against `again`, and its generated files against `written` anew."""
    verdict = Verdict()
    _predictions(verdict, quoted, again)
    _numbers(verdict, quoted, again)
    _definitions(verdict, quoted, again)
    _quotations(verdict, paper, quoted)
    _files(verdict, quoted, written)
    return verdict


def of_the_paper(paper: tuple[PaperFile, ...], quoted: Sequence[Quoted]) -> list[str]:
    """What is wrong whatever the numbers are: macros that are meddled with, and numbers of a study nobody quotes."""
    definitions = {one.definitions.path.resolve() for one in quoted}
    studies = {safe_part(one.study) for one in quoted}
    found = []
    for file in paper:
        if file.path.resolve() not in definitions:
            found += [f"{line}: changes what the macros of numbers.tex print" for line in file.redefined]
        for line, address in file.quoted:
            if address.partition("/")[0] not in studies:
                known = ", ".join(sorted(studies))
                found.append(
                    f"{line}: {address} is of a study whose report the paper does not take in (it has {known})"
                )
    return found


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
    used = dict.fromkeys(uid for number in again.report.numbers.values() for uid in number.uids)
    rows = quoted.document["trials"]
    for uid in dict.fromkeys((*rows, *used)):
        trial, row = trials.get(uid), rows.get(uid)
        if trial is None:
            verdict.mistakes.append(f"trial {row.get('number')} ({uid}) is not in the study any more")
            continue
        if row is None:
            verdict.mistakes.append(f"trial {trial.number}: the report was written without it")
            continue
        now = trial_row(again.report, trial)
        for key, kind in _FILES.items():
            if row.get(key) and now[key] is None:
                verdict.mistakes.append(f"trial {trial.number}: the predictions of its {kind} value are gone")
            elif row.get(key) != now[key]:
                verdict.mistakes.append(
                    f"trial {trial.number}: the predictions of its {kind} value are not those the report was made from "
                    f"(sha256 {str(now[key])[:12]}, expected {str(row.get(key))[:12]})"
                )
        if uid in again.differing:
            verdict.mistakes.append(f"trial {trial.number}: {again.differing[uid]}")
        if uid in again.without:
            verdict.mistakes.append(f"trial {trial.number} cannot be verified: it {again.without[uid]}")


def _numbers(verdict: Verdict, quoted: Quoted, again: Recomputed) -> None:
    """Every number that the report listed is what the predictions give now, and every number is listed."""
    now, listed = again.report.numbers, quoted.document["numbers"]
    for address, row in listed.items():
        number = now.get(address)
        if number is None:
            verdict.mistakes.append(
                f"{address} is {row.get('text')} in the report, but the study has no such number now"
            )
            continue
        backed = again.bests if "/best" in address else again.finals
        computed = number.uids and FROM_THE_LEDGER not in number.formula and all(uid in backed for uid in number.uids)
        if number.text != row.get("text"):
            verdict.mistakes.append(
                f"{address} is {row.get('text')} in the report, {_source(computed)} {number.text} ({number.formula})"
            )
        elif not same_row(row, number):
            verdict.mistakes.append(f"{address}: what {NUMBERS} says of it besides {number.text} is not what it is now")
        if computed:
            verdict.checked += 1
        else:
            verdict.stated += 1
    for address in now.keys() - listed.keys():
        verdict.mistakes.append(f"{address} is {now[address].text} now and is missing from the report")


def _source(computed: object) -> str:
    return "the predictions give" if computed else "it is now"


def _definitions(verdict: Verdict, quoted: Quoted, again: Recomputed) -> None:
    """The macros print those numbers."""
    now = {f"{safe_part(quoted.study)}/{address}": number for address, number in again.report.numbers.items()}
    for address, (line, text, digits) in quoted.definitions.defined.items():
        number = now.get(address)
        if number is None:
            verdict.mistakes.append(f"{line}: {address} is defined as {text}, but the study has no such number")
        elif (text, digits) != (escape(number.text), raw(number)):
            verdict.mistakes.append(f"{line}: {address} is defined as {text}, the report says {number.text}")


def _quotations(verdict: Verdict, paper: tuple[PaperFile, ...], quoted: Quoted) -> None:
    """Every quoted number of this study is defined."""
    mine, known = f"{safe_part(quoted.study)}/", quoted.definitions.defined
    for file in paper:
        for line, address in file.quoted:
            if address.startswith(mine) and address not in known:
                hint = nearest(address, list(known))
                verdict.mistakes.append(f"{line}: there is no number {address}{f' ({hint})' if hint else ''}")


def _files(verdict: Verdict, quoted: Quoted, written: Mapping[str, str]) -> None:
    """What the report wrote stands beside `numbers.json` as it would be written now, where it stands there at all."""
    for name in sorted({*written, *(str(name) for name in quoted.document.get("files") or ())}):
        path = quoted.folder / name
        try:
            file = PaperFile(path, path.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
        if name not in written:
            verdict.mistakes.append(f"{path}: the report has no such file any more")
            continue
        found, expected = list(file.lines), [line.text for line in PaperFile(path, written[name]).lines]
        edits = _edits(file, [line.text for line in found], [line.number for line in found], expected)
        # What a definition says that is no longer so has been told with its number.
        verdict.mistakes += [] if path == quoted.definitions.path and verdict.mistakes else edits


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
