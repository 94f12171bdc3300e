"""A search as the study file writes it: what is understood and what is refused, where."""

import pytest
from study_head import HEAD

from posestudy.errors import InputError
from posestudy_studies import factors
from posestudy_studies.file import load

STUDY = (
    HEAD
    + """\
  - name: find
    design: search
    cells: 4
"""
)


def read(tmp_path, options):
    path = tmp_path / "cats.yaml"
    path.write_text(STUDY + "".join(f"    {line}\n" for line in options))
    return load(path)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            ["space: {sigma: {choices: [1.0, 2.0], when: {modle: resnet18}}}"],
            "stages.0.space.sigma.when.modle: found unknown factor 'modle', expected a factor (did you mean 'model'?)",
        ),
        (
            ["space: {sigma: {choices: [1.0, 2.0], when: {sigma: 1.0}}}"],
            "stages.0.space.sigma.when.sigma: found 'sigma' itself, expected another factor",
        ),
        (
            [
                "space:",
                "  batch_size: [4, 8]",
                "  sigma: {choices: [1.0, 2.0], when: {epochs: 4}}",
                "  epochs: {int: [2, 4], when: {sigma: 1.0}}",
            ],
            "stages.0.space.sigma.when: found conditions that wait for each other: sigma, epochs, expected",
        ),
        (
            ["space: {batch_size: [4, 8]}", "objectives: [coco/AP, duration]"],
            "stages.0.objectives.1: found 'duration', expected one of",
        ),
        (
            ["space: {batch_size: [4, 8]}", "objectives: [duration_s, coco/AP]"],
            "stages.0.objectives.0: found 'duration_s', expected the study's metric, coco/AP",
        ),
        (
            ["space: {batch_size: [4, 8]}", "objectives: [coco/AP, nme]"],
            "stages.0.objectives.1: found 'nme', expected what is measured in a study of coco/AP: coco/AP50",
        ),
        (["space: {batch_size: [4, 8]}", "objectives: [coco/AP]"], "stages.0.objectives: found one objective"),
        (
            ["space: {batch_size: [4, 8]}", "objectives: [coco/AP, duration_s]", "pruner: median"],
            "stages.0.pruner: found 'median', expected no pruner",
        ),
        (["space: {batch_size: {int: [4, 8], step: 2}}"], "stages.0.space.batch_size.step: found unknown key 'step'"),
        (["space: {sigma: {log: [1.0, 2.0], int: [1, 2]}}"], "stages.0.space.sigma.int: found unknown key 'int'"),
        (["space: {sigma: {chioces: [1.0, 2.0]}}"], "stages.0.space.sigma: found"),
        (
            ["space: {model: [resnet18, resnet34], sigma: {choices: [1.0, 2.0], when: {model: resnet43}}}"],
            "stages.0.space.sigma.when.model: found 'resnet43', expected a level of model: 'resnet18', 'resnet34' "
            "(did you mean 'resnet34'?)",
        ),
        (
            ["space: {model: [resnet18, resnet34], sigma: {choices: [1.0, 2.0], when: {model: [resnet34, resnet]}}}"],
            "stages.0.space.sigma.when.model.1: found 'resnet', expected a level of model: 'resnet18', 'resnet34'",
        ),
        (
            ["space: {codec: [megvii], codec.kernel_size: {int: [3, 63]}}"],
            "stages.0.space.codec.kernel_size: found 4, expected an odd number of pixels",
        ),
        (
            # Of 2048 combinations only the nearest to the first one are tried: each level, and each two of them.
            [
                "space:",
                "  model: [resnet18, resnet81]",
                *(f"  augmentation.{kind}: [null, {{}}]" for kind in ("flip", "half_body", "translation")),
                "  sigma: [1.0, 2.0]",
                "  amp: [false, true]",
                "  batch_size: {int: [4, 8]}",
                "  optimizer.lr: {log: [1.0e-4, 1.0e-3]}",
                "  optimizer.weight_decay: {uniform: [0.0, 0.1]}",
                "  schedule.gamma: [0.1, 0.2]",
                "  schedule.warmup_iters: [0, 10]",
            ],
            "stages.0.space.model: found 'resnet81', expected a preset",
        ),
        (["space: {batch_size: [4, 8]}", "sampler: nsga"], "(did you mean 'nsgaii'?)"),
        (["space: {batch_size: [4, 8]}", "pruner: {type: patience, wrapped: medain}"], "(did you mean 'median'?)"),
    ],
)
def test_a_mistake_is_named_where_it_is(tmp_path, options, expected):
    with pytest.raises(InputError) as error:
        read(tmp_path, options)
    [text] = [str(problem) for problem in error.value.problems]
    assert expected in text
    assert "cats.yaml:" in text


def test_knobs_of_one_network_only_do_not_need_to_suit_the_others(tmp_path):
    """HRNet has no deep stem; asked for only where the network is a ResNet, nothing is wrong."""
    conditional = "backbone.deep_stem: {choices: [false, true], when: {model: [resnet18, resnet34]}}"
    study = read(tmp_path, [f"space: {{model: [resnet18, resnet34, hrnet_w32], {conditional}}}"])
    assert study.stages[0].when("backbone.deep_stem") == {"model": ["resnet18", "resnet34"]}
    with pytest.raises(InputError):
        read(tmp_path, ["space: {model: [resnet18, hrnet_w32], backbone.deep_stem: [false, true]}"])


def test_a_knob_is_not_tried_on_a_start_that_its_condition_excludes(tmp_path):
    """Which network the second stage starts from is decided by the first."""
    networks = ["space: {model: [resnet18, hrnet_w32], init: [none]}", "include_baseline: false"]
    stem = "backbone.deep_stem: {choices: [false, true], when: {model: resnet18}}"
    later = ["- name: later", "  design: search", "  cells: 4", f"  space: {{{stem}, sigma: [1.0, 2.0]}}"]
    path = tmp_path / "cats.yaml"
    path.write_text(STUDY + "".join(f"    {line}\n" for line in networks) + "".join(f"  {line}\n" for line in later))
    assert len(load(path).stages) == 2
    path.write_text(path.read_text().replace("sigma: [1.0, 2.0]", "sigma: [1.0, -2.0]"))
    with pytest.raises(InputError, match=r"stages\.1\.space\.sigma: found -2\.0"):
        load(path)


def test_what_is_sampled_where_another_factor_is_not_is_tried(tmp_path):
    stem = "backbone.deep_stem: {choices: [true], when: {model: resnet34}}"
    sigma = "sigma: {choices: [-1.0, 3.0], when: {backbone.deep_stem: null}}"
    with pytest.raises(InputError, match=r"stages\.0\.space\.sigma: found -1\.0"):
        read(tmp_path, [f"space: {{model: [resnet18, resnet34], {stem}, {sigma}}}"])


def test_conditions_on_sizes_and_on_what_the_stage_starts_from_are_no_mistake(tmp_path):
    read(tmp_path, ["space: {input_size: [[64, 64], [96, 96]], sigma: {choices: [1.0], when: {input_size: [96, 96]}}}"])
    two = "{choices: [1.0, 2.0], when: {input_size: [[64, 64], [96, 96]]}}"
    read(tmp_path, [f"space: {{input_size: [[64, 64], [96, 96]], sigma: {two}}}"])
    read(tmp_path, ["space: {batch_size: [4, 8], sigma: {choices: [1.0, 2.0], when: {model: resnet50}}}"])
    codecs = "codec: [msra, {type: megvii, kernel_size: 7}]"
    read(tmp_path, [f"space: {{{codecs}, sigma: {{choices: [1.0, 2.0], when: {{codec: megvii}}}}}}"])
    stem = "backbone.deep_stem: {choices: [true], when: {model: resnet34}}"
    sigma = "sigma: {choices: [1.0, 3.0], when: {backbone.deep_stem: null}}"
    study = read(tmp_path, [f"space: {{model: [resnet18, resnet34], {stem}, {sigma}}}"])
    assert any("sigma" in probe.levels for probe in study.stages[0].probes())


def test_a_second_objective_is_measured_beside_the_first(tmp_path):
    path = tmp_path / "cats.yaml"
    for metric, second, keypoints, fine in (
        ("coco/AP", "coco/AR", "cats", True), ("coco/AP", "latency_ms", "cats", True), ("pck", "epe", "cats", True),
        ("pck", "coco/AP", "cats", False), ("pck", "nme", "cats", False), ("pck", "nme", "wflw", True),
    ):  # fmt: skip
        lines = ["space: {batch_size: [4, 8]}", f"objectives: [{metric}, {second}]"]
        text = STUDY.replace("keypoints: cats", f"keypoints: {keypoints}")
        text = text.replace("stages:", f"metric: {metric}\nstages:")
        path.write_text(text + "".join(f"    {line}\n" for line in lines))
        if fine:
            load(path)
        else:
            with pytest.raises(InputError, match=r"stages\.0\.objectives\.1: found"):
                load(path)


def test_keypoints_that_there_are_not_are_told_with_two_objectives_too(tmp_path):
    path = tmp_path / "cats.yaml"
    head = STUDY.replace("stages:", "metric: nme\nevaluation: {nme_keypoints: [nose_tip, nose_tap]}\nstages:")
    path.write_text(head + "    space: {batch_size: [4, 8]}\n    objectives: [nme, epe]\n")
    with pytest.raises(InputError, match=r"evaluation\.nme_keypoints: found 'nose_t.p'"):
        load(path)


def test_a_codec_by_name_and_its_own_knob_are_set_together(tmp_path):
    knob = "codec.kernel_size: {choices: [5, 7], when: {codec: megvii}}"
    study = read(tmp_path, [f"space: {{codec: [msra, megvii], {knob}}}"])
    config = factors.apply(study.baseline, {"codec": "megvii", "codec.kernel_size": 5})
    assert (config.codec.type, config.codec.kernel_size) == ("megvii", 5)


def test_every_sampler_and_pruner_is_known_by_name_and_with_parameters(tmp_path):
    for sampler in ("tpe", "gp", "random", "qmc", "nsgaii", "{type: nsgaii, population: 20}"):
        assert read(tmp_path, ["space: {batch_size: [4, 8]}", f"sampler: {sampler}"]).stages[0].sampler.type in sampler
    for pruner in ("none", "median", "hyperband", "successive_halving", "patience", "{type: patience, patience: 5}"):
        assert read(tmp_path, ["space: {batch_size: [4, 8]}", f"pruner: {pruner}"]).stages[0].pruner.type in pruner
    nested = read(tmp_path, ["space: {batch_size: [4, 8]}", "pruner: {type: patience, wrapped: hyperband}"])
    assert nested.stages[0].pruner.wrapped.type == "hyperband"
