"""Whatever stands in a study file, its mistakes are told with their lines, and nothing else comes out."""

import copy
import io
import json
import random
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from posestudy import fuzzing
from posestudy.commands.app import main
from posestudy.errors import InputError
from posestudy_studies import cells, file, yaml_text
from posestudy_studies.plan import plan

SHIPPED = {path.name: yaml_text.read(path).data for path in sorted(Path(__file__).parents[1].glob("*.yaml"))}
SMALL = (Path(__file__).parents[1] / "cat_pose_small.yaml").read_text()


def dumped(data):
    stream, writer = io.StringIO(), YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False
    writer.dump(data, stream)
    return stream.getvalue()


def loaded(folder, text, sets=()):
    """The study in `text`, or None where it is refused as it should be."""
    path = folder / "study.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    refused = ()
    try:
        study = file.load(path, sets)
        plan(study)
    except InputError as error:
        refused = error.problems
    lines = path.read_bytes().count(b"\n") + 1
    for problem in refused:
        assert problem.found, problem
        assert problem.expected, problem
        assert problem.file.startswith("--set") or 0 < problem.line <= lines, problem
    return None if refused else study


def mutate(folder, seed):
    chance = random.Random(seed)
    data, _ = fuzzing.mutated(SHIPPED[chance.choice(list(SHIPPED))], chance, chance.choice((1, 1, 2, 4)))
    try:
        text = dumped(data)
    except Exception:  # noqa: BLE001
        return  # no YAML holds it
    loaded(folder, text)


@fuzzing.drawn(6)
def test_a_changed_study_is_planned_or_its_mistakes_have_lines(tmp_path_factory, seed):
    mutate(tmp_path_factory.getbasetemp(), seed)


@pytest.mark.slow
@fuzzing.drawn(60)
def test_many_changed_studies(tmp_path_factory, seed):
    mutate(tmp_path_factory.getbasetemp(), seed)


@fuzzing.drawn(12)
def test_damaged_bytes(tmp_path_factory, seed):
    chance = random.Random(seed)
    loaded(tmp_path_factory.getbasetemp(), fuzzing.damaged(SMALL.encode(), chance))


PLAIN = [
    ("study",), ("metric",), ("dataset", "keypoints"), ("dataset", "train"), ("dataset", "val", "annotations"),
    ("baseline", "input_size"), ("baseline", "validate_every"), ("baseline", "optimizer", "type"),
    ("baseline", "schedule", "warmup_iters"), ("baseline", "augmentation", "scale_rotation"), ("budget", "gpu_hours"),
    ("floor", "epoch"), ("replicates", "seeds"), ("report", "title"), ("stages", 1, "tolerance"),
    ("stages", 5, "pruner", "warmup_epochs"), ("stages", 3, "leave_out"),
]  # fmt: skip


@fuzzing.drawn(8)
def test_a_misspelt_key_is_told_at_its_line_with_the_right_spelling(tmp_path_factory, seed):
    chance = random.Random(seed)
    path = chance.choice(PLAIN)
    text = dumped(SHIPPED["cat_pose_small.yaml"])
    line = yaml_text.parse(text, "x").keys[path][0]
    wrong = fuzzing.misspelt(str(path[-1]), chance)
    lines = text.splitlines()
    assert path[-1] in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(f"{path[-1]}:", f"{wrong}:", 1)
    place = tmp_path_factory.getbasetemp() / "misspelt.yaml"
    place.write_text("\n".join(lines))
    if wrong == path[-1]:
        return
    with pytest.raises(InputError) as raised:
        file.load(place)
    told = [p for p in raised.value.problems if p.line == line and wrong in p.found]
    assert told, raised.value
    assert f"'{path[-1]}'" in told[0].hint


def laughs(depth):
    return "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, depth))


@pytest.mark.parametrize(
    "text",
    [
        b"", b"\xef\xbb\xbf", b"\xff\xfestudy", b"study: \x00", b"# only a comment\n", b"---\n...\n",
        b"--- a\n--- b\n", b"- a\n- b", b"just text", b"3", b"\t", b"a: b\n\tc: d", b"a: &a [*a]", b"*nobody",
        b"<<: [1]", b"<<: {study: x}", b"study: !!python/object/apply:os.system [id]", b"study: !local x",
        b"study: !!binary aGk=", b"? [a]\n: b", b"study: x\nstudy: y", b"[" * 5000, b"{a: " * 3000,
        b"study: " + b"x" * 900_000, b"a: " + b"9" * 100_000, b"a: 1e99999", b"a: 1:30:00", b"a: 2020-01-01",
        b"a: 0o777777777777777777777777", b"a: .nan", b"a: ~", b"%YAML 9", b"%TAG ! x", b"a: |\n b\n  c\n d", b"'",
        b'"\\x"', b"a: \"\\ud800\"", b"\xc3", b"key: {", b"a: [1, 2", b"@", b"`", b"a\x07: 1", b"\x85",
        laughs(40).encode(), b"a: " + b"[1," * 10_000,
    ],
    ids=lambda text: repr(text[:24]),
)  # fmt: skip
def test_hostile_yaml_is_refused_at_a_line(tmp_path, text):
    assert loaded(tmp_path, text) is None


@fuzzing.drawn(6)
def test_overrides_of_all_kinds(tmp_path_factory, seed):
    chance = random.Random(seed)
    data = SHIPPED["cat_pose_small.yaml"]
    key = ".".join(map(str, chance.choice(list(fuzzing.places(data)))))
    key = chance.choice((key, fuzzing.misspelt(key, chance), chance.choice(fuzzing.TEXTS), f"{key}.x", f".{key}"))
    value = chance.choice(
        (str(fuzzing.odd_value(chance)), chance.choice(fuzzing.TEXTS), "[", "{a: b}", "!!x y", "&a [*a]")
    )
    loaded(tmp_path_factory.getbasetemp(), SMALL, [f"{key}={value}"])


def shuffled(data, chance):
    if isinstance(data, dict):
        keys = list(data)
        chance.shuffle(keys)
        return {key: shuffled(data[key], chance) for key in keys}
    return [shuffled(item, chance) for item in data] if isinstance(data, list) else data


@fuzzing.drawn(3)
def test_the_order_of_keys_is_no_part_of_a_study(tmp_path_factory, seed):
    chance, folder = random.Random(seed), tmp_path_factory.getbasetemp()
    data = copy.deepcopy(SHIPPED[chance.choice(["cat_pose_small.yaml", "lspet.yaml", "transpose_small.yaml"])])
    for part in ("dataset", "baseline", "budget", "replicates"):
        if part in data:
            data[part] = shuffled(data[part], chance)
    one, other = loaded(folder, dumped(data)), loaded(folder, dumped(shuffled({**data, "stages": []}, chance) | data))
    assert one is not None
    assert one == other
    assert cells.canonical(one.model_dump(mode="json")) == cells.canonical(other.model_dump(mode="json"))
    document = json.loads(json.dumps(one.model_dump(mode="json")))
    assert type(one).model_validate(document) == one


@pytest.mark.parametrize("name", ["a" * 5000, "~nobody/w.pth", "loop.pth", "folder", "page.pth", "pointer.pth", "\x00"])
def test_initial_weights_that_are_none_are_named_at_their_line(tmp_path, name):
    (tmp_path / "loop.pth").symlink_to("loop.pth")
    (tmp_path / "folder").mkdir()
    (tmp_path / "page.pth").write_text("<!DOCTYPE html><title>404</title>")
    (tmp_path / "pointer.pth").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    text = SMALL.replace("  model: resnet_tiny\n", f"  model: resnet_tiny\n  init: {json.dumps(name)}\n")
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as raised:
        file.load(path)
    told = next(p for p in raised.value.problems if p.path == "baseline.init")
    assert text.splitlines()[told.line - 1].startswith("  init:")
    assert {"page.pth": "a web page", "pointer.pth": "a Git LFS pointer"}.get(name, "") in told.found
    assert ("git lfs pull" in told.hint) == (name == "pointer.pth")


@pytest.mark.parametrize("path", ["x" * 300 + ".yaml", "loop.yaml", "folder", "/dev/null", "x/y.yaml"])
def test_a_study_file_that_is_none_is_told_in_json_too(tmp_path, monkeypatch, capsys, path):
    monkeypatch.chdir(tmp_path)
    Path("loop.yaml").symlink_to("loop.yaml")
    Path("folder").mkdir()
    assert main(["check", path, "--json"]) == 2
    [problem] = json.loads(capsys.readouterr().out)["errors"]
    assert set(problem) == {"file", "line", "column", "path", "found", "expected", "hint"}
    assert problem["found"] in ("no such file", "no regular file", "an empty file")
