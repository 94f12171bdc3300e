"""What is wrong with the tables of a study file beyond their types: stages, cells, columns that do not exist."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from posestudy.errors import nearest
from posestudy_studies import factors
from posestudy_studies.mistakes import Mistake, Path
from posestudy_studies.report_tables import FORMS, columns_of

Cells = Mapping[str, Collection[str] | None]
"""By stage, the names of the cells it may get; None where results decide which."""

_MOST_TOLD = 12


def mistakes(tables: Any, cells: Cells) -> list[Mistake]:
    """Every one of `tables` (the raw list of the file), at its place in the study file."""
    if not isinstance(tables, list):
        return []
    found: list[Mistake] = []
    names: list[str] = []
    for i, table in enumerate(tables):
        if isinstance(table, dict):
            path: Path = ("report", "tables", i)
            found += [m.under(*path) for m in (*_columns(table), *_factors(table), *_stages(table, cells))]
            name = table.get("name")
            if isinstance(name, str) and name in names:
                found.append(Mistake((*path, "name"), f"{name!r} a second time", "a name of its own for every table"))
            names.append(str(name))
    return found


def _columns(table: Mapping[str, Any]) -> Iterator[Mistake]:
    form = table.get("form")
    if form not in FORMS:
        return
    known = columns_of(form)
    for i, name in _texts(table, "columns"):
        if name not in known:
            yield Mistake(("columns", i), repr(name), f"one of {', '.join(known)}", nearest(name, known))
        elif name in table["columns"][:i]:
            yield Mistake(("columns", i), f"{name!r} a second time", "every column once")


def _factors(table: Mapping[str, Any]) -> Iterator[Mistake]:
    if table.get("factors") and table.get("form") in FORMS and table["form"] != "factors":
        yield Mistake(
            ("factors",), "factors", "no such key with this form", "only the form factors has it", at_key=True
        )
    known = factors.known()
    for i, name in _texts(table, "factors"):
        if name not in known:
            expected = "a factor of the baseline, as optimizer.lr"
            yield Mistake(("factors", i), f"unknown factor '{name}'", expected, nearest(name, known))


def _stages(table: Mapping[str, Any], cells: Cells) -> Iterator[Mistake]:
    """Stages that do not exist, and rows that none of the table's stages will have."""
    if not cells:
        return
    one, several = table.get("stage"), dict(_texts(table, "stages"))
    if one is not None and several:
        yield Mistake(("stages",), "stages beside stage", "one of the two", at_key=True)
    places: list[tuple[Path, str]] = [(("stages", i), name) for i, name in several.items()]
    if isinstance(one, str):
        places.insert(0, (("stage",), one))
    for path, name in places:
        if name not in cells:
            yield Mistake(path, repr(name), f"a stage: {_listed(list(cells))}", nearest(name, list(cells)))
    asked = [name for _, name in places if name in cells] or list(cells)
    for i, row in _texts(table, "rows"):
        stage, slash, cell = row.rpartition("/")
        mine = [stage] if slash else asked
        if slash and stage not in asked:
            yield Mistake(("rows", i), repr(row), f"a stage of the table: {_listed(asked)}", nearest(stage, asked))
            continue
        if any(cells[s] is None for s in mine):
            continue
        known = list(dict.fromkeys(name for s in mine for name in cells[s] or ()))
        if not any(_is(cell, name) for name in known):
            expected = f"a cell of {'stage' if len(mine) == 1 else 'the stages'} {_listed(mine)}: {_listed(known)}"
            yield Mistake(("rows", i), repr(row), expected, nearest(cell, known))


def _is(cell: str, planned: str) -> bool:
    """Whether `cell` is the planned one or a remedy for its running out of memory."""
    return cell == planned or cell.startswith((f"{planned}-batch_", f"{planned}-accumulate_"))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_MOST_TOLD]) + (", ..." if len(names) > _MOST_TOLD else "")


def _texts(table: Mapping[str, Any], key: str) -> Iterator[tuple[int, str]]:
    entries = table.get(key)
    for i, entry in enumerate(entries if isinstance(entries, list) else ()):
        if isinstance(entry, str):
            yield i, entry
