"""Whatever stands in annotations, detections and image files, `check` tells it, and nothing else comes out."""

import gzip
import json
import os
import random
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from posestudy import fuzzing
from posestudy.errors import PoseStudyError
from posestudy_studies import dataset, images
from posestudy_studies.designs.contract import study_with
from posestudy_studies.spec import Dataset


def coco(first, count):
    return {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 32, "height": 24} for i in range(first, first + count)],
        "annotations": [
            {"id": i + 10, "image_id": i, "category_id": 1, "iscrowd": 0, "bbox": [2, 2, 20, 18], "area": 360.0,
             "num_keypoints": 17, "keypoints": [5, 6, 2] * 17}
            for i in range(first, first + count)
        ],
        "categories": [{"id": 1, "name": "person", "keypoints": ["nose"], "skeleton": [[1, 2]]}],
    }  # fmt: skip


BOXES = [{"image_id": i, "category_id": 1, "bbox": [2, 2, 20, 18], "score": 0.9} for i in (2, 3)]
GOOD = {"train": coco(0, 2), "val": coco(2, 2), "test": coco(0, 2), "boxes": BOXES}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    (folder / "images").mkdir()
    for i in range(4):
        picture = np.random.default_rng(i).integers(0, 255, (24, 32, 3), dtype=np.uint8)
        assert cv2.imwrite(str(folder / "images" / f"{i}.jpg"), picture)
    return folder


def study_of(root, **changed):
    """The study on `GOOD`, with `changed` files: bytes, or data that becomes JSON."""
    for name, data in {**GOOD, **changed}.items():
        raw = data if isinstance(data, bytes) else json.dumps(data).encode("utf-8", "surrogatepass")
        (root / f"{name}.json").write_bytes(raw)
    split = {"images": "images"}
    described = {"keypoints": "coco", "root": str(root)} | {
        name: split | {"annotations": f"{name}.json"} for name in ("train", "val", "test")
    }
    made = study_with({"name": "s", "design": "variants", "variants": {"a": {"sigma": 1.0}}})
    boxes = made.evaluation.model_copy(update={"boxes": "boxes.json"})
    return made.model_copy(update={"dataset": Dataset.model_validate(described), "evaluation": boxes})


def told(root, **changed):
    return [str(problem).replace(str(root), "ROOT") for problem in dataset.problems(study_of(root, **changed))]


def one(name, place, value):
    data = json.loads(json.dumps(GOOD[name]))
    fuzzing.at(data, place[:-1])[place[-1]] = value
    return {name: data}


def test_the_good_files_are_good(root):
    assert told(root) == []


def look(root, seed):
    chance = random.Random(seed)
    name = chance.choice(list(GOOD))
    if chance.random() < 0.75:
        data, _ = fuzzing.mutated(GOOD[name], chance, chance.choice((1, 1, 2, 5)))
    else:
        data = fuzzing.damaged(json.dumps(GOOD[name]).encode(), chance)
    study = study_of(root, **{name: data})
    for problem in dataset.problems(study):
        assert problem.found, problem
        assert problem.expected, problem
        assert problem.file.endswith(".json"), problem
    try:
        dataset.sealed(study)
    except PoseStudyError:
        assert dataset.problems(study)


@fuzzing.drawn(60)
def test_changed_and_damaged_files(root, seed):
    look(root, seed)


@pytest.mark.slow
@fuzzing.drawn(600)
def test_many_changed_and_damaged_files(root, seed):
    look(root, seed)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (one("val", ("annotations", 0, "keypoints", 0), 10**400), "annotations[0].keypoints: found values that are no"),
        (one("val", ("annotations", 0, "keypoints", 0), 2**64), "annotations[0].keypoints: found values that are no"),
        (one("val", ("annotations", 0, "bbox", 2), 1e300), "annotations[0].bbox: found [2, 2, 1e+300, 18]"),
        (one("val", ("annotations", 0, "area"), 10**400), "annotations[0].area: found "),
        (one("train", ("annotations", 0, "area"), "x"), "annotations[0].area: found 'x'"),
        (one("val", ("annotations", 0, "id"), -1), "annotations[0].id: found -1, expected a whole number from 0"),
        (one("val", ("annotations", 0, "id"), 2**64), "annotations[0].id: found 18446744073709551616"),
        (one("train", ("annotations", 0, "category_id"), None), "annotations[0].category_id: found nothing"),
        (one("val", ("annotations", 0, "category_id"), 7), "category_id: found 7, expected the id of a category in"),
        (one("val", ("annotations", 0, "category_id"), {}), "annotations[0].category_id: found an empty mapping"),
        (one("val", ("categories", 0), {"name": "person"}), "categories[0]: found a mapping, expected a mapping with"),
        (one("test", ("categories",), 3), "categories: found 3, expected a list of categories"),
        (one("test", ("annotations", 1, "bbox"), "x"), "annotations[1].bbox: found 'x'"),
        (one("test", ("annotations", 1, "keypoints"), [1]), "annotations[1].keypoints: found 1 numbers"),
        (one("train", ("images", 0, "file_name"), "a" * 5000), "found no file ROOT/images/aaa"),
        (one("train", ("images", 0, "file_name"), "\ud800.jpg"), "images[0].file_name: found '\\ud800.jpg'"),
        (one("train", ("images", 0, "file_name"), "../.."), "found '../..', expected an image inside dataset.root"),
        (one("boxes", (0, "image_id"), 9), "[0].image_id: found 9, expected the id of an image of the split"),
        (one("boxes", (0, "score"), None), "[0].score: found nothing, expected a number"),
        (one("boxes", (0, "bbox"), [1, 2, 3]), "[0].bbox: found [1, 2, 3]"),
        (one("boxes", (0,), 3), "[0]: found 3, expected a mapping with image_id"),
        ({"boxes": [{**BOXES[0], "category_id": 2}]}, "found no detection of category 1"),
        ({"val": b"\xef\xbb\xbf{}"}, "found a byte order mark before the JSON"),
        ({"val": json.dumps(GOOD["val"]).encode("utf-16")}, "found no UTF-8 text (byte 0xff at 0)"),
        ({"val": gzip.compress(b"{}")}, "it is a gzip archive: unpack it"),
        ({"val": b"version https://git-lfs.github.com/spec/v1\n"}, "it is a Git LFS pointer: `git lfs pull` fetches"),
        ({"val": b"<html>404"}, "it is a web page"),
        ({"val": b""}, "it is an empty file"),
        ({"val": b'{"images": ' + b"[" * 100_000}, "found no JSON (RecursionError)"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)  # fmt: skip
def test_what_was_found_once_is_told(root, changed, said):
    assert any(said in line for line in told(root, **changed)), told(root, **changed)


@pytest.mark.parametrize("key", ["iscrowd", "num_keypoints"])
def test_a_split_of_which_mmpose_uses_nothing(root, key):
    data = json.loads(json.dumps(GOOD["train"]))
    for annotation in data["annotations"]:
        annotation[key] = 1 - annotation[key] if key == "iscrowd" else 0
    assert any("no instance that MMPose uses" in line for line in told(root, train=data))


@pytest.mark.parametrize("kind", ["folder", "loop", "pipe", "gone"])
def test_something_else_in_the_place_of_annotations(root, kind):
    study, path = study_of(root), root / "val.json"
    path.unlink()
    {
        "folder": path.mkdir,
        "loop": lambda: path.symlink_to(path),
        "pipe": lambda: os.mkfifo(path),
        "gone": lambda: None,
    }[kind]()
    try:
        found = [str(problem) for problem in dataset.problems(study)]
    finally:
        path.rmdir() if kind == "folder" else path.unlink(missing_ok=True)
    assert any("val.json" in line and "dataset.val" in line for line in found)


def png(width, height, data):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8))


def saved(path, picture=PICTURE, **options):
    picture.save(path, **options)
    return path


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda p: p.write_bytes(saved(p).read_bytes()[:900]), "a truncated image"),
        (lambda p: p.write_bytes(saved(p).read_bytes()[:20]), "a corrupt image"),
        (lambda p: p.write_bytes(b""), "an empty file"),
        (lambda p: p.write_bytes(bytes(5000)), "nothing but zero bytes"),
        (lambda p: p.write_text("hello"), "a text file"),
        (lambda p: p.write_text("<html>404"), "a web page"),
        (lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\n"), "a Git LFS pointer"),
        (lambda p: p.write_bytes(png(60_000, 60_000, b"")), "an image of more than 178 megapixels"),
        (lambda p: p.write_bytes(png(2**31 - 1, 2**31 - 1, b"")), "an image of more than 178 megapixels"),
        (lambda p: p.write_bytes(png(64, 48, b"\0" * 300)), "a truncated image"),
        (lambda p: saved(p, Image.fromarray(np.ones((9, 9), np.float32)), format="TIFF"), "an image that OpenCV"),
        (lambda p: p.symlink_to("nowhere"), images.MISSING),
        (lambda p: p.symlink_to(p), images.MISSING),
        (lambda p: p.symlink_to("/dev/zero"), images.MISSING),
        (lambda p: p.mkdir(), images.MISSING),
        (os.mkfifo, images.MISSING),
        (lambda p: saved(p, PICTURE.convert("CMYK")), None),
        (lambda p: saved(p, PICTURE.convert("L")), None),
        (lambda p: saved(p, PICTURE.convert("RGBA"), format="PNG"), None),
        (lambda p: saved(p, PICTURE.convert("P"), format="GIF", save_all=True, append_images=[PICTURE]), None),
        (lambda p: saved(p, Image.new("RGB", (1, 1))), None),
        (lambda p: saved(p, Image.fromarray(np.full((9, 9), 60_000, np.uint16)), format="PNG"), None),
    ],
)  # fmt: skip
def test_images_of_every_kind_are_named_as_training_would_meet_them(tmp_path, write, said):
    path = tmp_path / "x.jpg"
    write(path)
    found = images.unreadable([path])
    assert [(at, text.startswith(said or "?")) for at, text in found] == ([] if said is None else [(path, True)])
    if path.is_file() and said not in ("a truncated image", images.MISSING):
        try:
            read = cv2.imread(str(path))
        except cv2.error:
            read = None
        assert (read is not None) == (said is None)
