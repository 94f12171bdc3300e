"""A table whose rows stand in groups, one for each of several stages."""

from __future__ import annotations

from dataclasses import dataclass

from posestudy_reports.tables import Table


@dataclass(frozen=True)
class Group:
    """Rows under a heading: `first` is the index of the row before which it stands."""

    first: int
    title: str


@dataclass(frozen=True)
class GroupedTable(Table):
    """A table with headings between its rows, in order of the rows."""

    groups: tuple[Group, ...] = ()


def headings(table: Table) -> dict[int, str]:
    """By index of a row what stands before it; empty for a table without groups."""
    return {group.first: group.title for group in table.groups} if isinstance(table, GroupedTable) else {}
