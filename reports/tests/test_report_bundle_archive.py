"""`posestudy bundle` whole: the archive runs where posestudy cannot be imported, or there is no archive."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from pathlib import Path

import pytest
from bundled_study import NAME, TEST_IMAGES, make

from posestudy.commands.app import main
from posestudy.errors import PoseStudyError
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy_reports.bundle_archive import zipped
from posestudy_reports.bundle_code import plain_config
from posestudy_reports.bundle_run import prove

pytestmark = pytest.mark.slow
CONFIG = "handed_trial_1.py"
DATA = {"root": "cats", "train": {"annotations": "annotations/train.json"}}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return make(tmp_path_factory.mktemp("bundled"))


@pytest.fixture
def home(made: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("POSESTUDY_HOME", str(made.root))
    return made


@pytest.fixture(scope="module")
def archive(made: Home) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POSESTUDY_HOME", str(made.root))
        with contextlib.redirect_stderr(io.StringIO()) as said:
            assert main(["bundle", NAME, "--name", "3035", "--out", str(made.root.parent / "out")]) == 0
    (made.root.parent / "out" / "said.txt").write_text(said.getvalue())
    return made.root.parent / "out" / "3035.zip"


@pytest.fixture(scope="module")
def files(archive: Path) -> dict[str, bytes]:
    """The archive's files without its folder."""
    with zipfile.ZipFile(archive) as opened:
        return {name.removeprefix("3035/"): opened.read(name) for name in opened.namelist()}


def purposes(home: Home) -> list[str]:
    ledger = Ledger.open(f"sqlite:///{home.database}")
    try:
        return [use.purpose.value for use in ledger.test_uses(NAME)]
    finally:
        ledger.close()


def test_it_holds_what_is_handed_in(home: Home, files: dict[str, bytes]) -> None:
    for name in ("report.pdf", "codes/README.txt", "codes/mmpose/tools/test.py", f"codes/mmpose/configs/{CONFIG}"):
        assert files[name], name
    assert files["models/model.pth"] == home.attempt(NAME, 1, 2).best_weights.read_bytes()
    assert files["models/config.py"] == files[f"codes/mmpose/configs/{CONFIG}"]
    rows = json.loads(files["result_keypoints.json"])
    assert len({row["image_id"] for row in rows}) == TEST_IMAGES
    assert not any(name.startswith(("data/", "codes/mmpose/data")) for name in files), "no data set is handed in"
    assert purposes(home)[0] == "bundle"


def test_it_says_what_takes_a_while_as_it_begins(archive: Path) -> None:
    steps = [line for line in archive.with_name("said.txt").read_text().splitlines() if line.endswith(" ...")]
    assert [step.split()[0] for step in steps] == ["predicting", "writing", "unpacking"]


def test_it_names_nothing_of_this_machine(home: Home, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        if not name.endswith((".pth", ".pdf")):
            assert str(home.root.parent).encode() not in data, name


def test_its_log_is_one_and_leaves_out_what_was_trained_again(files: dict[str, bytes]) -> None:
    log = files["models/training.log"].decode()
    assert "preamble of attempt 1 data/cats/annotations/train.json" in log
    assert "preamble of attempt 2 HOME/runs/handed/1/2/config.py" in log
    assert "of the lost attempt" not in log
    assert [line.count("Epoch(val)") for line in log.splitlines()].count(1) == 2
    lines = [json.loads(line) for line in files["models/training.log.json"].splitlines()]
    assert [line.get("AP") for line in lines if line.get("mode") == "val"] == [0.1, 0.3]


def test_its_readme_tells_of_this_trial(files: dict[str, bytes]) -> None:
    text = files["codes/README.txt"].decode()
    assert "trial 1 of 'handed': “5 times | <b>” of stage “only”, seed 3" in " ".join(text.split())
    assert "- optimizer.lr: 0.001 -> 0.005\n" in text
    assert f"python tools/test.py configs/{CONFIG} ../../models/model.pth" in text


def test_paths_outside_the_data_are_initial_weights_or_refused(home: Home, tmp_path: Path) -> None:
    text = home.attempt(NAME, 1, 2).config.read_text()
    (tmp_path / "config.py").write_text(f"{text}\nload_from = '/elsewhere/my weights.pth'\n")
    plain = plain_config(tmp_path / "config.py", DATA)
    assert plain.values["load_from"] == "checkpoints/my_weights.pth"
    assert plain.starts == {"checkpoints/my_weights.pth": Path("/elsewhere/my weights.pth")}
    assert plain.values["test_dataloader"]["dataset"]["data_prefix"] == {"img": "data/cats/images"}
    (tmp_path / "config.py").write_text(f"{text}\nval_dataloader['dataset']['bbox_file'] = '/elsewhere/boxes.json'\n")
    with pytest.raises(
        PoseStudyError, match=r"bbox_file of .* is the path /elsewhere/boxes\.json outside the data set"
    ):
        plain_config(tmp_path / "config.py", DATA)


def test_results_that_are_not_the_models_are_found_out(home: Home, files: dict[str, bytes]) -> None:
    rows = json.loads(files["result_keypoints.json"])
    rows[0]["keypoints"][3] += 0.01
    changed = {**files, "result_keypoints.json": json.dumps(rows).encode()}
    plain = plain_config(home.attempt(NAME, 1, 2).config, DATA)
    with pytest.raises(PoseStudyError, match=r"differ by up to 0\.01 px from result_keypoints\.json; expected at most"):
        prove(zipped({f"3035/{name}": data for name, data in changed.items()}), "3035", plain, CONFIG)


def test_an_archive_that_needs_posestudy_is_found_out(home: Home, files: dict[str, bytes]) -> None:
    tool = "codes/mmpose/tools/test.py"
    changed = {**files, tool: b"import posestudy_runner.plugin\n" + files[tool]}
    plain = plain_config(home.attempt(NAME, 1, 2).config, DATA)
    with pytest.raises(PoseStudyError, match=r"does not predict without posestudy:(.|\n)*No module named 'posestudy_"):
        prove(zipped({f"3035/{name}": data for name, data in changed.items()}), "3035", plain, CONFIG)


def test_instances_that_the_loader_drops_are_missed(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = home.root.parent / "cats" / "annotations" / "test.json"
    kept = file.read_text()
    document = json.loads(kept)
    document["annotations"][0]["bbox"][2] = 0
    before = len(purposes(home))
    try:
        file.write_text(json.dumps(document))
        assert main(["bundle", NAME, "--name", "x", "--out", str(tmp_path)]) == 2
    finally:
        file.write_text(kept)
    said = capsys.readouterr().err
    assert f"1 instances of the test split are missing: {document['annotations'][0]['id']}" in said
    assert list(tmp_path.iterdir()) == []
    assert len(purposes(home)) == before + 1, "it was predicted all the same"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--name", "../x"], "--name: found '../x', expected at most 120 letters"),
        (["--name", "x", "--trial", "4"], "no trial 4 in the study 'handed'"),
    ],
)
def test_mistakes_are_told_before_anything_is_predicted(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    before = purposes(home)
    assert main(["bundle", NAME, *arguments, "--out", str(tmp_path)]) == 2
    assert words in capsys.readouterr().err
    assert purposes(home) == before


def test_an_archive_that_is_there_is_not_written_over(
    home: Home, archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = archive.read_bytes()
    assert main(["bundle", NAME, "--name", "3035", "--out", str(archive.parent)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert archive.read_bytes() == before
