"""Passwords from files: where they go, how a wrong file is told of, and that none is ever shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from posestudy.commands.app import main
from posestudy.errors import PoseStudyError
from posestudy.secret_files import read_secret
from posestudy.settings import Settings, masked, mlflow_password

PASSWORD = "p:a/s s%40w@rd?&"
VARIABLES = ("POSESTUDY_DATABASE_URL", "POSESTUDY_DATABASE_PASSWORD_FILE", "PGPASSWORD", "MLFLOW_TRACKING_URI",
             "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD_FILE", "MLFLOW_TRACKING_PASSWORD")  # fmt: skip


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in VARIABLES:
        # Set first, so that what the code under test sets is taken back as well.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("POSESTUDY_HOME", str(tmp_path / "home"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "secret.txt"
    path.write_text(PASSWORD + "\n")
    return path


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_the_newline_at_the_end_is_no_part_of_a_secret(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(f" {PASSWORD} {ending}".encode())
    assert read_secret("X_FILE", {"X_FILE": str(path)}) == f" {PASSWORD} "
    assert read_secret("X_FILE", {}) is None
    assert read_secret("X_FILE", {"X_FILE": ""}) is None


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (None, "cannot be read: No such file"),
        (b"", "which is empty"),
        (b" \n", "which is empty"),
        (b"first-part\nsecond-part\n", "more than one line"),
        (b"first-part\x00", "more than one line of plain text"),
        (b"first-part\xff\xfe", "which is not text"),
    ],
)
def test_a_file_that_cannot_be_a_secret_is_named_without_what_is_in_it(
    tmp_path: Path, content: bytes | None, named: str
) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PoseStudyError) as caught:
        read_secret("X_FILE", {"X_FILE": str(path)})
    assert named in str(caught.value)
    assert "X_FILE" in str(caught.value)
    assert str(path) in str(caught.value)
    assert "part" not in str(caught.value)


def test_a_folder_and_a_file_of_another_user_are_named(tmp_path: Path, file: Path) -> None:
    with pytest.raises(PoseStudyError, match="Is a directory"):
        read_secret("X_FILE", {"X_FILE": str(tmp_path)})
    if os.geteuid() == 0:
        pytest.skip("root reads every file")
    file.chmod(0)
    with pytest.raises(PoseStudyError, match="Permission denied"):
        read_secret("X_FILE", {"X_FILE": str(file)})


def test_the_ledger_gets_its_password_from_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSESTUDY_DATABASE_URL", "postgresql://me@host:5433/studies?sslmode=require")
    monkeypatch.setenv("POSESTUDY_DATABASE_PASSWORD_FILE", str(file))
    settings = Settings.resolve()
    for text in (settings.database_url, settings.optuna_url):
        url = make_url(text)
        assert (url.drivername, url.username, url.password) == ("postgresql+psycopg", "me", PASSWORD)
        assert (url.host, url.port, url.database) == ("host", 5433, "studies")
        assert url.query == {"sslmode": "require"}
    assert masked(settings.database_url) == "postgresql+psycopg://me:***@host:5433/studies?sslmode=require"


def test_the_file_beats_the_url_and_the_url_beats_libpq(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def password() -> str | None:
        found = make_url(Settings.resolve().database_url).password
        return None if found is None else str(found)

    monkeypatch.setenv("POSESTUDY_DATABASE_URL", "postgres://me@host/studies")
    assert password() is None
    monkeypatch.setenv("PGPASSWORD", "of-libpq")
    assert password() == "of-libpq"
    monkeypatch.setenv("POSESTUDY_DATABASE_URL", "postgres://me:of-url@host/studies")
    assert password() == "of-url"
    monkeypatch.setenv("POSESTUDY_DATABASE_PASSWORD_FILE", str(file))
    assert password() == PASSWORD


def test_a_password_for_a_ledger_that_has_none_is_a_mistake(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSESTUDY_DATABASE_PASSWORD_FILE", str(file))
    with pytest.raises(PoseStudyError, match="the ledger is a file"):
        Settings.resolve()


def test_a_missing_file_ends_every_command_with_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD_FILE", str(tmp_path / "nowhere"))
    assert main(["status"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: MLFLOW_TRACKING_PASSWORD_FILE: found ")
    assert "Traceback" not in error


def test_mlflow_finds_the_password_of_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from posestudy.projections.quiet_mlflow import open_client

    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD_FILE", str(file))
    with pytest.raises(PoseStudyError, match="set MLFLOW_TRACKING_USERNAME"):
        mlflow_password()
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    assert mlflow_password() == PASSWORD
    open_client("http://127.0.0.1:9")
    from mlflow.utils.credentials import get_default_host_creds

    credentials = get_default_host_creds("http://127.0.0.1:9")
    assert (credentials.username, credentials.password) == ("admin", PASSWORD)


def test_what_was_read_is_taken_out_of_messages(file: Path) -> None:
    from posestudy.masking import hidden

    assert read_secret("X_FILE", {"X_FILE": str(file)}) == PASSWORD
    assert hidden(f"it said ({PASSWORD}) twice") == "it said (***) twice"
