"""A search as the study file writes it: what is understood and what is refused, where."""

import pytest

from posestudy.errors import InputError
from posestudy_studies.file import load

STUDY = """\
study: cats
dataset:
  keypoints: cats
  root: data/cats
  train: {annotations: train.json, images: images}
  val: {annotations: val.json, images: images}
baseline:
  model: resnet18
  input_size: [64, 64]
  epochs: 4
  batch_size: 8
  optimizer: {type: Adam, lr: 1.0e-3}
stages:
  - name: find
    design: search
    cells: 4
"""


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
        (["space: {batch_size: [4, 8]}", "objectives: [coco/AP]"], "stages.0.objectives: found one objective"),
        (
            ["space: {batch_size: [4, 8]}", "objectives: [coco/AP, duration_s]", "pruner: median"],
            "stages.0.pruner: found 'median', expected no pruner",
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


def test_every_sampler_and_pruner_is_known_by_name_and_with_parameters(tmp_path):
    for sampler in ("tpe", "gp", "random", "qmc", "nsgaii", "{type: nsgaii, population: 20}"):
        assert read(tmp_path, ["space: {batch_size: [4, 8]}", f"sampler: {sampler}"]).stages[0].sampler.type in sampler
    for pruner in ("none", "median", "hyperband", "successive_halving", "patience", "{type: patience, patience: 5}"):
        assert read(tmp_path, ["space: {batch_size: [4, 8]}", f"pruner: {pruner}"]).stages[0].pruner.type in pruner
    nested = read(tmp_path, ["space: {batch_size: [4, 8]}", "pruner: {type: patience, wrapped: hyperband}"])
    assert nested.stages[0].pruner.wrapped.type == "hyperband"
