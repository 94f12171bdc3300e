"""The galleries: which cells and images stand side by side, what the picture really shows, and what is left away."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from synthetic_report import NASTY, Builder
from zoo_study import Zoo, draw, pictured, zoo

from posestudy.home import Home
from posestudy.vocabulary import Outcome
from posestudy_reports.gallery import MOST_CELLS, Gallery, caption, gallery, montage
from posestudy_reports.saved_pictures import SavedPictures
from posestudy_reports.sections import Picture


@pytest.fixture
def home(tmp_path) -> Home:
    return Home.resolve(tmp_path)


def few(count: int = 3, models: tuple[str, ...] = ()) -> Zoo:
    """A stage of `count` cells with rising scores, each of the model at its place."""
    study = Zoo("few")
    study.stage("a")
    for i in range(count):
        model = models[i] if models else "resnet50"
        study.network("baseline" if i == 0 else f"cell{i}", {}, f"cell {i}", model=model)
        study.trial(scores=(0.1 * i, 0.1 * i + 0.01))
    return study


def shown(study: Builder, home: Home) -> Gallery | None:
    pictures = SavedPictures(home)
    return gallery(study.report().result, lambda trial: pictures.predictions(study.study.name, trial))


def drawn(study: Builder, home: Home, **options) -> Gallery:
    for trial in study.trials:
        draw(home, study.study.name, trial.number, **({"images": 5} | options))
    found = shown(study, home)
    assert found is not None
    return found


def test_without_pictures_nothing_is_shown(home):
    assert few().report().sections == ()
    assert shown(few(), home) is None


def test_all_cells_stand_side_by_side_where_there_is_room(home):
    found = drawn(few(), home)
    assert [c.label for c in found.columns] == ["cell 0", "cell 1", "cell 2"]
    assert found.rule == "Every completed cell with pictures"
    assert found.images == ("001", "002", "004", "005")


def test_one_cell_alone_is_nothing_to_compare(home):
    study = few()
    draw(home, "few", 2, 5)
    assert shown(study, home) is None


def test_the_picture_holds_each_cells_own_pictures_a_row_an_image(home):
    study = few()
    found = drawn(study, home, images=3)
    sheet = montage(study.report().result, found)
    assert sheet is not None
    columns, rows = 3, 3
    tile = sheet.width // columns
    height = 48 * tile // 64
    for column in range(columns):
        for row in range(rows):
            middle = (column * tile + tile // 2, sheet.height - (rows - row) * (height + 5) + height // 2)
            assert sheet.getpixel(middle) == (10 * (column + 1), 40 * (row + 1), 128)


def test_a_trial_without_an_image_takes_the_image_from_all(home):
    study = few()
    for number, images in ((1, 4), (2, 2), (3, 4)):
        draw(home, "few", number, images)
    found = shown(study, home)
    assert found is not None
    assert found.images == ("001", "002")


def test_an_image_of_another_shape_is_another_image_and_left_out(home):
    study = few()
    found = drawn(study, home, images=2)
    Image.new("RGB", (48, 64), "red").save(home.attempt("few", 2, 1).drawings / "002.png")
    whole = montage(study.report().result, replace(found, images=("001",)))
    assert montage(study.report().result, found).size == whole.size


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\nnot a picture"])
def test_a_damaged_picture_is_no_error(home, content):
    study = few()
    found = drawn(study, home, images=1)
    (home.attempt("few", 2, 1).drawings / "001.png").write_bytes(content)
    assert montage(study.report().result, found) is None
    assert study.report(pictures=SavedPictures(home)).sections == ()


def test_of_many_cells_the_first_the_best_and_one_of_each_kind_are_shown(home):
    models = ("resnet50",) * 5 + ("alexnet",) * 4
    study = few(9, models)
    study.network("rle", {}, "RLE", model="resnet50", codec={"type": "regression"}, loss={"type": "rle"})
    study.trial(scores=(0.0, 0.05))
    found = drawn(study, home)
    labels = [c.label for c in found.columns]
    # First, best (an AlexNet), the one with another head, the best ResNet-50 is the network's first: cell 0 has it.
    assert len(labels) == MOST_CELLS
    assert {"cell 0", "cell 8", "RLE"} <= set(labels)
    assert labels == sorted(labels, key=lambda name: [c.label for c in study.cells].index(name))
    assert found.rule.startswith("The first cell, the best one, the best one of each further head and loss")
    assert found.rule.endswith("6 of 10 cells")


def test_of_an_error_the_best_is_the_least(home):
    study = few(8)
    study.study.document["metric"] = "nme"
    labels = [c.label for c in drawn(study, home).columns]
    assert labels[0] == "cell 0"
    assert len(labels) == MOST_CELLS
    assert "cell 7" in labels  # the worst one: others are spread evenly from the best to the worst


def test_the_caption_names_every_column_with_its_trial(home):
    study = few()
    found = drawn(study, home)
    said = caption(study.report().result, found)
    assert "Ground truth in green, prediction in red" in said
    assert "cell 0 (AP 0.010, trial 1), cell 1 (AP 0.110, trial 2) and cell 2 (AP 0.210, trial 3)" in said


def test_a_reused_trial_shows_the_pictures_of_its_source(home):
    study = few()
    source = {"kind": "reused", "study": "elsewhere", "stage": "s", "cell": "c", "number": 9, "uid": "f" * 32}
    study.trials[1] = replace(study.trials[1], source=source)
    for number in (1, 3):
        draw(home, "few", number, 2)
    draw(home, "elsewhere", 9, 2)
    found = shown(study, home)
    assert found is not None
    assert [c.label for c in found.columns] == ["cell 0", "cell 1", "cell 2"]
    assert "elsewhere" in str(found.columns[1].pictures["001"])


def test_what_did_not_complete_is_not_shown(home):
    study = few()
    study.network("gone", {}, model="resnet50")
    study.trial(Outcome.DIVERGED, (0.1,))
    assert [c.label for c in drawn(study, home).columns] == ["cell 0", "cell 1", "cell 2"]


def test_labels_of_any_letters_fit_their_columns(home):
    study = few()
    study.cells = [replace(c, label=NASTY * 5) for c in study.cells]
    sheet = montage(study.report().result, drawn(study, home))
    assert sheet is not None
    # Between two columns the head stays white: no label reaches into the next one.
    edge = sheet.width // 3
    assert {sheet.getpixel((edge + 1, y)) for y in range(40)} == {(255, 255, 255)}


def sections(study: Builder, home: Home, **options) -> dict[str, tuple]:
    return {s.name: s.figures for s in pictured(study, home, **options).sections}


def test_the_report_shows_the_gallery_as_one_jpeg(home):
    (picture,) = sections(zoo(), home)["gallery"]
    assert isinstance(picture, Picture)
    with Image.open(io.BytesIO(picture.data)) as opened:
        assert (opened.format, opened.size) == ("JPEG", picture.size)


def test_attention_is_that_of_the_best_trial_that_has_any(home):
    figures = sections(zoo(), home, attention_of=5)["attention"]
    assert [f.name for f in figures] == ["attention_001_dependency", "attention_001_affect", "attention_002_dependency"]
    assert all(f.across for f in figures)
    assert "“H-A6”, trial 5" in figures[0].caption
    assert "The last layer's is the dependency area" in figures[0].caption
    assert "threshold" in figures[0].caption


def test_attention_of_a_worse_trial_gives_way(home):
    study = zoo()
    pictured(study, home, attention_of=1)
    folder = home.attempt("transpose", 4, 1).attention
    folder.mkdir(parents=True)
    Image.new("RGB", (30, 30)).save(folder / "001_dependency.png")
    report = study.report(pictures=SavedPictures(home))
    (figure,) = next(s for s in report.sections if s.name == "attention").figures
    assert "trial 4" in figure.caption


def test_without_attention_there_is_no_such_section(home):
    assert "attention" not in sections(zoo(), home, attention_of=None)


def test_files_that_are_no_attention_pictures_are_passed_over(home):
    study = few()
    folder = home.attempt("few", 3, 1).attention
    folder.mkdir(parents=True)
    Image.new("RGB", (30, 30)).save(folder / "notes.png")
    (folder / "001_dependency.png").write_bytes(b"")
    assert study.report(pictures=SavedPictures(home)).sections == ()


def test_a_report_of_a_home_finds_its_pictures(tmp_path, monkeypatch):
    """The way of `posestudy report`: from the ledger and the home, not by hand."""
    import posestudy_reports
    from posestudy.ledger import Ledger
    from posestudy.ledger.records import NewCell, OpenStage
    from posestudy.settings import Settings
    from posestudy.vocabulary import Direction

    monkeypatch.setenv("POSESTUDY_HOME", str(tmp_path))
    monkeypatch.delenv("POSESTUDY_DATABASE_URL", raising=False)
    ledger = Ledger.open(Settings.resolve().database_url)
    study = ledger.put_study("cats", {"metric": "coco/AP", "stages": [{"name": "lr"}]}, "study: cats\n")
    config = {"sigma": 1.0}
    cells = tuple(NewCell(name, "", "", key * 64, {}, config, (0,)) for name, key in (("baseline", "0"), ("b", "1")))
    assert ledger.apply(study.id, [OpenStage(0, "lr", "variants", "baseline", config, cells)])
    for _ in cells:
        claim = ledger.claim("cats", "host:1", 60.0)
        assert ledger.record_epoch(claim.trial.uid, claim.trial.fence, {1: {"coco/AP": 0.1}}, None, 1.5)
        assert ledger.finish(
            claim.trial.uid, claim.trial.fence, Outcome.COMPLETED, None,
            metric="coco/AP", direction=Direction.MORE, peak_memory_mb=1.0,
        )  # fmt: skip
        draw(Home.resolve(tmp_path), "cats", claim.trial.number, 2)
    ledger.close()
    report = posestudy_reports.open("cats")
    assert [s.name for s in report.sections] == ["gallery"]
    written = [Path(p).name for p in report.write(tmp_path / "out", ["markdown", "html"])]
    assert "gallery.jpg" in written
