"""A database that a library makes in many steps is there whole or not at all."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from posestudy.projections.sqlite_file import create_whole


def make(url: str, *, dies: bool = False) -> None:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        connection.execute("CREATE TABLE first (a)")
        connection.commit()
        if dies:
            raise KeyboardInterrupt
        connection.execute("CREATE TABLE second (a)")
        connection.commit()


def tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}


def test_a_half_made_database_never_gets_its_name(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    with pytest.raises(KeyboardInterrupt):
        create_whole(f"sqlite:///{path}", lambda url: make(url, dies=True))
    assert list(tmp_path.iterdir()) == []
    create_whole(f"sqlite:///{path}", make)
    assert tables(path) == {"first", "second"}
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_there_stays_also_where_another_was_quicker(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"

    def overtaken(url: str) -> None:
        make(url)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE theirs (a)")
            connection.commit()

    create_whole(f"sqlite:///{path}", overtaken)
    assert tables(path) == {"theirs"}
    create_whole(f"sqlite:///{path}", make)
    assert tables(path) == {"theirs"}


def test_an_empty_file_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.touch()
    create_whole(f"sqlite:///{path}", make)
    assert tables(path) == {"first", "second"}


def test_servers_are_left_to_themselves() -> None:
    create_whole("http://127.0.0.1:9", lambda url: pytest.fail(f"made {url}"))
