"""Passwords and tokens stay out of whatever is printed, logged or written, and a stranger's text moves no cursor."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from posestudy.commands.app import main, report_mistake
from posestudy.ledger import Ledger
from posestudy.masking import HidingFormatter, hidden, masked
from posestudy.printable import printable
from posestudy.settings import Settings

SECRET = "hunter2%40x"
PLAIN = "hunter2@x"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:hunter2@h:5432/db", "postgresql://u:***@h:5432/db"),
        ("postgresql+psycopg://u:hunter/2@h/db", "postgresql+psycopg://u:***@h/db"),
        ("postgresql://u:hun@ter2@h/db", "postgresql://u:***@h/db"),
        ("postgresql://h:hunter2/db", "postgresql://h:***/db"),
        ("postgresql://u@h/db?password=hunter2&sslmode=require", "postgresql://u@h/db?password=***&sslmode=require"),
        ("postgresql://u@h/db?sslpassword=hunter2", "postgresql://u@h/db?sslpassword=***"),
        ("https://ghp_hunter2@h/x.pth", "https://***@h/x.pth"),
        ("https://h/x.pth?X-Amz-Signature=hunter2&dl=1", "https://h/x.pth?X-Amz-Signature=***&dl=1"),
        ("refused: host=h password='hunter2 x' port=1", "refused: host=h password=*** port=1"),
        ("sqlite:////home/u:1/a@b/posestudy.db", "sqlite:////home/u:1/a@b/posestudy.db"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("see http://127.0.0.1:5000, or (http://h:8080).", "see http://127.0.0.1:5000, or (http://h:8080)."),
        ("http://[::1]:5000/x", "http://[::1]:5000/x"),
        ("torchvision://resnet50", "torchvision://resnet50"),
        ("no URL at all: a@b", "no URL at all: a@b"),
    ],
)  # fmt: skip
def test_a_url_shows_all_but_its_secret(url: str, shown: str) -> None:
    assert masked(url) == shown


def test_a_secret_of_the_environment_is_hidden_however_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSESTUDY_DATABASE_URL", f"postgresql://u:{SECRET}@h/db")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken-of-mine")
    text = hidden(f"as it stands {SECRET}, decoded {PLAIN!r}, Bearer t0ken-of-mine")
    assert text == "as it stands ***, decoded '***', Bearer ***"


def test_a_short_password_does_not_eat_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "e")
    assert hidden("these letters stay") == "these letters stay"


def test_a_secret_read_from_a_file_is_hidden(tmp_path: Path) -> None:
    from posestudy.secret_files import read_secret

    file = tmp_path / "password"
    file.write_text("from-a-file-77\n")
    assert read_secret("X_FILE", {"X_FILE": str(file)}) == "from-a-file-77"
    assert hidden("it said from-a-file-77") == "it said ***"


def test_tracebacks_and_logs_hide_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PGPASSWORD", "s3cret-word")
    try:
        raise ValueError("could not connect with s3cret-word to postgresql://u:other@h/db")
    except ValueError as error:
        report_mistake(type(error), error, error.__traceback__)
        record = logging.LogRecord("x", logging.ERROR, "", 0, "failed %s", ("s3cret-word",), sys.exc_info())
    for text in (capsys.readouterr().err, HidingFormatter("%(message)s").format(record)):
        assert "ValueError: could not connect with *** to postgresql://u:***@h/db" in text
        assert "s3cret" not in text
        assert "other" not in text.replace("another", "")


BAD_URLS = [
    "postgresql://u:s3cret-word@127.0.0.1:1/db",
    "postgresql://u@127.0.0.1:1/db?password=s3cret-word",
    "postgresql://u:s3cret-word/x@127.0.0.1:1/db",
    "postgresql://127.0.0.1:s3cret-word/db",
    "postgresql://u:a:s3cret-word@h:port/db",
    "mysql://u:s3cret-word@h/db",
    "s3cret-word",
]


@pytest.mark.parametrize("url", BAD_URLS)
@pytest.mark.parametrize("arguments", [("status",), ("status", "--json"), ("logs", "x", "1"), ("sync",)])
def test_no_command_prints_the_password_of_a_ledger_it_cannot_use(
    url: str,
    arguments: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("POSESTUDY_DATABASE_URL", url)
    main(["--home", str(tmp_path), *arguments])
    said = capsys.readouterr()
    assert said.out + said.err
    assert "s3cret-word" not in said.out + said.err
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and b"s3cret-word" in file.read_bytes()]


def test_a_mistake_of_ours_prints_no_secret_from_the_console_script(tmp_path: Path) -> None:
    code = (
        "import sys; from posestudy.commands import app\n"
        "def broken(*_, **__): raise RuntimeError('no way to postgresql://u:s3cret-word@h/db with s3cret-word')\n"
        "app.app = broken\n"
        "app.run()\n"
    )
    environment = {**os.environ, "PGPASSWORD": "s3cret-word"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 1
    assert "RuntimeError: no way to postgresql://u:***@h/db with ***" in done.stderr
    assert "s3cret-word" not in done.stdout + done.stderr


@pytest.mark.postgres
def test_a_ledger_that_works_shows_its_place_without_the_password(postgres_url: str) -> None:
    password = postgres_url.partition("://")[2].partition("@")[0].partition(":")[2]
    ledger = Ledger.open(postgres_url)
    try:
        assert password not in repr(vars(ledger))
    finally:
        ledger.close()
    with pytest.raises(Exception) as raised:
        Ledger.open(postgres_url.replace(password, "wrong-" + password))
    assert password not in str(raised.value)


def test_settings_do_not_show_a_password_by_accident(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POSESTUDY_DATABASE_URL", "postgresql://u:s3cret-word@h/db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://u:s3cret-word@h")
    assert "s3cret-word" not in repr(Settings.resolve(str(tmp_path)))


def test_no_terminal_obeys_a_text() -> None:
    assert printable("a\x1b[2Jb\r\tc\n\u202egnp.exe\x9b1m") == "a\\x1b[2Jb\\r\tc\n\\u202egnp.exe\\x9b1m"
