"""`posestudy models list` and `models profile`: what they say, which of it is whose, and what they keep."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from posestudy_runner import plugin  # noqa: F401

import torch  # isort: skip

from posestudy import sealed_json
from posestudy.commands.app import main
from posestudy.home import Home
from posestudy_runner import kept_profiles, models_list, named_models
from posestudy_runner.published import SOURCES
from posestudy_runner.work import Work
from posestudy_studies import recipes

NAMES = ("resnet_tiny", "resnet50", "resnet50-rle", "transpose-r-a3", "transpose-r-thin")


@pytest.fixture(autouse=True)
def few_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Home:
    """A home of this test's own, and a list of few models: all 47 take a minute."""
    monkeypatch.setattr(recipes, "names", lambda: NAMES)
    monkeypatch.setenv("POSESTUDY_HOME", str(tmp_path / "home"))
    return Home.resolve()


def output(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    capsys.readouterr()
    assert main(["models", *arguments]) == code
    captured = capsys.readouterr()
    return captured.out if code == 0 else captured.err


def listed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return {entry["name"]: entry for entry in json.loads(output(capsys, "list", "--json"))["models"]}


def test_each_number_of_the_list_says_whose_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    rows = listed(capsys)
    assert tuple(rows) == NAMES
    a3 = rows["transpose-r-a3"]
    assert set(a3) == {"name", "family", "input", "keypoints", "computed", "published", "measured"}
    assert (a3["family"], a3["input"], a3["keypoints"]) == ("TransPose", [192, 256], 17)
    assert a3["computed"]["parameters"] == 5_195_345
    assert a3["computed"]["gmacs"] == pytest.approx(5.4138, abs=1e-4)
    assert a3["computed"]["gflops"] == 2 * a3["computed"]["gmacs"]
    (figure,) = a3["published"]
    assert (figure["gflops"], figure["parameters_m"], figure["fps"], figure["ap"]) == (8.0, 5.2, 141, 0.717)
    assert figure["ap_ground_truth_boxes"] == 0.738
    assert figure["fps_on"] == "RTX 2080 Ti, batch 1"
    assert figure["where"].startswith("Yang et al.")
    assert abs(figure["difference"]) < 0.03
    assert "every output place" in figure["gflops_rule"]
    assert a3["measured"] == []
    assert rows["transpose-r-thin"]["published"] == []
    assert [f["source"] for f in rows["resnet50"]["published"]] == ["hrnet", "mmpose-speed", "mmpose"]


def test_the_table_heads_each_column_with_its_origin(capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, "list")
    head = text[: text.index("resnet_tiny")]
    for word in ("computed", "measured", "published", "by that"):
        assert word in head
    flat = " ".join(text.split())
    assert models_list.CONVENTION in flat
    for source in ("transpose", "hrnet", "mmpose-speed", "mmpose", "rle"):
        assert SOURCES[source].where in flat
    (line,) = [line.split() for line in text.splitlines() if "transpose-r-a3" in line]
    assert line == ["transpose-r-a3", "5.20", "5.41", "5.2", "8.0", "7.95", "141", "0.717", "0.738", line[-1]]
    assert f"{line[-1]} published: Yang et al." in flat
    assert "* counts no RealNVP" in flat


def test_what_was_counted_once_is_not_counted_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, few_models: Home
) -> None:
    first = listed(capsys)
    calls: list[str] = []

    def counted(model: named_models.NamedModel) -> dict[str, Any]:
        calls.append(model.name)
        return Work(7, 7, convolution=1).document()

    monkeypatch.setattr(named_models, "_counted", counted)
    assert listed(capsys) == first
    assert calls == []
    # Another torch may count otherwise, and another network is another one.
    kept = sealed_json.read(few_models.model_counts)
    assert kept is not None
    sealed_json.write(few_models.model_counts, {**kept, "versions": {"torch": "1.0"}})
    assert listed(capsys)["resnet50"]["computed"]["parameters"] == 7
    assert calls == list(NAMES)
    few_models.model_counts.write_text("no JSON")
    listed(capsys)
    assert calls == [*NAMES, *NAMES]


def test_the_second_list_needs_no_torch(capsys: pytest.CaptureFixture[str], few_models: Home) -> None:
    listed(capsys)
    program = (
        "import sys\nfrom posestudy_studies import recipes\n"
        f"recipes.names = lambda: {NAMES!r}\n"
        "from posestudy.commands.app import main\ncode = main(['models', 'list'])\n"
        "print('HEAVY', [m for m in ('torch', 'mmpose', 'mlflow') if m in sys.modules])\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "HEAVY []" in done.stdout
    assert "transpose-r-a3" in done.stdout


def test_a_home_that_cannot_be_written_still_lists(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("POSESTUDY_HOME", str(tmp_path / "file"))
    assert listed(capsys)["resnet_tiny"]["computed"]["parameters"] == 62_009


def test_a_profile_counts_measures_compares_and_is_kept(capsys: pytest.CaptureFixture[str], few_models: Home) -> None:
    found = json.loads(output(capsys, "profile", "transpose-r-a3", "--device", "cpu", "--json"))
    assert (found["model"], found["input"], found["keypoints"]) == ("transpose-r-a3", [192, 256], 17)
    assert found["parameters"] == 5_195_345
    assert found["trainable_parameters"] == 5_195_345 - 196_608, "the fixed table of positions is not trained"
    assert found["gmacs"] == pytest.approx(5.4138, abs=1e-4)
    assert found["macs"].keys() == {"convolution", "transposed", "linear", "attention"}
    assert found["convention"] == models_list.CONVENTION
    assert found["passes"] >= 3
    assert abs(found["published"][0]["difference"]) < 0.03
    (kept,) = kept_profiles.kept(few_models)
    assert kept["date"] == found["date"]
    (measured,) = listed(capsys)["transpose-r-a3"]["measured"]
    assert measured["latency_p50_ms"] == found["latency_p50_ms"]
    text = output(capsys, "list")
    assert f"(a) measured here, p50 on {models_list.settings(found)}; last on {found['date'][:10]}." in text


def test_options_reach_the_network(
    capsys: pytest.CaptureFixture[str], few_models: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    options = (
        "--threads",
        "3",
        "--input",
        "64x96",
        "--batch",
        "2",
        "--flip-test",
        "--keypoints",
        "lspet",
        "--device",
        "cpu",
    )
    text = output(capsys, "profile", "resnet_tiny", *options)
    assert asked == [3]
    assert "resnet_tiny (ResNet, thin), 64 x 96 px, 14 keypoints" in text
    assert "two passes, flip test" in text
    assert "published" not in text, "published figures are of another size"
    (kept,) = kept_profiles.kept(few_models)
    assert (kept["input"], kept["batch"], kept["flip_test"], kept["keypoints"]) == ([64, 96], 2, True, 14)
    assert listed(capsys)["resnet_tiny"]["measured"] == [], "of the list's own size and keypoints alone"


def test_a_newer_measurement_replaces_an_older_one_of_the_same_settings(few_models: Home) -> None:
    row = {"model": "a", "keypoints": 17, "input": [8, 8], "batch": 1, "flip_test": False, "device_name": "x"}
    for threads, latency in ((1, 5.0), (2, 3.0), (1, 4.0)):
        kept_profiles.keep(few_models, {**row, "threads": threads, "latency_p50_ms": latency})
    assert {(r["threads"], r["latency_p50_ms"]) for r in kept_profiles.kept(few_models)} == {(1, 4.0), (2, 3.0)}


def test_measuring_the_list_measures_what_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes, "names", lambda: ("resnet_tiny", "hrnet_tiny"))
    output(capsys, "profile", "resnet_tiny", "--device", "cpu")
    assert main(["models", "list", "--measure", "--device", "cpu"]) == 0
    assert "measuring 2 of 2: hrnet_tiny" in (said := capsys.readouterr()).err
    assert "resnet_tiny" not in "".join(line for line in said.err.splitlines() if "measuring" in line)
    rows = listed(capsys)
    assert all(len(row["measured"]) == 1 for row in rows.values())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("profile", "resnt50"), "did you mean 'resnet50'?"),
        (("profile", "resnet50", "--input", "big"), "found 'big', expected WIDTHxHEIGHT in pixels, as 192x256"),
        (("profile", "resnet50", "--input", "100x100"), "found input_size [100, 100], expected multiples of 32 px"),
        (("profile", "resnet_tiny", "--keypoints", "cast"), "did you mean 'cats'?"),
        (("profile", "resnet_tiny", "--device", "tpu"), "found 'tpu', expected cpu, cuda or cuda:N"),
        (("list", "--device", "cpu"), "found --device without --measure"),
    ],
)
def test_a_mistake_is_a_sentence(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str) -> None:
    error = output(capsys, *arguments, code=2)
    assert said in " ".join(error.split())
    assert "Traceback" not in error


def test_a_gpu_that_is_not_there_is_a_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, few_models: Home
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    error = output(capsys, "profile", "resnet_tiny", "--device", "cuda", code=2)
    assert "sees no CUDA device; expected cpu" in error
    assert kept_profiles.kept(few_models) == []


def test_too_little_memory_is_a_sentence(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from posestudy_runner import profiling

    def lacking(*_arguments: Any, **_options: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(profiling, "profile", lacking)
    error = output(capsys, "profile", "resnet_tiny", "--device", "cpu", "--batch", "4000", code=2)
    assert "cpu has too little memory for resnet_tiny at 192 x 256 px, batch 4000" in error


def test_models_is_one_command_with_commands_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, "--help")
    for command in ("list", "profile", "config", "convert", "export"):
        assert command in text
    assert "models" in " ".join(_names_of_commands())
    assert main(["models", "lst"]) == 2
    assert "lst" in capsys.readouterr().err


def _names_of_commands() -> list[str]:
    from importlib.metadata import entry_points

    return [entry.name for entry in entry_points(group="posestudy.commands")]


def test_every_family_is_in_the_list() -> None:
    models = [named_models.named(name) for name in recipes._recipes()]
    assert len({model.key for model in models}) == len(models)
    assert {"TransPose", "ResNet", "HRNet", "SCNet", "AlexNet", "ResNet, RLE"} <= {model.family for model in models}
