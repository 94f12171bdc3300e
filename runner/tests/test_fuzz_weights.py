"""Whatever is in a file of weights, it is named, and no code in it runs."""

from __future__ import annotations

import io
import os
import pickle
import random
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

import posestudy_runner.plugin  # noqa: F401  (before mmpose, which does not import without it)
from posestudy import fuzzing
from posestudy.errors import PoseStudyError
from posestudy_runner import transpose_weights

MARK = "ran.txt"


class Code:
    """Makes a file when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, (MARK,)


def network(checkpoint: Path | None = None) -> Any:
    import mmpose.models  # noqa: F401
    from mmpose.registry import MODELS

    init = {"init_cfg": {"type": "Pretrained", "checkpoint": str(checkpoint)}} if checkpoint else {}
    return MODELS.build({"type": "mmpose.ResNet", "depth": 18, "base_channels": 2, "stem_channels": 2, **init})


@cache
def good() -> dict[str, torch.Tensor]:
    return dict(network().state_dict())


def saved(document: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(document, stream, **options)
    return stream.getvalue()


def zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("notes.txt", "hello")
    return stream.getvalue()


def start(path: Path) -> str:
    """What a network says that starts from the file: nothing where it fits."""
    said = ""
    for use in (lambda: network(path).init_weights(), lambda: transpose_weights.state_dict_of(path)):
        try:
            use()
        except PoseStudyError as error:
            said = said or str(error)
    return said


def nan() -> dict[str, torch.Tensor]:
    return {**good(), "conv1.weight": torch.full_like(good()["conv1.weight"], float("nan"))}


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (lambda: b"", "is not a file of weights (it is an empty file); expected tensors by name"),
        (lambda: b"hello", "is not a file of weights (it is a text file)"),
        (lambda: b"version https://git-lfs.github.com/spec/v1\n", "(it is a Git LFS pointer: `git lfs pull` fetches"),
        (lambda: b"<!DOCTYPE html><html>", "(it is a web page: was an error page saved in its place?)"),
        (zipped, "is not a file of weights ("),
        (lambda: pickle.dumps(Code(), 2), "is not a file of weights (it is more than tensors: it asks for posix.mkdir"),
        (lambda: pickle.dumps(Code(), 4), "(it is damaged, or more than tensors; nothing in it was run)"),
        (lambda: saved({**good(), "x": Code()}), "it asks for posix.mkdir, which could run code and was not called)"),
        (lambda: saved(good())[:-2000], "is not a file of weights ("),
        (lambda: saved([1]), "is not a file of weights: it holds a list"),
        (lambda: saved(torch.zeros(3)), "is not a file of weights: it holds a Tensor"),
        (lambda: saved({"state_dict": [1]}), "hold no tensors by name"),
        (lambda: saved({1: torch.zeros(2)}), "fit 0 of the "),
        (lambda: saved(dict.fromkeys(good(), 3)), "fit 0 of the "),
        (lambda: saved({name: part[None] for name, part in good().items()}), "fit 0 of the "),
        (lambda: saved({name: part.to("meta") for name, part in good().items()}), "fit 0 of the "),
        (lambda: saved({name: part.to(torch.complex64) for name, part in good().items()}), "fit 0 of the "),
        (lambda: saved(nan()), "are damaged: conv1.weight holds values that are not finite"),
        (lambda: saved({"state_dict": good(), "meta": {}}), ""),
        (lambda: saved({name: part.half() for name, part in good().items()}), ""),
        (lambda: saved(good(), _use_new_zipfile_serialization=False), ""),
    ],
)  # fmt: skip
def test_files_that_hold_no_weights_of_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raw: Any, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "x.pth"
    path.write_bytes(raw())
    heard = start(path)
    assert bool(heard) == bool(said)
    assert said in heard
    assert not (tmp_path / MARK).exists()


def look(folder: Path, seed: int) -> None:
    chance = random.Random(seed)
    raw = saved({"state_dict": good(), "meta": {}}, _use_new_zipfile_serialization=chance.random() < 0.5)
    for _ in range(chance.choice((1, 1, 3))):
        raw = fuzzing.damaged(raw, chance)
    (folder / "x.pth").write_bytes(raw)
    start(folder / "x.pth")


@fuzzing.drawn(8)
def test_damaged_weights(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    look(tmp_path_factory.getbasetemp(), seed)


@pytest.mark.slow
@fuzzing.drawn(100)
def test_many_damaged_weights(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    look(tmp_path_factory.getbasetemp(), seed)
