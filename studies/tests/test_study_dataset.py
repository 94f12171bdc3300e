"""A data set's mistakes are found before any training time is spent, and its fingerprint sees every change."""

import json

import cv2
import numpy as np
import pytest

from posestudy.errors import InputError
from posestudy_studies import dataset
from posestudy_studies.designs.contract import study_with
from posestudy_studies.spec import Dataset


def coco_file(path, first, count):
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 32, "height": 24} for i in range(first, first + count)]
    annotations = [
        {"id": i, "image_id": i, "category_id": 1, "iscrowd": 0, "bbox": [2, 2, 20, 18], "area": 360.0,
         "num_keypoints": 17,
         "keypoints": [5, 6, 2] * 17}
        for i in range(first, first + count)
    ]  # fmt: skip
    data = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
    path.write_text(json.dumps(data))


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    for i in range(6):
        picture = np.random.default_rng(i).integers(0, 255, (24, 32, 3), dtype=np.uint8)
        assert cv2.imwrite(str(folder / "images" / f"{i}.jpg"), picture)
    coco_file(folder / "train.json", 0, 4)
    coco_file(folder / "val.json", 4, 2)
    return folder


def study(root, **fields):
    split = {"images": "images"}
    data = {
        "keypoints": "coco", "root": str(root),
        "train": split | {"annotations": "train.json"}, "val": split | {"annotations": "val.json"},
    } | fields  # fmt: skip
    made = study_with({"name": "s", "design": "variants", "variants": {"a": {"sigma": 1.0}}})
    return made.model_copy(update={"dataset": Dataset.model_validate(data)})


def complaints(root, **fields):
    return [str(p).replace(f"{root}/", "").replace(str(root), "ROOT") for p in dataset.problems(study(root, **fields))]


def edit(path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def test_a_sound_data_set_has_no_problems(root):
    seen = dataset.inspect(study(root))
    assert (seen.problems, seen.notes) == ([], [])
    assert (seen.facts["train"].images, seen.facts["val"].instances) == (4, 2)


def test_missing_root(tmp_path):
    [text] = complaints(tmp_path / "none")
    assert text.startswith("ROOT: dataset.root: found no such folder, expected the folder of the data set")
    assert "--set dataset.root=DIR" in text


def test_root_that_is_a_file(root):
    assert "found no folder" in complaints(root / "train.json")[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "train.json: dataset.train.annotations: found no such file, expected COCO keypoint JSON"),
        ("{", "found no JSON (Expecting property name enclosed in double quotes in line 1 column 2)"),
        ("[1]", "found [1], expected COCO keypoint JSON: a mapping with images, annotations and categories"),
        ("[" * 100_000, "found no JSON (RecursionError)"),
        ('{"images": [], "annotations": [], "categories": [{}]}', "found an empty split (no images)"),
    ],
)
def test_unusable_annotation_files(root, text, expected):
    (root / "train.json").unlink() if text is None else (root / "train.json").write_text(text)
    assert any(expected in line for line in complaints(root))


def annotation(key, value):
    def change(data):
        if value is None:
            data["annotations"][1].pop(key)
        else:
            data["annotations"][1][key] = value

    return change


def image(key, value):
    return lambda data: data["images"][1].__setitem__(key, value)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            annotation("keypoints", [1, 2, 2] * 14),
            "val.json: annotations[1].keypoints: found 42 numbers, expected 51 (17 ",
        ),
        (annotation("keypoints", [1, 2, 7] * 17), "annotations[1].keypoints: found values that are no keypoints"),
        (annotation("keypoints", None), "annotations[1].keypoints: found nothing, expected 51 numbers"),
        (
            annotation("bbox", [2, 2, 0, 9]),
            "annotations[1].bbox: found a box of zero area [2, 2, 0, 9], expected a width",
        ),
        (annotation("bbox", [90, 2, 5, 9]), "found a box [90, 2, 5, 9] outside its image of 32 x 24"),
        (annotation("bbox", [1, 2]), "annotations[1].bbox: found [1, 2], expected [x, y, width, height] in pixels"),
        (annotation("image_id", 77), "annotations[1].image_id: found 77, expected the id of an image in this file"),
        (annotation("id", 4), "annotations[1].id: found 4 a second time, expected an id of its own"),
        (annotation("area", None), "annotations[1].area: found nothing, expected the instance's area"),
        (image("id", 4), "images[1].id: found 4 a second time"),
        (image("file_name", "4.jpg"), "images[1].file_name: found '4.jpg' a second time, expected each image once"),
        (image("file_name", "no.jpg"), "val.json: images[1].file_name: found no file images/no.jpg, expected an image"),
        (
            image("file_name", "../../x.jpg"),
            "images[1].file_name: found '../../x.jpg', expected an image inside dataset.root",
        ),
        (image("width", 0), "images[1]: found width 0 and height 24, expected the image's size in pixels"),
        (lambda d: d["annotations"].clear(), "found an empty split (no instance with a labelled keypoint)"),
        (lambda d: d.pop("categories"), "categories: found nothing, expected a list with one category"),
    ],
)
def test_mistakes_in_annotations(root, change, expected):
    edit(root / "val.json", change)
    found = complaints(root)
    assert any(expected in line for line in found), found


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (
            lambda raw: raw[: len(raw) // 2],
            "found a truncated image images/2.jpg, expected an image that can be decoded",
        ),
        (lambda raw: b"not a picture", "found a text file images/2.jpg"),
        (lambda raw: b"", "found an empty file images/2.jpg"),
    ],
)
def test_images_that_cannot_be_decoded(root, spoil, expected):
    path = root / "images" / "2.jpg"
    path.write_bytes(spoil(path.read_bytes()))
    [text] = complaints(root)
    assert "train.json: images[2].file_name" in text
    assert expected in text


def test_a_link_out_of_the_root_is_refused(root, tmp_path):
    outside = tmp_path / "outside.json"
    (root / "val.json").rename(outside)
    (root / "val.json").symlink_to(outside)
    assert "found a link to" in complaints(root)[0]
    (root / "images" / "5.jpg").rename(tmp_path / "5.jpg")
    (root / "images" / "5.jpg").symlink_to(tmp_path / "5.jpg")
    (root / "val.json").unlink()
    outside.rename(root / "val.json")
    assert "images[1].file_name: found '5.jpg', expected an image inside dataset.root" in complaints(root)[0]


def test_an_image_in_train_and_val_is_noted_not_refused(root):
    coco_file(root / "val.json", 3, 2)
    seen = dataset.inspect(study(root))
    assert seen.problems == []
    assert "1 images are in train and in val (such as 3.jpg)" in seen.notes[0]


def corners(data):
    for annotation in data["annotations"]:
        x, y, width, height = annotation["bbox"]
        annotation["bbox"] = [x + 6, y + 6, x + width + 6, y + height + 6]


def shares(data):
    for annotation in data["annotations"]:
        annotation["keypoints"] = [v if i % 3 == 2 else v / 32 for i, v in enumerate(annotation["keypoints"])]


def test_boxes_given_by_their_corners_are_noted(root):
    edit(root / "train.json", corners)
    seen = dataset.inspect(study(root))
    assert seen.problems == []
    (note,) = [note for note in seen.notes if "reach out" in note]
    assert note.startswith("4 of 4 boxes of train reach out of their image by more than a quarter of their side")
    assert "[x, y, width, height]" in note


def test_keypoints_given_as_shares_of_the_image_are_noted(root):
    edit(root / "val.json", shares)
    (note,) = dataset.inspect(study(root)).notes
    assert note.startswith("2 of 2 instances of val have most of their keypoints outside their box")


def test_boxes_of_a_test_split_are_noted_and_its_missing_labels_are_not(root):
    coco_file(root / "test.json", 0, 2)
    edit(root / "test.json", lambda data: (corners(data), [a.pop("keypoints") for a in data["annotations"]]))
    (note,) = dataset.inspect(study(root, test={"annotations": "test.json", "images": "images"})).notes
    assert note.startswith("2 of 2 boxes of test reach out")


def test_one_odd_box_and_one_odd_instance_among_many_are_not_noted(root):
    coco_file(root / "train.json", 0, 4)

    def many(data):
        first = data["annotations"][0]
        data["annotations"] += [first | {"id": 100 + i} for i in range(16)]
        corners({"annotations": data["annotations"][1:2]})
        shares({"annotations": data["annotations"][2:3]})

    edit(root / "train.json", many)
    assert dataset.inspect(study(root)).notes == []


def test_a_thousand_mistakes_of_one_kind_stay_readable(root):
    coco_file(root / "val.json", 4, 500)
    found = complaints(root)
    assert len(found) == 6
    assert "493 more of the same kind" in found[-1]


def test_a_test_split_needs_images_only(root):
    (root / "test.json").write_text(
        json.dumps({"images": [{"id": 1, "file_name": "1.jpg", "width": 32, "height": 24}]})
    )
    assert complaints(root, test={"annotations": "test.json", "images": "images"}) == []
    assert "no such file" in complaints(root, test={"annotations": "t.json", "images": "images"})[0]


BOX = {"id": 7, "image_id": 1, "category_id": 1, "bbox": [2, 2, 20, 18]}


@pytest.mark.parametrize("annotations", [None, [], [{key: BOX[key] for key in ("id", "image_id", "category_id")}]])
def test_a_test_split_without_boxes_is_named_and_refused_where_training_would_predict_it(root, annotations):
    images = [{"id": 1, "file_name": "1.jpg", "width": 32, "height": 24}]
    data = {"images": images} | ({} if annotations is None else {"annotations": annotations})
    (root / "test.json").write_text(json.dumps(data))
    made = study(root, test={"annotations": "test.json", "images": "images"})

    def seen(**evaluation):
        return dataset.inspect(made.model_copy(update={"evaluation": made.evaluation.model_copy(update=evaluation)}))

    (note,) = [note for note in seen().notes if "the test split" in note]
    assert "`predict --split test`" in note
    assert "evaluation.test_boxes" in note
    (problem,) = seen(submission=True).problems
    assert "dataset.test: found no box in any annotation" in str(problem)
    (root / "boxes.json").write_text(json.dumps([{"image_id": 1, "bbox": [1, 2, 3, 4], "score": 1, "category_id": 1}]))
    detected = seen(submission=True, test_boxes="boxes.json")
    assert (detected.problems, detected.notes) == ([], [])
    (root / "test.json").write_text(json.dumps(data | {"annotations": [BOX]}))
    own = seen(submission=True)
    assert (own.problems, own.notes) == ([], [])


def test_a_detection_file_must_be_one(root):
    made = study(root)
    made = made.model_copy(update={"evaluation": made.evaluation.model_copy(update={"boxes": "boxes.json"})})
    assert "no such file" in str(dataset.problems(made)[0])
    (root / "boxes.json").write_text("{}")
    assert "found no detections" in str(dataset.problems(made)[0])
    (root / "boxes.json").write_text(json.dumps([{"image_id": 4, "bbox": [1, 2, 3, 4], "score": 1, "category_id": 1}]))
    assert dataset.problems(made) == []


def test_the_fingerprint_sees_data_and_not_its_place(root, tmp_path):
    first = dataset.fingerprint(study(root).dataset)
    assert len(first) == 64
    moved = root.rename(tmp_path / "moved")
    assert dataset.fingerprint(study(moved).dataset) == first
    assert dataset.fingerprint(study(moved, keypoints="cats").dataset) != first
    edit(moved / "val.json", annotation("bbox", [2, 2, 20, 17]))
    second = dataset.fingerprint(study(moved).dataset)
    assert second != first
    picture = moved / "images" / "1.jpg"
    picture.write_bytes(picture.read_bytes() + b"\0")
    assert dataset.fingerprint(study(moved).dataset) not in (first, second)
    assert dataset.sealed(study(moved)).dataset.fingerprint == dataset.fingerprint(study(moved).dataset)
    picture.unlink()
    with pytest.raises(InputError, match="No such file"):
        dataset.fingerprint(study(moved).dataset)
