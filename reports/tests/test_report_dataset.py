"""What a report tells of a data set: counts with known answers, images that occur twice, sentences and figures."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from synthetic_report import NASTY, finished

from posestudy.errors import InputError, PoseStudyError
from posestudy.home import Home
from posestudy_reports import dataset_frame
from posestudy_reports.addressed import pieces_of
from posestudy_reports.dataset_analysis import SplitAnalysis, analyse, sides
from posestudy_reports.dataset_cache import known
from posestudy_reports.dataset_command import dataset as dataset_command
from posestudy_reports.dataset_images import Files, ImageAnalysis, analyse_images
from posestudy_reports.dataset_section import of_dataset, sections
from posestudy_reports.number_list import collected
from posestudy_reports.sections import Picture, Section
from posestudy_studies.dataset import sealed
from posestudy_studies.designs.contract import study_with
from posestudy_studies.drawn_cats import draw
from posestudy_studies.mmpose_layouts import installed
from posestudy_studies.spec import Dataset

LSPET = Path(os.environ.get("POSESTUDY_LSPET") or Path(__file__).parents[3] / "shared" / "data" / "lspet")
THREE = ("left_end", "right_end", "middle")


def layout_file(root: Path, names: tuple[str, ...] = THREE) -> str:
    rows = {str(i): {"name": name, "id": i} for i, name in enumerate(names)}
    rows["0"]["swap"], rows["1"]["swap"] = names[1], names[0]
    layout = {
        "dataset_name": "three", "keypoint_info": rows, "sigmas": [0.05] * len(names),
        "skeleton_info": {"0": {"link": list(names[:2]), "id": 0}},
    }  # fmt: skip
    path = root / "layout.yaml"
    path.write_text(json.dumps(layout))
    return str(path)


def image(identity: int, width: int = 100, height: int = 80) -> dict[str, Any]:
    return {"id": identity, "file_name": f"{identity}.png", "width": width, "height": height}


def instance(identity: int, where: int, points: list[float], box: tuple[float, ...] = (10, 20, 40, 40), **more: Any):
    return {"id": identity, "image_id": where, "category_id": 1, "bbox": list(box), "keypoints": points, **more}


ALL = [10, 20, 2, 50, 60, 1, 30, 40, 2]
NONE = [0] * 9


def written(root: Path, name: str, images: list[Any], annotations: list[Any], *, files: bool = True) -> None:
    (root / "images").mkdir(exist_ok=True, parents=True)
    (root / f"{name}.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    for i in images if files else ():
        values = np.random.default_rng(i["id"]).integers(0, 255, (i["height"], i["width"], 3), dtype=np.uint8)
        Image.fromarray(values).save(root / "images" / i["file_name"])


def dataset(root: Path, keypoints: str, *, test: bool = False, **options: Any) -> Dataset:
    splits = {
        n: {"annotations": f"{n}.json", "images": "images"} for n in ("train", "val", *(["test"] if test else []))
    }
    return Dataset.model_validate({"keypoints": keypoints, "root": str(root), **splits, **options})


@pytest.fixture
def small(tmp_path: Path) -> Dataset:
    """Three images and six annotations for training with everything odd, one image for validation."""
    odd = [
        instance(1, 1, ALL),
        instance(2, 1, [10, 20, 2, 0, 0, 0, 130, 40, 2], (10, 20, 90, 40)),  # the last one is 30 px to the right
        instance(3, 2, NONE),
        instance(4, 2, [10, 20, 2, 50, 60, 2, 30, 84, 1], (5, 5, 0, 40)),  # no area; 4 px below the image
        instance(5, 2, ALL, (200, 5, 10, 10), area=10_000.0),
        instance(6, 1, ALL, iscrowd=1),
    ]
    written(tmp_path, "train", [image(1), image(2), image(3)], odd)
    written(tmp_path, "val", [image(11)], [instance(1, 11, ALL)])
    return dataset(tmp_path, layout_file(tmp_path))


@pytest.fixture(scope="module")
def cats_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cats")
    draw(root, train=40, val=12, seed=3)
    return root


@pytest.fixture
def cats(cats_root: Path, tmp_path: Path) -> Dataset:
    """A copy of the drawn cats that a test may change."""
    shutil.copytree(cats_root, tmp_path / "cats")
    return of_cats(tmp_path / "cats")


def of_cats(root: Path, **options: Any) -> Dataset:
    splits = {n: {"annotations": f"annotations/{n}.json", "images": "images"} for n in ("train", "val")}
    return Dataset.model_validate({"keypoints": "cats", "root": str(root), **splits, **options})


def split(data: Dataset, name: str = "train") -> SplitAnalysis:
    return next(s for s in analyse(data).splits if s.name == name)


def words_of(found: tuple[Section, ...]) -> str:
    return " ".join(text for section in found for text in section.texts)


# What annotations hold


def test_counts_have_the_known_answers(small: Dataset) -> None:
    train = split(small)
    assert (train.images, train.instances, train.crowds, train.bare, train.empty) == (3, 5, 1, 1, 1)
    assert train.per_image == ((0, 1), (2, 1), (3, 1))
    assert (train.boxless, train.boxless_ids) == (2, (4, 5))
    assert train.sizes is not None
    assert (train.sizes.low, train.sizes.median, train.sizes.high) == (40.0, 40.0, 60.0)
    assert train.relative is not None
    assert train.relative.high == pytest.approx(60 / (100 * 80) ** 0.5)
    assert train.areas == (1, 3, 1)  # 0; 1600, 3600 and 1600; the stated 10,000


def test_labels_are_counted_among_instances_that_have_any(small: Dataset) -> None:
    labels = split(small).labels
    assert [(x.visible, x.hidden, x.unlabelled) for x in labels] == [(4, 0, 0), (1, 2, 1), (3, 1, 0)]
    assert split(small).per_instance == (1, 0, 1, 3)


def test_points_outside_are_told_by_annotation_and_distance(small: Dataset) -> None:
    train = split(small)
    assert (train.outside, train.outside_instances) == (2, 2)
    assert [(o.annotation, o.keypoint, o.image, o.distance) for o in train.outliers] == [
        (2, 2, "1.png", 30.0),
        (4, 2, "2.png", 4.0),
    ]
    said = words_of(of_dataset(small, None))
    assert (
        "2 labelled keypoints of 2 instances lie outside their image, the farthest, middle of annotation 2, by 30.0 px."
        in said
    )


def test_a_point_on_the_edge_is_inside(tmp_path: Path) -> None:
    for name in ("train", "val"):
        written(tmp_path, name, [image(1)], [instance(1, 1, [0, 0, 2, 100, 80, 2, 100, 0, 1])])
    assert split(dataset(tmp_path, layout_file(tmp_path))).outside == 0


def test_the_mean_pose_is_of_labelled_points_in_their_boxes(tmp_path: Path) -> None:
    first = instance(1, 1, [10, 20, 2, 50, 60, 2, 0, 0, 0], (10, 20, 40, 40))
    second = instance(2, 1, [20, 0, 2, 40, 40, 2, 0, 0, 0], (0, 0, 40, 80))
    written(tmp_path, "train", [image(1)], [first, second])
    written(tmp_path, "val", [image(11)], [instance(1, 11, NONE)])
    pose = analyse(dataset(tmp_path, layout_file(tmp_path))).pose
    assert pose is not None
    assert (pose.instances, pose.counts, pose.ratio) == (2, (2, 2, 0), 1.5)
    assert np.allclose(pose.means[:2], [(0.25, 0.0), (1.0, 0.75)])
    assert np.allclose(pose.covariances, [(0.0625, 0.0, 0.0), (0.0, 0.0, 0.0625), (0, 0, 0)])


def test_faces_have_square_boxes_around_their_centre(tmp_path: Path) -> None:
    face = {"id": 1, "image_id": 1, "category_id": 1, "center": [50, 40], "scale": 0.2, "keypoints": ALL}
    for name in ("train", "val"):
        written(tmp_path, name, [image(1)], [face])
    train = split(dataset(tmp_path, layout_file(tmp_path), box_from="center_scale"))
    assert train.sizes is not None
    assert (train.sizes.median, train.boxless) == (40.0, 0)
    found = of_dataset(dataset(tmp_path, layout_file(tmp_path), box_from="center_scale"), None)
    assert "COCO" not in words_of(found) + "".join(c.caption for s in found for c in s.figures)


def test_sides_follow_from_names() -> None:
    assert sides(("L_Eye", "right_hip", "ankle-r", "Root of tail", "little")) == ("left", "right", "right", "", "")


# Images that occur twice


@pytest.fixture
def twins(cats: Dataset) -> Callable[[], ImageAnalysis]:
    def look() -> ImageAnalysis:
        folder = Path(cats.root) / "images"
        files = {}
        for name in ("train", "val"):
            names = tuple(sorted(path.name for path in folder.glob(f"{name}*")))
            files[name] = Files(folder, names, np.full((len(names), 2), 96.0))
        return analyse_images(files)

    return look


def planted(cats: Dataset) -> Path:
    return Path(cats.root) / "images"


def test_different_pictures_are_not_taken_for_the_same(twins: Callable[[], ImageAnalysis]) -> None:
    assert twins().shared == ()


@pytest.mark.parametrize("kind", ["file", "bytes", "pixels", "alike", "smaller"])
def test_the_same_image_in_two_splits_is_found(cats: Dataset, twins: Callable[[], ImageAnalysis], kind: str) -> None:
    folder = planted(cats)
    original, copy = folder / "train_00007.jpg", folder / "val_copy.jpg"
    opened = Image.open(original).convert("RGB")
    if kind == "file":
        copy.hardlink_to(original)
    elif kind == "bytes":
        shutil.copy(original, copy)
    elif kind == "pixels":
        copy = folder / "val_copy.png"
        opened.save(copy)
    elif kind == "alike":
        opened.save(copy, quality=40)
    else:
        opened.resize((61, 61)).save(copy, quality=85)
    (found,) = twins().shared
    assert (found.first, found.second, found.images) == ("train", "val", 1)
    (pair,) = found.examples
    assert (pair.first, pair.second) == (original.name, copy.name)
    assert pair.kind == ("alike" if kind == "smaller" else kind)


def test_copies_inside_a_split_are_told_apart_from_copies_between_splits(
    cats: Dataset, twins: Callable[[], ImageAnalysis]
) -> None:
    folder = planted(cats)
    for copy in ("train_x1.jpg", "train_x2.jpg", "val_x3.jpg"):
        shutil.copy(folder / "train_00001.jpg", folder / copy)
    found = {(s.first, s.second): s.images for s in twins().shared}
    assert found == {("train", "train"): 2, ("train", "val"): 1}


def test_flat_images_are_only_the_same_where_their_pixels_are(tmp_path: Path) -> None:
    for i, shade in enumerate((10, 120, 121, 120)):
        Image.new("RGB", (40, 30), (shade,) * 3).save(tmp_path / f"{i}.png")
    names = tuple(f"{i}.png" for i in range(4))
    (found,) = analyse_images({"train": Files(tmp_path, names, np.full((4, 2), (40.0, 30.0)))}).shared
    assert [(t.first, t.second) for t in found.examples] == [("1.png", "3.png")]


@pytest.mark.skipif(not (LSPET / "images").is_dir(), reason="the photographs are not there; POSESTUDY_LSPET names them")
@pytest.mark.slow
def test_of_real_photographs_only_the_same_ones_are_found(tmp_path: Path) -> None:
    """Of the 1,328, one photograph is there in two sizes; seen by eye. Two copies are planted."""
    files = {}
    for name, file in (("train", "train"), ("val", "val"), ("test", "test_info")):
        images = json.loads((LSPET / "annotations" / f"{file}.json").read_text())["images"]
        names = [str(LSPET / "images" / i["file_name"]) for i in images]
        sizes = [(i["width"], i["height"]) for i in images]
        files[name] = (names, sizes)
    photo = Image.open(files["train"][0][5]).convert("RGB")
    photo.save(tmp_path / "encoded.jpg", quality=50)
    photo.resize((photo.width // 2, photo.height // 2)).save(tmp_path / "half.jpg", quality=90)
    for planted_file in ("encoded.jpg", "half.jpg"):
        files["test"][0].append(str(tmp_path / planted_file))
        files["test"][1].append((0, 0))
    looked = analyse_images({n: Files(Path("/"), tuple(of), np.array(s, dtype=float)) for n, (of, s) in files.items()})
    found = {(s.first, s.second): sorted(Path(t.second).name for t in s.examples) for s in looked.shared}
    planted_ones = {("train", "test"): ["encoded.jpg", "half.jpg"], ("test", "test"): ["half.jpg"]}
    assert found == planted_ones | {("train", "train"): ["im08796.jpg"]}
    assert [Path(t.first).name for s in looked.shared if s.second == "train" for t in s.examples] == ["im05545.jpg"]


# Files and pixels


def test_missing_damaged_and_other_sized_images_are_counted_and_named(cats: Dataset) -> None:
    folder = planted(cats)
    (folder / "train_00001.jpg").unlink()
    whole = (folder / "train_00002.jpg").read_bytes()
    (folder / "train_00002.jpg").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (50, 40)).save(folder / "train_00003.jpg")
    said = words_of(of_dataset(cats, None))
    assert "1 image has no file (such as train_00001.jpg)." in said
    assert "1 image cannot be decoded (such as train_00002.jpg)." in said
    assert "1 image has another size than the annotations say (such as train_00003.jpg)." in said
    assert "All images are 96 × 96 px." in said
    assert "51 files were compared by their bytes, 50 of them also by their pixels and their look." in said


def test_an_image_is_turned_as_training_turns_it(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # on its side
    Image.new("RGB", (40, 30), "red").save(tmp_path / "turned.jpg", exif=exif)
    stated = np.array([[30.0, 40.0]])
    assert analyse_images({"val": Files(tmp_path, ("turned.jpg",), stated)}).splits[0].other_size == 0


def test_colours_are_of_all_pixels(tmp_path: Path) -> None:
    Image.new("RGB", (10, 10), (255, 0, 51)).save(tmp_path / "a.png")
    Image.new("RGB", (10, 30), (0, 0, 51)).save(tmp_path / "b.png")
    Image.new("L", (10, 10), 0).save(tmp_path / "grey.png")
    names = ("a.png", "b.png", "grey.png")
    colours = analyse_images({"train": Files(tmp_path, names, np.zeros((3, 2)))}).splits[0].colours
    assert colours is not None
    assert colours.mean == pytest.approx((0.2, 0.0, 0.16))
    assert colours.std == pytest.approx((0.4, 0.0, 0.08))


def test_of_many_images_an_even_sample_is_decoded(cats: Dataset) -> None:
    folder = planted(cats)
    names = tuple(sorted(path.name for path in folder.glob("train*")))
    (folder / names[1]).write_bytes(b"no image")  # every fourth one is chosen: 0, 4, ...
    (folder / names[4]).write_bytes(b"none, too")
    looked = analyse_images({"train": Files(folder, names, np.full((40, 2), 96.0))}, most=10).splits[0]
    assert (looked.listed, looked.decoded, looked.unreadable_names) == (40, 10, (names[4],))


# Sentences and tables


def test_the_same_image_in_two_splits_is_said_with_its_names(cats: Dataset) -> None:
    shutil.copy(planted(cats) / "train_00005.jpg", planted(cats) / "val_00002.jpg")
    said = words_of(of_dataset(cats, None))
    assert (
        "1 image of the validation split is in the training split too, with the same bytes (such as val_00002.jpg and "
        "train_00005.jpg); what is measured on them flatters." in said
    )
    assert "No image was found" not in said


def test_images_that_are_alike_are_shown_side_by_side(cats: Dataset) -> None:
    assert not any(isinstance(f, Picture) for s in of_dataset(cats, None) for f in s.figures)
    opened = Image.open(planted(cats) / "train_00005.jpg").convert("RGB")
    opened.save(planted(cats) / "val_00002.jpg", quality=50)
    (picture,) = [f for s in of_dataset(cats, None) for f in s.figures if isinstance(f, Picture)]
    assert "train_00005.jpg (training) and val_00002.jpg (validation)" in picture.caption
    left, right = (np.asarray(Image.open(io.BytesIO(picture.data)).crop((x, 0, x + 260, 260)), float) for x in (0, 266))
    assert np.corrcoef(left.ravel(), right.ravel())[0, 1] > 0.98


def test_without_doubles_it_is_said_what_was_compared(cats: Dataset) -> None:
    said = words_of(of_dataset(cats, None))
    assert "No image was found twice, in one split or in two." in said
    assert "52 files were compared by their bytes, their pixels and their look." in said


def test_data_that_do_not_tell_hidden_from_visible_are_said_to(tmp_path: Path) -> None:
    for mark in (1, 2):
        root = tmp_path / str(mark)
        for name in ("train", "val"):
            written(root, name, [image(1)], [instance(1, 1, [10, 20, mark, 30, 30, mark, 40, 40, mark])])
        found = of_dataset(dataset(root, layout_file(root)), None)
        assert "labelled, and whether it is hidden is not told" in words_of(found)
        assert not re.search(r"\d % hidden", words_of(found))


def test_a_test_split_without_truth_is_said_to_have_none(tmp_path: Path) -> None:
    for name in ("train", "val"):
        written(tmp_path, name, [image(1)], [instance(1, 1, ALL)])
    written(
        tmp_path,
        "test",
        [image(21), image(22)],
        [instance(1, 21, NONE), {"id": 2, "image_id": 22, "bbox": [1, 1, 9, 9]}],
    )
    found = of_dataset(dataset(tmp_path, layout_file(tmp_path), test=True), None)
    said = words_of(found)
    assert "and 2 images with 2 instances for testing, of which no keypoint is given." in said
    assert "no labelled keypoint" not in said
    table = found[0].tables[0]
    assert [e.text for e in table.rows[2].entries] == ["test", "2", "2", "1.00", "24", "–"]


def test_an_empty_split_breaks_nothing(tmp_path: Path) -> None:
    written(tmp_path, "train", [], [])
    written(tmp_path, "val", [image(1)], [])
    found = of_dataset(dataset(tmp_path, layout_file(tmp_path)), None)
    assert "0 images with 0 instances for training" in words_of(found)
    assert all(chart.vector("svg") for section in found for chart in section.figures)


def test_a_split_that_cannot_be_read_is_told(small: Dataset) -> None:
    (Path(small.root) / "val.json").write_text("{")
    said = words_of(of_dataset(small, None))
    assert "The annotations of the validation split cannot be read." in said
    assert "3 images with 5 instances for training" in said


def test_what_is_odd_has_a_row_and_a_clean_data_set_no_table(small: Dataset, cats: Dataset) -> None:
    odd = next(t for t in of_dataset(small, None)[0].tables if t.name == "dataset_odd")
    rows = {row.entries[0].text: [str(e.text) for e in row.entries[1:]] for row in odd.rows}
    assert rows["Images without an instance"] == ["1", "0"]
    assert rows["Labelled keypoints outside their image"] == ["2", "0"]
    assert rows["Boxes without area or outside their image"] == ["2", "0"]
    assert "dataset_odd" not in [t.name for t in of_dataset(cats, None)[0].tables]


def test_every_number_has_an_address_and_one_text(small: Dataset, cats: Dataset) -> None:
    for data in (small, cats):
        found = of_dataset(data, None)
        numbers = collected(found)  # raises where one address has two texts
        assert numbers["dataset/train/images"].value == split(data).images
        assert all(re.fullmatch(r"dataset/[A-Za-z0-9/._-]+", address) for address in numbers)
        for text in (text for section in found for text in section.texts):
            unaddressed = "".join(piece for piece in pieces_of(text) if isinstance(piece, str))
            known_ones = r"of \d+ keypoints|32 × 32|96 × 96|where 1 is|annotations? [\d, and]+|\w+\.png"
            assert not re.search(r"\d", re.sub(known_ones, "", unaddressed)), text


def test_text_of_any_kind_is_drawn_and_written(tmp_path: Path) -> None:
    names = (f"l {NASTY}", "right\n$x$", "猫")
    for name in ("train", "val"):
        written(tmp_path, name, [image(1)], [instance(1, 1, [10, 20, 2, 0, 0, 0, 30, 40, 1])])
    found = of_dataset(dataset(tmp_path, layout_file(tmp_path, names)), None)
    assert all(chart.vector("svg") for section in found for chart in section.figures)


# Figures


def svg_texts(drawn: bytes) -> list[tuple[float, str]]:
    found = re.findall(r"<text[^>]*?font-size: ([\d.]+)px[^>]*>([^<]*)</text>", drawn.decode(), re.S)
    return [(float(size), text) for size, text in found]


def faces(root: Path) -> Dataset:
    rng = np.random.default_rng(0)
    for name, first in (("train", 0), ("val", 100)):
        annotations = [
            {
                "id": i, "image_id": i, "category_id": 1, "center": [50, 40], "scale": 0.3,
                "keypoints": [v for x, y in rng.uniform(25, 65, (98, 2)) for v in (x, y, int(rng.integers(0, 3)))],
            }
            for i in range(first, first + 4)
        ]  # fmt: skip
        written(root, name, [image(i) for i in range(first, first + 4)], annotations)
    return dataset(root, "wflw")


@pytest.fixture(scope="module", params=["cats", "faces"])
def any_data(request: pytest.FixtureRequest, cats_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    if request.param == "faces" and not installed():
        pytest.skip("MMPose, whose layout has 98 keypoints, is not installed")
    return of_cats(cats_root) if request.param == "cats" else faces(tmp_path_factory.mktemp("faces"))


@pytest.fixture(scope="module")
def any_sections(any_data: Dataset) -> tuple[Section, ...]:
    """Of this data set; each figure is drawn once."""
    return of_dataset(any_data, None)


def test_figures_are_legible_in_a_column(any_sections: tuple[Section, ...]) -> None:
    charts = [chart for section in any_sections for chart in section.figures]
    assert {c.name for c in charts} >= {"dataset_overview", "dataset_labels", "dataset_boxes", "dataset_images"}
    for chart in charts:
        drawn = chart.vector("svg")
        assert re.search(r'width="238\.\d+pt"', drawn.decode()), chart.name  # 84 mm
        texts = svg_texts(drawn)
        assert texts, chart.name
        assert min(size for size, _ in texts) >= 6.5


def test_the_same_data_give_the_same_bytes(any_data: Dataset, any_sections: tuple[Section, ...]) -> None:
    again = of_dataset(any_data, None)
    assert [(s.texts, s.tables) for s in again] == [(s.texts, s.tables) for s in any_sections]
    for name in ("dataset_overview", "dataset_boxes"):
        first, second = (next(c for s in of for c in s.figures if c.name == name) for of in (any_sections, again))
        assert first.vector("svg") == second.vector("svg")


def test_names_stand_where_there_is_room_for_them(any_data: Dataset, any_sections: tuple[Section, ...]) -> None:
    overview = next(c for s in any_sections for c in s.figures if c.name == "dataset_overview")
    texts = [text for _, text in svg_texts(overview.vector("svg"))]
    if any_data.keypoints == "cats":
        assert "R Shoulder" in texts
        assert "dataset_keypoints" in [t.name for t in any_sections[0].tables]
    else:
        assert not any(text.startswith("kpt") for text in texts)
        assert "index of the keypoint" in texts
        assert "dataset_keypoints" not in [t.name for t in any_sections[0].tables]


# The cache, and data that are gone


def told(data: Dataset, home: Home | None) -> tuple[Any, ...]:
    found = of_dataset(data, home)
    return tuple((s.texts, s.tables, tuple(c.caption for c in s.figures)) for s in found)


def boxes(found: tuple[Section, ...]) -> bytes:
    """A figure that is quick to draw."""
    return next(c for s in found for c in s.figures if c.name == "dataset_boxes").vector("svg")


def test_with_the_cache_everything_is_the_same_and_no_image_is_read(cats: Dataset, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    before = told(cats, None)
    drawn = [boxes(of_dataset(cats, place)) for place in (None, home, home)]
    assert drawn[0] == drawn[1] == drawn[2]
    assert told(cats, home) == before
    for path in planted(cats).iterdir():
        was = path.stat()
        path.write_bytes(bytes(was.st_size))
        os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert told(cats, home) == before
    known(cats, home, anew=True)
    assert "cannot be decoded" in words_of(of_dataset(cats, home))


def test_an_image_that_takes_the_place_of_another_is_read(cats: Dataset, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    assert "cannot be decoded" not in words_of(of_dataset(cats, home))
    first = min(planted(cats).iterdir())
    first.write_bytes(b"no picture")
    assert "cannot be decoded" in words_of(of_dataset(cats, home))


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff\x00", b'{"stamps": {}, "analysis": {"splits": 3}}'])
def test_a_damaged_cache_is_made_anew(cats: Dataset, tmp_path: Path, damage: bytes) -> None:
    home = Home(tmp_path / "home")
    before = told(cats, home)
    (kept,) = home.cache.glob("dataset_*.json")
    whole = kept.read_bytes()
    kept.write_bytes(damage)
    assert told(cats, home) == before
    assert kept.read_bytes() == whole


def test_changed_annotations_are_read_again(cats: Dataset, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    of_dataset(cats, home)
    path = Path(cats.root) / "annotations" / "val.json"
    document = json.loads(path.read_text())
    document["annotations"] = document["annotations"][:3]
    path.write_text(json.dumps(document))
    assert "12 images with 3 instances for validation" in words_of(of_dataset(cats, home))


def test_a_home_that_cannot_be_written_costs_nothing_but_time(cats: Dataset, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    assert told(cats, Home(tmp_path / "home")) == told(cats, None)


def test_of_data_that_are_gone_the_cache_is_told_and_nothing_else(cats: Dataset, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    before = of_dataset(cats, home)
    shutil.rmtree(cats.root)
    after = of_dataset(cats, home)
    assert after[0].texts[0].startswith("The data set is not where the study says any more")
    assert after[0].texts[1:] == before[0].texts
    assert of_dataset(cats, None) == of_dataset(cats, Home(tmp_path / "other")) == ()


def test_without_images_the_annotations_are_told(cats: Dataset) -> None:
    shutil.rmtree(planted(cats))
    said = words_of(of_dataset(cats, None))
    assert "The image files were not there to be looked at." in said
    assert "40 images" in said


def test_data_that_changed_since_the_launch_are_said_to_have(cats: Dataset) -> None:
    study = study_with({"name": "s", "design": "variants", "variants": {"a": {"sigma": 1.0}}})
    launched = sealed(study.model_copy(update={"dataset": cats})).dataset
    assert "have changed" not in words_of(of_dataset(launched, None))
    path = Path(cats.root) / "annotations" / "train.json"
    path.write_text(path.read_text() + " ")
    assert "The files of the data set have changed since the study was launched" in words_of(of_dataset(launched, None))


def test_a_study_that_is_not_understood_has_no_section() -> None:
    assert sections(finished().report().material) == ()
    with pytest.raises(PoseStudyError, match="is not understood"):
        _ = finished().report().instances


# The frame and the command


def test_the_frame_has_a_row_for_each_instance(small: Dataset) -> None:
    frame = dataset_frame.instances(small)
    assert list(frame.columns) == list(dataset_frame.COLUMNS)
    assert list(frame.annotation_id) == [1, 2, 3, 4, 5, 6, 1]
    second = frame.iloc[1]
    assert (second.split, second.file_name, second.size_px, second.labelled, second.outside) == (
        "train",
        "1.png",
        60,
        2,
        1,
    )
    assert second.farthest_px == 30
    assert list(frame.has_box) == [True, True, True, False, False, True, True]
    assert list(frame.crowd) == [False] * 5 + [True, False]
    assert list(frame.area_class[:5]) == ["medium", "medium", "medium", "small", "large"]
    train = split(small)
    kept = frame[(frame.split == "train") & ~frame.crowd]
    assert (len(kept), int((kept.labelled == 0).sum()), int(kept.outside.sum())) == (
        train.instances, train.bare, train.outside,
    )  # fmt: skip
    (Path(small.root) / "val.json").unlink()
    with pytest.raises(PoseStudyError, match="cannot read the annotations of val"):
        dataset_frame.instances(small)


STUDY = """\
study: looked_at
dataset:
  keypoints: cats
  root: {root}
  train: {{annotations: annotations/train.json, images: images}}
  val:   {{annotations: annotations/val.json,   images: images}}
baseline: {{model: resnet_tiny, input_size: [64, 64], epochs: 2, batch_size: 8, optimizer: {{type: Adam, lr: 1.0e-3}}}}
stages:
  - {{name: a, design: variants, variants: {{b: {{sigma: 1.0}}}}}}
"""


@pytest.fixture
def file(cats: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("POSESTUDY_HOME", str(tmp_path / "home"))
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.format(root=cats.root))
    return path


@pytest.mark.slow
def test_the_command_writes_text_tables_and_figures(cats: Dataset, file: Path, tmp_path: Path) -> None:
    dataset_command(file, tmp_path / "out")
    text = (tmp_path / "out" / "dataset.md").read_text()
    assert "52 images" in text
    paths = re.findall(r"\]\((figures/[^)]+)\)", text)
    assert len(paths) >= 4
    for path in paths:
        assert (tmp_path / "out" / path).read_bytes().startswith(b"<?xml")
        assert (tmp_path / "out" / path).with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    shutil.copy(planted(cats) / "train_00001.jpg", planted(cats) / "val_00001.jpg")
    dataset_command(file, tmp_path / "out")  # reads the files again, whatever it has found before
    assert "with the same bytes" in (tmp_path / "out" / "dataset.md").read_text()


def test_the_command_tells_what_is_missing(cats: Dataset, file: Path, tmp_path: Path) -> None:
    shutil.rmtree(cats.root)
    with pytest.raises(InputError, match="no such folder"):
        dataset_command(file, tmp_path / "out")
    assert not (tmp_path / "out").exists()
