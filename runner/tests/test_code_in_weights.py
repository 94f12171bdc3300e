"""A file of weights that is a program: whatever reads weights refuses it, and nothing of it runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

READ_ALL = """
import io, os, pickle, sys, zipfile
from pathlib import Path
import torch

place = Path(sys.argv[1])
harm = place / "harm"

class Attack:
    def __reduce__(self):
        return (os.system, (f"touch {harm}",))

files = []
for name, zipped in (("zip.pth", True), ("legacy.pth", False)):
    content = {"state_dict": {"w": torch.ones(2)}, "meta": Attack()}
    torch.save(content, place / name, _use_new_zipfile_serialization=zipped)
    files.append(place / name)
(place / "bare.pth").write_bytes(pickle.dumps(Attack()))
files.append(place / "bare.pth")
pickle.loads((place / "bare.pth").read_bytes())
assert harm.exists(), "the attack itself works"
harm.unlink()

os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
from posestudy_runner import plugin
from mmengine.config import Config
from mmengine.model import BaseModule
from mmengine.runner.checkpoint import CheckpointLoader
from mmpose.registry import MODELS
from posestudy.errors import PoseStudyError
from posestudy_reports import bundle_check
from posestudy_runner import attending, checkpoints, evaluating, transpose_weights

class Model(BaseModule):
    cfg = Config({}, filename=__file__ if "__file__" in globals() else None)
    def __init__(self, **options):
        super().__init__(**options)
        self.layer = torch.nn.Linear(2, 2)

def initialised(file):
    Model(init_cfg={"type": "Pretrained", "checkpoint": str(file)}).init_weights()

def prefixed(file):
    Model(init_cfg={"type": "Pretrained", "checkpoint": str(file), "prefix": "backbone"}).init_weights()

def bundled(file):
    complaints = bundle_check._weights(file.read_bytes())
    if complaints:
        raise PoseStudyError(complaints[0])

def served(file):
    from posestudy_runner.plugin import compat
    CheckpointLoader.load_checkpoint("file://" + str(file), "cpu")

readers = {
    "load_from, resume": lambda file: CheckpointLoader.load_checkpoint(str(file), "cpu"),
    "init": initialised,
    "init_cfg of a model file": prefixed,
    "predict, attention, export": lambda file: attending.load(Model(), file),
    "epochs 0, models convert": transpose_weights.state_dict_of,
    "evaluation": transpose_weights.load,
    "bundle": bundled,
    "an address": served,
}
for name, read in readers.items():
    for file in files:
        try:
            read(file)
        except Exception as error:
            assert not harm.exists(), (name, file)
            print("refused", name, file.name, type(error).__name__)
        else:
            raise AssertionError((name, file))
assert os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] == "1", "what others load is theirs"
print("readers", len(readers) * len(files))
"""


@pytest.mark.slow
def test_whatever_reads_weights_runs_nothing_of_them(tmp_path: Path) -> None:
    command = [sys.executable, "-c", READ_ALL, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert f"readers {len([line for line in lines if line.startswith('refused')])}" in lines
    assert not (tmp_path / "harm").exists()
