"""What a file of a stranger may not do: call something by a `type`, name files outside roots, fetch from anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from posestudy.errors import InputError
from posestudy_studies import check, yaml_text
from posestudy_studies.evaluation import Evaluation
from posestudy_studies.spec import Study
from posestudy_studies.training import Training

BASE: dict[str, Any] = {
    "model": "resnet50",
    "input_size": [256, 256],
    "epochs": 2,
    "batch_size": 2,
    "optimizer": {"type": "Adam", "lr": 5e-4},
}


def refused(**knobs: Any) -> str:
    config = {**BASE, **knobs}
    with pytest.raises(ValidationError) as caught:
        Training.model_validate(config)
    return " | ".join(str(mistake) for mistake in check.translated(caught.value, Training, config))


def backbone(**arguments: Any) -> dict[str, Any]:
    return {"backbone": {"type": "SCNet", **arguments}, "channels": 9, "stride": 4}


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (backbone(type="os.system"), "backbone.type: 'os.system'"),
        (backbone(type="mmengine.load", file="x.pkl"), "backbone.type: 'mmengine.load'"),
        (backbone(type="antigravity"), "backbone.type: 'antigravity'"),
        (backbone(type="mmpose.Evil.x"), "backbone.type: 'mmpose.Evil.x'"),
        (backbone(type="SCNet\n"), r"backbone.type: 'SCNet\n'"),
        (backbone(init_cfg={"type": "subprocess.Popen", "args": ["id"]}), "backbone.init_cfg.type: 'subprocess.Popen'"),
        (backbone(plugins=[{"cfg": {"type": "builtins.exec"}}]), "backbone.plugins.0.cfg.type: 'builtins.exec'"),
        (backbone(init_cfg={"type": ["os.system"]}), "backbone.init_cfg.type: ['os.system']"),
        (backbone(init_cfg={"type": "Pretrained", "checkpoint": "/etc/passwd"}), "backbone.init_cfg.checkpoint"),
        (backbone(init_cfg={"type": "Pretrained", "checkpoint": "http://h/x.pth"}), "`init` names weights"),
        (backbone(checkpoint_path="~root"), "an argument that is no path"),
        ({**backbone(), "imports": ["os; import evil"]}, "the name of a Python module"),
        ({**backbone(), "imports": ["../evil"]}, "the name of a Python module"),
        ({"config": "x.py", "imports": ["evil.py "]}, "the name of a Python module"),
        ({**backbone(), "custom_imports": {}}, "unknown key 'custom_imports'"),
    ],
)
def test_a_backbone_is_a_registered_class_with_plain_arguments(model: dict[str, Any], said: str) -> None:
    assert said in refused(model=model)


@pytest.mark.parametrize("kind", ["SCNet", "mmpretrain.ConvNeXt", "mmpose.HRNet", "mmdet.CSPNeXt"])
def test_registered_classes_of_the_open_mmlab_are_taken(kind: str) -> None:
    model = backbone(type=kind, norm_cfg={"type": "SyncBN"}, init_cfg=[{"type": "Kaiming", "layer": ["Conv2d"]}])
    assert Training.model_validate({**BASE, "model": model}).model.backbone["type"] == kind


@pytest.mark.parametrize(
    "step",
    [
        {"type": "OneOf", "transforms": [{"type": "os.system", "command": "id"}]},
        {"type": "OneOf", "transforms": [{"type": "save", "filepath_or_buffer": "x"}]},
        {"type": "FDA", "reference_images": ["/etc/passwd"]},
        {"type": "Blur", "read_fn": "~/x"},
    ],
)
def test_pixel_transforms_are_classes_with_plain_arguments(step: dict[str, Any]) -> None:
    assert step["type"] in refused(augmentation={"albumentations": {"transforms": [step]}})


@pytest.mark.parametrize(
    "knobs",
    [
        {"optimizer": {"type": "os.system", "lr": 0.1}},
        {"schedule": {"type": "os.system"}},
        {"codec": {"type": "os.system"}},
        {"loss": {"type": "os.system"}},
        {"model": "os.system"},
        {"optimizer": {"type": "Adam", "lr": 0.1, "_delete_": True}},
        {"_base_": "x.py"},
        {"optimizer": {"_base_": "x.py", "lr": 0.1}},
    ],
)
def test_no_other_key_reaches_a_registry_or_another_file(knobs: dict[str, Any]) -> None:
    assert "expected" in refused(**knobs)


@pytest.mark.parametrize(
    ("init", "said"),
    [
        ("file:///etc/passwd", "a file, https://"),
        ("ftp://h/x.pth", "a file, https://"),
        ("s3://bucket/x.pth", "a file, https://"),
        ("http://h/x.pth", "may have been changed on its way"),
        ("http://127.0.0.1.evil.org/x.pth", "may have been changed on its way"),
        ("https:///x.pth", "a file, https://"),
        ("https://[::1/x.pth", "a file, https://"),
        ("https://u:hunter2@h/x.pth", "without user name, password or token"),
        ("https://ghp_hunter2@h/x.pth", "without user name, password or token"),
        ("https://h/x.pth?token=hunter2", "without user name, password or token"),
    ],
)
def test_weights_come_over_tls_and_from_addresses_without_secrets(init: str, said: str) -> None:
    complaint = refused(init=init)
    assert said in complaint
    assert "hunter2" not in complaint


@pytest.mark.parametrize(
    "init", ["https://h/x.pth?dl=1", "http://127.0.0.1:8/x.pth", "torchvision://resnet50", "own.pth"]
)
def test_other_weights_are_taken(init: str) -> None:
    assert Training.model_validate({**BASE, "init": init}).init == init


@pytest.mark.parametrize("name", ["det.pkl", "det.pickle", "det.yaml", "det", "det.json.pkl"])
def test_detections_are_json_for_mmpose_unpickles_other_files(name: str) -> None:
    with pytest.raises(ValidationError, match=r"ends with \.json"):
        Evaluation.model_validate({"boxes": name})
    with pytest.raises(ValidationError, match=r"ends with \.json"):
        Evaluation.model_validate({"test_boxes": name})


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system [touch HARM]",
        "!!python/name:os.system",
        "!!python/object/new:subprocess.Popen [[touch, HARM]]",
        "!include /etc/passwd",
        "!!binary aGk=",
        "!<tag:yaml.org,2002:python/module:os> x",
        "&a [*a]",
        "{<<: {a: 1}}",
    ],
)
def test_yaml_is_data(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        data = yaml_text.parse(f"study: {text}", "study.yaml").data
    except InputError:
        data = None
    assert data is None or data == {"study": {"<<": {"a": 1}}}
    assert not list(tmp_path.iterdir())


def test_keypoints_that_only_signs_tell_apart_are_refused(tmp_path: Path) -> None:
    from posestudy_studies.layouts import layout

    file = tmp_path / "two.yaml"
    rows = "".join(f"  {i}: {{name: {name}, id: {i}}}\n" for i, name in enumerate(('"a/b"', '"a_b"')))
    file.write_text(f"dataset_name: two\nkeypoint_info:\n{rows}sigmas: [0.1, 0.1]\n", encoding="utf-8")
    with pytest.raises(InputError, match="a name that differs from 'a/b' in letters or digits"):
        layout(str(file))


def test_check_tells_what_of_a_study_is_code() -> None:
    from posestudy_studies import trusted_code
    from posestudy_studies.designs.contract import study_with

    variants = {"a": {"model": {"config": "/x/own.py", "imports": ["my.hooks"]}}, "b": {"sigma": 1.0}}
    made = study_with({"name": "s", "design": "variants", "variants": variants})
    assert trusted_code.sentences(made) == [
        "/x/own.py is Python and is run.",
        "the Python module my.hooks is imported, which runs it.",
    ]
    harmless = study_with({"name": "s", "design": "variants", "variants": {"b": {"sigma": 1.0}}})
    assert trusted_code.sentences(harmless) == []
    cluster = {"setup": ["module load cuda", "rm -rf ~"], "template": "/x/job.sh.in", "submit": "bsub < {job}"}
    container = {"partition": "gpu", "container": {"image": "/x/own.sif"}}
    document = harmless.model_dump(mode="json")
    found = [trusted_code.sentences(Study.model_validate({**document, "cluster": c})) for c in (cluster, container)]
    assert found == [
        [
            "cluster.setup is run by --engine slurm and --engine script: module load cuda; rm -rf ~",
            "/x/job.sh.in is a job script, which --engine script submits.",
            "cluster.submit is run by --engine script: bsub < {job}",
        ],
        ["the container /x/own.sif is run by --engine slurm and --engine script."],
    ]
