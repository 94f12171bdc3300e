"""Whatever stands in logs and tables, `posestudy import` takes all of it or leaves the ledger as it was."""

import random
import shutil
import sqlite3
from pathlib import Path

import pytest
from test_import_command import STUDY, TARGET
from test_imports_logs import CONFIG, ENVIRONMENT, new_log, old_log, write

from posestudy import fuzzing
from posestudy.commands.app import main

TABLE = TARGET + "length,20,,CUDA out of memory,\nlength,40,,40: 0.2,20: 0.25\n"
ODD = (
    "nan", "inf", "-1", "1e999", "20:", "0: 0.1", "9" * 30 + ": 0.5", "1" * 5000, "0,5", "٣: 0.1", "²", "=cmd()",
    "20 : .5", "1e5 (20)", "-", "oom", "best",
)  # fmt: skip


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder whose home holds an imported study."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POSESTUDY_HOME", str(tmp_path / "home"))
    Path("study.yaml").write_text(STUDY)
    Path("first.csv").write_text(TARGET)
    assert main(["import", "--study", "study.yaml", "first.csv"]) == 0
    return tmp_path


def ledger():
    connection = sqlite3.connect(f"file:{Path('home/posestudy.db').resolve()}?mode=ro", uri=True)
    try:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: sorted(map(repr, connection.execute(f'SELECT * FROM "{name}"'))) for name in names}
    finally:
        connection.close()


def whole_or_nothing(capsys, arguments):
    """The exit code of an import; one that is refused changes nothing and says why."""
    capsys.readouterr()
    before = ledger()
    code = main(["import", *arguments])
    out, err = capsys.readouterr()
    assert code in (0, 1, 2)
    assert "Traceback" not in out + err
    if code == 2:
        assert err.strip()
        assert ledger() == before
    return code, err


def log(chance):
    """A log and the arguments to import it."""
    lines = [ENVIRONMENT, *old_log()] if chance.random() < 0.5 else new_log(1, 4)
    if chance.random() < 0.6:
        lines, _ = fuzzing.mutated(lines, chance, chance.choice((1, 2, 4)))
    lines = lines if isinstance(lines, list) else [lines]
    if chance.random() < 0.2:
        chance.shuffle(lines)
    if chance.random() < 0.2:
        lines += lines[: chance.randrange(9)]
    folder = Path("logs/20250101")
    shutil.rmtree("logs", ignore_errors=True)
    path = write(folder / chance.choice(("a.log.json", "vis_data/scalars.json")), lines)
    if chance.random() < 0.4:
        path.write_bytes(fuzzing.damaged(path.read_bytes(), chance))
    (folder / "vis_data").mkdir(exist_ok=True)
    (folder / "vis_data" / "config.py").write_bytes(fuzzing.damaged(CONFIG.format(4).encode(), chance))
    (folder / "20250101.log").write_bytes(fuzzing.damaged(ENVIRONMENT["env_info"].encode(), chance))
    return ["--name", "logged", chance.choice((str(path), "logs"))]


def table(chance):
    rows = [line.split(",") for line in TABLE.splitlines()]
    for _ in range(chance.choice((0, 1, 1, 2, 3))):
        row = chance.choice(rows)
        at = chance.randrange(len(row))
        row[at] = chance.choice((chance.choice(ODD), chance.choice(fuzzing.TEXTS), fuzzing.misspelt(row[at], chance)))
        if chance.random() < 0.2:
            rows.insert(chance.randrange(len(rows)), list(row))
    raw = "\n".join(",".join(row) for row in rows).encode("utf-8", "surrogatepass")
    kind = chance.random()
    if kind < 0.25:
        raw = fuzzing.damaged(raw, chance)
    elif kind < 0.3:
        raw = raw.decode("utf-8", "replace").encode("utf-16")
    elif kind < 0.5:
        raw = raw.replace(*chance.choice(((b",", b"\t"), (b"\n", b"\r"), (b"\n", b"\r\n"), (b",", b" ;"))))
    Path("t.csv").write_bytes(raw)
    return [*chance.choice((["--study", "study.yaml"], ["--name", "tabled"])), "t.csv"]


def bring(place, capsys, seed):
    chance = random.Random(seed)
    if not Path("home0").exists():
        shutil.copytree("home", "home0")
    shutil.rmtree("home")
    shutil.copytree("home0", "home")
    whole_or_nothing(capsys, chance.choice((log, table))(chance))


@fuzzing.drawn(30)
def test_changed_and_damaged_results(place, capsys, seed):
    bring(place, capsys, seed)


@pytest.mark.slow
@fuzzing.drawn(120)
def test_many_changed_and_damaged_results(place, capsys, seed):
    bring(place, capsys, seed)


def changed(lines, number, **fields):
    return [{**line, **fields} if i == number else line for i, line in enumerate(lines)]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (changed(new_log(1, 4), 0, iter=2**40), "iter: found 1099511627776, expected a whole number from 1"),
        (changed(old_log(), 0, epoch=2**31), "epoch: found 2147483648, expected a whole number from 1"),
        (changed(old_log(), 0, loss=10**400), None),
        (changed(changed(old_log(), 0, loss=1.7e308), 1, loss=1.7e308), None),
        (changed(old_log(), 0, time=10**400, memory=10**400, lr=-(10**400)), None),
        ([{**line, "iter": 1} if "iter" in line else line for line in new_log(1, 4)], None),
        ([{**ENVIRONMENT, "seed": 2**63}, *old_log()], None),
        ([{**ENVIRONMENT, "env_info": "seed: " + "9" * 5000}, *old_log()], None),
    ],
)  # fmt: skip
def test_numbers_that_no_ledger_holds(place, capsys, lines, said):
    write(Path("a.log.json"), lines)
    code, err = whole_or_nothing(capsys, ["--name", "logged", "a.log.json"])
    assert code == (2 if said else 0)
    assert (said or "") in err


@pytest.mark.parametrize("value", ["9" * 30 + ": 0.5", "0.5 (99999999999)", "٣: 0.1", "1" * 5000 + ": 1"])
def test_epochs_that_no_ledger_holds(place, capsys, value):
    Path("t.csv").write_text(TARGET.replace("20: 0.2,", f"{value},"))
    code, err = whole_or_nothing(capsys, ["--name", "tabled", "t.csv"])
    assert code == 2
    assert "t.csv:3:4: final: found" in err
    assert "expected an epoch from 1" in err
    assert len(err) < 300
