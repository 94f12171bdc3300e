"""A served model reads images of the folder it was told of by path, and no other file of its machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from posestudy_reports import pose_model


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    from PIL import Image

    inside, outside = tmp_path / "images", tmp_path / "private"
    for place in (inside, outside):
        place.mkdir()
        Image.fromarray(np.full((4, 6, 3), 9, np.uint8)).save(place / "cat.png")
    (inside / "link.png").symlink_to(outside / "cat.png")
    monkeypatch.delenv(pose_model.IMAGES, raising=False)
    return inside, outside


def test_without_a_folder_no_path_is_read(folders: tuple[Path, Path]) -> None:
    for path in (folders[0] / "cat.png", Path("/etc/passwd")):
        with pytest.raises(Exception, match="is no base64 and names no image inside"):
            pose_model._pixels(str(path), 0)


def test_paths_inside_the_folder_are_read_and_others_are_not(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, outside = folders
    monkeypatch.setenv(pose_model.IMAGES, str(inside))
    assert pose_model._pixels("cat.png", 0).shape == pose_model._pixels(str(inside / "cat.png"), 0).shape == (4, 6, 3)
    for name in (str(outside / "cat.png"), "../private/cat.png", "link.png", "/etc/passwd", "no.png", "a\0b"):
        with pytest.raises(Exception, match="names no image inside"):
            pose_model._pixels(name, 0)
