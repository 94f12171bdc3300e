"""A study file's mistakes, told with file, line and column, all at once; and what a right file becomes."""

import json
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from posestudy.errors import InputError
from posestudy_studies import editor_schema, yaml_text
from posestudy_studies.file import load
from posestudy_studies.spec import Study

GOOD = """\
study: cats
dataset:
  keypoints: cats
  root: data/cats
  train: {annotations: annotations/train.json, images: images}
  val: {annotations: annotations/val.json, images: images}
metric: coco/AP
baseline:
  model: resnet_tiny
  input_size: [64, 64]
  epochs: 4
  validate_every: 2
  batch_size: 16
  optimizer: {type: Adam, lr: 1e-3}
stages:
  - name: target
    design: variants
    variants:
      narrow: {sigma: 1.0}
      half: {optimizer.lr: 5.0e-4, label: "2", note: slower}
  - name: size
    design: grid
    factors:
      input_size: [[64, 64], [96, 96]]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def complaints(folder: Path, text: str, *overrides: str) -> list[str]:
    path = write(folder, text)
    with pytest.raises(InputError) as caught:
        load(path, overrides)
    return [str(problem).replace(str(folder) + "/", "") for problem in caught.value.problems]


def test_a_good_file_becomes_a_study_with_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = load(write(tmp_path, GOOD))
    assert study.dataset.root == str(tmp_path / "data/cats")
    assert study.baseline.optimizer.lr == 1e-3
    assert [stage.name for stage in study.stages] == ["target", "size"]
    assert Study.model_validate(json.loads(json.dumps(study.model_dump(mode="json")))) == study


GOLDEN = [
    (("lr: 1e-3", "lr: -0.001"), "study.yaml:14:31: baseline.optimizer.lr: found -0.001, expected a number above 0"),
    (("lr: 1e-3", "lr: '1e-3'"), "study.yaml:14:31: baseline.optimizer.lr: found '1e-3', expected a number"),
    (("lr: 1e-3", "lr: .nan"), "study.yaml:14:31: baseline.optimizer.lr: found .nan, expected a finite number"),
    (("model: resnet_tiny", "model: resnet5"), "study.yaml:9:10: baseline.model: found 'resnet5', expected a preset"),
    (("coco/AP", "coco/APP"), "study.yaml:7:9: metric: found 'coco/APP', expected one of coco/AP, "),
    (("coco/AP", "nme"), "study.yaml:7:9: metric: found nme with keypoints cats, expected evaluation.nme_keypoints"),
    (("keypoints: cats", "keypoints: cat"), "study.yaml:3:14: dataset.keypoints: found 'cat', expected one of cats"),
    (
        ("batch_size:", "batchsize:"),
        "study.yaml:13:3: baseline.batchsize: found unknown key 'batchsize', expected one of",
    ),
    (("batch_size: 16", "batch_size: 0"), "baseline.batch_size: found 0, expected a whole number above 0"),
    (("batch_size: 16", "batch_size: true"), "baseline.batch_size: found true, expected a whole number"),
    (("input_size: [64, 64]\n  ep", "input_size: 64\n  ep"), "found 64, expected [width, height], two whole numbers"),
    (
        ("[64, 64]\n  ep", "[64, -64]\n  ep"),
        "study.yaml:10:20: baseline.input_size.1: found -64, expected a whole number",
    ),
    (("[64, 64]\n  ep", "[64, 60]\n  ep"), "found input_size [64, 60], expected multiples of 8 px for resnet_tiny"),
    (
        ("validate_every: 2", "validate_every: 9"),
        "found validate_every 9 with epochs 4, expected validate_every of at most",
    ),
    (
        ("name: size", "name: target"),
        "study.yaml:21:11: stages.1.name: found 'target' a second time, expected a name of",
    ),
    (("design: grid", "design: bisekt"), "study.yaml:22:13: stages.1.design: found 'bisekt', expected one of "),
    (
        ("{sigma: 1.0}", "{sgima: 1.0}"),
        "study.yaml:19:16: stages.0.variants.narrow.sgima: found unknown factor 'sgima'",
    ),
    (
        ("{sigma: 1.0}", "{sigma: 0}"),
        "study.yaml:19:23: stages.0.variants.narrow.sigma: found 0, expected a number above 0",
    ),
    (("{sigma: 1.0}", "{label: x}"), "stages.0.variants.narrow: found no factor, expected at least one factor"),
    (("[96, 96]", "[96, 97]"), "stages.1.factors: found input_size [96, 97], expected multiples of 8"),
    (("narrow:", "baseline:"), "stages.0.variants.baseline: found 'baseline', expected another name"),
    (("narrow:", "../x:"), "stages.0.variants.../x: found '../x', expected a name of at most 80"),
    (("study: cats", "study: ../cats"), "study.yaml:1:8: study: found '../cats', expected a name"),
    (
        ("annotations/val.json", "../val.json"),
        "study.yaml:6:22: dataset.val.annotations: found '../val.json', expected a path",
    ),
    (("annotations/val.json", "/etc/passwd"), "dataset.val.annotations: found '/etc/passwd', expected a path inside"),
    (("  epochs: 4\n", ""), "study.yaml:8:1: baseline.epochs: found nothing, expected this required key"),
    (
        ("study: cats", "study: cats\nstudy: dogs"),
        "study.yaml:2:1: study: found 'study' a second time, expected each key once",
    ),
    (("  model", "\tmodel"), "study.yaml:9:1: found a tab, expected spaces (YAML is indented with spaces only)"),
    (
        ("study: cats", "study: !!python/object/apply:os.system [id]"),
        "study.yaml:1:8: study: found the tag !!python/object",
    ),
    (("type: Adam", "type: Adma"), "baseline.optimizer.type: found 'Adma', expected one of Adam, "),
    (
        ("type: Adam", "type: Adam, wieght_decay: 0.1"),
        "found argument 'wieght_decay', expected an argument of Adam: lr",
    ),
    (
        ("design: grid", "design: grid\n    carry: narow"),
        "stages.1.carry: found 'narow', expected best, baseline or a cell",
    ),
    (
        ("batch_size: 16", "batch_size: 16\n  schedule: {milestones: [3, 2]}"),
        "found [3, 2], expected epochs in increasing",
    ),
    (("batch_size: 16", "batch_size: 16\n  init: w.pth"), "baseline.init: found 'w.pth', expected a file that exists"),
    (("  - name: size", "  - []\n  - name: size"), "stages.1: found []"),
    (("- name: size", "- [ # "), "study.yaml:23:12: found "),
]


@pytest.mark.parametrize(("change", "expected"), GOLDEN, ids=[g[0][1].strip()[:30] for g in GOLDEN])
def test_golden_mistakes(tmp_path, change, expected):
    assert change[0] in GOOD
    found = complaints(tmp_path, GOOD.replace(*change, 1))
    assert any(expected in line for line in found), found


def test_a_required_key_that_is_misspelt_is_told_once_and_a_missing_one_still_is(tmp_path):
    found = complaints(tmp_path, GOOD.replace("  epochs: 4", "  epocs: 4").replace("stages:", "stage:"))
    assert [line for line in found if "epochs" in line] == [line for line in found if "unknown key 'epocs'" in line]
    assert [line for line in found if "stages" in line] == [line for line in found if "unknown key 'stage'" in line]
    assert len(found) == 2
    (missing,) = complaints(tmp_path, GOOD.replace("  epochs: 4\n", ""))
    assert "baseline.epochs: found nothing" in missing


def test_the_nearest_known_name_is_offered(tmp_path):
    wrong = GOOD.replace("resnet_tiny", "resnet_tny").replace("sigma", "sgima").replace("grid", "gird")
    wrong = wrong.replace("metric", "metrik").replace("keypoints: cats", "keypoints: cast")
    hints = " ".join(complaints(tmp_path, wrong))
    for name in ("resnet_tiny", "sigma", "grid", "metric", "cats"):
        assert f"did you mean '{name}'?" in hints


def test_all_mistakes_come_at_once_in_order(tmp_path):
    wrong = GOOD.replace("coco/AP", "AP").replace("1e-3", "-1").replace("sigma: 1.0", "sgima: 1.0")
    wrong = wrong.replace("name: size", "name: target")
    lines = [int(text.split(":")[1]) for text in complaints(tmp_path, wrong)]
    assert lines == [7, 14, 19, 21]


SEARCH = """\
  - name: lr
    design: search
    space: {optimizer.lr: SPACE}
    cells: 3
"""


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ("{log: [0, 1]}", "expected bounds above 0 on a logarithmic scale"),
        ("{log: [1.0e-2, 1.0e-3]}", "expected the lower bound first"),
        ("{uniform: [-1.0, 1.0]}", "stages.2.space.optimizer.lr: found -1.0, expected a number above 0"),
        ("{lgo: [1, 2]}", "found a mapping, expected {log: [low, high]}"),
        ("[0.1, 0.1]", "a second time, expected each choice once"),
        ("[]", "found 0 entries, expected at least 1"),
        ("{int: [1.5, 2]}", "expected a whole number"),
    ],
)
def test_search_space_mistakes(tmp_path, space, expected):
    assert any(expected in line for line in complaints(tmp_path, GOOD + SEARCH.replace("SPACE", space)))


def test_set_overrides_values_and_names_itself_in_mistakes(tmp_path):
    path = write(tmp_path, GOOD)
    study = load(
        path, ["dataset.root=/elsewhere", "baseline.optimizer.lr=1e-4", "stages.0.variants.half.optimizer.lr=0.5"]
    )
    assert study.dataset.root == "/elsewhere"
    assert study.baseline.optimizer.lr == 1e-4
    assert study.stages[0].opening(study.baseline)[1].levels == {"optimizer.lr": 0.5}
    assert load(path, ["budget.trial_hours=2"]).budget.trial_hours == 2
    [text] = complaints(tmp_path, GOOD, "dataset.rot=x")
    assert text.startswith("--set dataset.rot=x: dataset.rot: found unknown key 'rot'")
    assert text.endswith("(did you mean 'root'?)")
    [text] = complaints(tmp_path, GOOD, "baseline.epochs=-3")
    assert text == "--set baseline.epochs=-3: baseline.epochs: found -3, expected a whole number of at least 0"
    assert "expected key=value" in complaints(tmp_path, GOOD, "nonsense")[0]
    assert "no mapping or list entry" in complaints(tmp_path, GOOD, "stages.7.name=x")[0]


def test_files_beside_the_study_become_absolute(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"PK\x03\x04")
    text = GOOD.replace("batch_size: 16", "batch_size: 16\n  init: w.pth").replace("{sigma: 1.0}", "{init: none}")
    study = load(write(tmp_path, text))
    assert study.baseline.init == str(tmp_path / "w.pth")


def test_huge_and_hostile_files_are_refused_at_once(tmp_path):
    big = tmp_path / "big.yaml"
    big.write_text("study: x\n" + "a: [1, 2, 3]\n" * 400_000)
    with pytest.raises(InputError, match=r"a file of 5\.2 MB, expected a study file of at most 1 MB"):
        load(big)
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
    assert "aliases that expand to more than" in complaints(tmp_path, bomb)[0]
    assert "nesting deeper than" in complaints(tmp_path, "[" * 5000)[0]
    assert "more than 20000 values" in complaints(tmp_path, "[" + "1," * 100_000 + "1]")[0]
    assert "nesting" in complaints(tmp_path, "study: &a [*a]")[0]


@pytest.mark.parametrize(
    "raw", [b"\xff\xfe\x00", b"", b"study: \x00", b"- 1\n---\n- 2", b"\xc3(", b"? [a]\n: 1", b"{}", b"[]", b"x"]
)
def test_no_study_at_all(tmp_path, raw):
    path = tmp_path / "study.yaml"
    path.write_bytes(raw)
    with pytest.raises(InputError):
        load(path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="no regular file"):
        load(tmp_path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=200))
def test_any_text_gives_data_or_an_input_error(text):
    try:
        yaml_text.parse(text, "fuzz")
    except InputError as error:
        sound = bool(error.problems)
    else:
        sound = True
    assert sound


LINES = GOOD.splitlines(keepends=True)
JUNK = st.sampled_from(
    ["null", "[]", "{}", "-1", "true", "'x'", "1e400", "!!set {a}", "*x", "&x y", "{a: {b: [c]}}", "- -", "\t"]
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(line=st.integers(0, len(LINES) - 1), junk=JUNK)
def test_a_spoilt_value_gives_a_study_or_an_input_error(tmp_path, line, junk):
    key, colon, _ = LINES[line].partition(":")
    spoilt = [*LINES[:line], f"{key}{colon} {junk}\n", *LINES[line + 1 :]]
    problems = ()
    try:
        load(write(tmp_path, "".join(spoilt)))
    except InputError as error:
        problems = error.problems
    assert all(p.found and p.expected for p in problems)


def test_the_editor_schema_accepts_what_ships_and_refuses_a_typo():
    schema = editor_schema.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    shipped = [*Path(__file__).parents[1].glob("*.yaml"), Path(str(files("posestudy_studies") / "template.yaml"))]
    for path in shipped:
        assert [e.message for e in validator.iter_errors(yaml_text.read(path).data)] == []
        assert load(path).stages
    good = yaml_text.parse(GOOD, "good").data
    assert validator.is_valid(good)
    good["baseline"]["epoch"] = 3
    assert not validator.is_valid(good)
    good = yaml_text.parse(GOOD, "good").data
    good["stages"][0]["variants"]["narrow"] = {"sgima": 1}
    assert not validator.is_valid(good)


def described(schema, where=""):
    for name, field in schema.get("properties", {}).items():
        yield f"{where}.{name}", "description" in field or "const" in field
    for name, inner in schema.get("$defs", {}).items():
        yield from described(inner, name)


def test_every_field_of_the_schema_is_described():
    assert [name for name, has in described(editor_schema.schema()) if not has] == []
