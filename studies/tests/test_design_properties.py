"""What holds of designs whatever their options and whatever the results."""

import itertools
import math
from unittest import mock

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from posestudy.ledger.records import KnownResult
from posestudy.vocabulary import METRICS, Direction, Metric, Outcome
from posestudy_studies import factors
from posestudy_studies.cells import canonical
from posestudy_studies.designs.conditions import holds
from posestudy_studies.designs.contract import played, study_with
from posestudy_studies.rehearsal import Rehearsal
from posestudy_studies.spec import Study
from posestudy_studies.training import Training


@st.composite
def bisections(draw):
    """A stage that bisects epochs or sigma, wide enough for its tolerance."""
    if draw(st.booleans()):
        low = draw(st.integers(1, 300))
        high = low + draw(st.integers(2, 400))
        tolerance = draw(st.floats(0.5, (high - low) / 2))
        factor = "epochs"
    else:
        low = draw(st.floats(0.1, 10))
        high = low + draw(st.floats(0.1, 10))
        tolerance = (high - low) * draw(st.floats(0.01, 0.49))
        factor = "sigma"
    return {"name": "s", "design": "bisect", "factor": factor, "between": [low, high], "tolerance": tolerance}


@settings(max_examples=80, deadline=None)
@given(stage=bisections(), where=st.floats(0, 1), steep=st.floats(0.01, 10))
def test_a_bisection_finds_the_top_of_a_symmetric_hill_within_its_tolerance(stage, where, steep):
    (low, high), tolerance = stage["between"], stage["tolerance"]
    top = low + where * (high - low)
    study = study_with(stage | {"include_baseline": False})
    heights = {}

    def height(proposal):
        level = proposal.levels[stage["factor"]]
        return heights.setdefault(level, -steep * abs(level - top))

    played(study, height)
    best = max(heights, key=heights.get)
    rounding = 1 if stage["factor"] == "epochs" else 1e-6
    assert abs(best - top) <= tolerance + rounding


results = st.one_of(st.integers(0, 5).map(lambda i: i / 10), st.sampled_from([Outcome.OUT_OF_MEMORY, Outcome.DIVERGED]))


@settings(max_examples=80, deadline=None)
@given(stage=bisections(), data=st.data(), baseline=st.booleans())
def test_whatever_the_results_a_bisection_starts_with_ends_and_middle_and_trains_no_level_twice(stage, data, baseline):
    study = study_with(stage | {"include_baseline": baseline})
    assume(study.baseline.model_dump()[stage["factor"]] not in stage["between"])
    view = played(study, lambda _: data.draw(results))
    levels = [factors.get(cell.config, stage["factor"]) for cell in view.cells if cell.levels]
    low, high = stage["between"]
    middle = (low + high) // 2 if stage["factor"] == "epochs" else (low + high) / 2
    opening = [low, high] if baseline and view.cells[0].config[stage["factor"]] == middle else [low, high, middle]
    assert levels[: len(opening)] == opening
    assert len(set(levels)) == len(levels)
    assert all(low <= level <= high for level in levels)
    every = sorted({*levels, low, middle, high})
    for i, level in enumerate(levels[len(opening) :]):
        others = [v for v in every if v not in levels[len(opening) + i :]]
        assert min(abs(level - other) for other in others) > stage["tolerance"]
    planned = study.stages[0].planned(study.baseline)
    assert len(levels) <= len(planned) <= len(opening) + math.log2((high - low) / stage["tolerance"]) + 1


@settings(max_examples=40, deadline=None)
@given(stage=bisections(), table=st.lists(st.integers(0, 50), min_size=40, max_size=40))
def test_less_is_better_where_the_metric_says_so(stage, table):
    """The mirror image of every result, under a metric of the other direction, is the same path."""
    study = study_with(stage | {"include_baseline": False})

    def path(sign):
        numbers = iter(table)
        seen = {}

        def result(proposal):
            return seen.setdefault(canonical(proposal.levels), sign * next(numbers) / 50)

        return [cell.levels for cell in played(study, result).cells]

    more = path(1)
    less = Metric("coco/AP", "1", Direction.LESS, "coco/AP", "AP")
    with mock.patch.dict(METRICS, {"coco/AP": less}):
        assert path(-1) == more


MODELS = ["resnet18", "resnet34", "hrnet_w32"]
deep_stem = st.fixed_dictionaries(
    {
        "levels": st.lists(st.booleans(), min_size=1, max_size=2, unique=True),
        "when": st.just({"model": ["resnet18", "resnet34"]}),
    }
)
grids = st.fixed_dictionaries(
    {
        "model": st.lists(st.sampled_from(MODELS), min_size=1, max_size=3, unique=True),
        "sigma": st.lists(st.integers(1, 4).map(float), min_size=1, max_size=3, unique=True),
    },
    optional={
        "backbone.deep_stem": deep_stem,
        "augmentation.flip": st.just([None, {}, {"prob": 0.25}]),
        "batch_size": st.lists(st.integers(1, 64), min_size=1, max_size=3, unique=True),
    },
)


@settings(max_examples=60, deadline=None)
@given(chosen=grids, baseline=st.booleans())
def test_a_grid_is_every_valid_combination_once(chosen, baseline):
    stage = {"name": "s", "design": "grid", "factors": chosen, "include_baseline": baseline}
    study = study_with(stage)
    view = played(study, lambda _: 0.1)
    configs = [canonical(cell.config) for cell in view.cells]
    assert len(set(configs)) == len(configs)
    expected = {canonical(study.baseline.model_dump(mode="json"))} if baseline else set()
    plain = {f: v if isinstance(v, list) else v["levels"] for f, v in chosen.items()}
    for combination in itertools.product(*plain.values()):
        levels = dict(zip(plain, combination, strict=True))
        for factor, given_ in chosen.items():
            if isinstance(given_, dict) and not holds(given_["when"], levels, None):
                del levels[factor]
        expected.add(canonical(factors.apply(study.baseline, levels).model_dump(mode="json")))
    assert set(configs) == expected
    assert [len(cell.name) <= 80 for cell in view.cells] == [True] * len(configs)


@settings(max_examples=60, deadline=None)
@given(batch=st.integers(1, 200), fits=st.integers(0, 200), accumulate=st.booleans(), largest=st.booleans())
def test_remedies_end_and_are_what_they_say(batch, fits, accumulate, largest):
    stage = {
        "name": "s", "design": "variants", "variants": {"a": {"batch_size": batch, "sigma": 3.0}},
        "include_baseline": False, "out_of_memory": {"largest_batch": largest, "accumulate": accumulate},
    }  # fmt: skip
    view = played(study_with(stage), lambda p: 0.1 if p.levels["batch_size"] <= fits else Outcome.OUT_OF_MEMORY)
    small = [cell.config for cell in view.cells[1:] if cell.config["accumulate"] == 1]
    shared = [cell.config for cell in view.cells[1:] if cell.config["accumulate"] > 1]
    assert all(config["batch_size"] * config["accumulate"] == batch for config in shared)
    for tried in (small, shared):
        sizes = [config["batch_size"] for config in tried]
        assert sizes == sorted(set(sizes), reverse=True)
        assert all(size > fits for size in sizes[:-1])  # one fits at most: the last
    assert bool(small) == (largest and batch > max(fits, 1))
    assert bool(shared) == (accumulate and batch > fits and batch % 2 == 0)
    if small and fits >= 1:
        assert small[-1]["batch_size"] <= fits


STAGES = {
    "one": {
        "design": "one_at_a_time",
        "variants": {"flip": {"augmentation.flip": {}}, "slow": {"optimizer.lr": 1e-4}},
        "combine": {"both": {"of": ["flip", "slow"]}},
    },
    "without": {"design": "leave_one_out", "leave_out": ["augmentation.flip"]},
    "epochs": {"design": "bisect", "factor": "epochs", "between": [4, 40], "tolerance": 5},
    "grid": {"design": "grid", "factors": {"batch_size": [8, 16], "amp": [False, True]}},
    "named": {
        "design": "variants",
        "variants": {"wide": {"input_size": [96, 96]}, "large": {"batch_size": 128}},
        "out_of_memory": {"largest_batch": True},
    },
}
carries = st.sampled_from(["best", "best", "baseline", "flip"])
chains = st.lists(st.tuples(st.sampled_from(sorted(STAGES)), carries), min_size=2, max_size=5)


def chain_of(chosen):
    """The stages of a study; a named carry only where the stage before has that cell."""
    stages = []
    for i, (kind, carry) in enumerate(chosen):
        fits = carry != "flip" or (i and chosen[i - 1][0] == "one")
        stages.append({"name": f"{kind}_{i}", **STAGES[kind], "carry": carry if fits else "best"})
    return stages


def rehearsed(stages, results, levels=None, **fields):
    first = study_with(stages[0], levels).model_dump(mode="json")
    rehearsal = Rehearsal(Study.model_validate(first | {"stages": stages} | fields))
    return rehearsal.play(lambda stage, cell, seed: results(canonical(cell.config), seed))


def drawn(data):
    """Results that are drawn once for every configuration and seed."""
    known = {}

    def result(config, seed):
        if (config, seed) not in known:
            value = data.draw(results)
            ended = isinstance(value, Outcome)
            known[config, seed] = KnownResult(
                value if ended else Outcome.COMPLETED, {}, final_value=None if ended else value
            )
        return known[config, seed]

    return result


@settings(max_examples=60, deadline=None)
@given(chosen=chains, data=st.data(), seeds=st.sampled_from([[0], [0, 1]]))
def test_every_stage_starts_from_what_the_results_or_its_file_say(chosen, data, seeds):
    stages = chain_of(chosen)
    end = rehearsed(stages, drawn(data), replicates={"seeds": seeds})
    assert end.study.state == "closed"
    assert [stage.state for stage in end.stages] == ["closed"] * len(stages)
    for before, after in itertools.pairwise(end.stages):
        cells_ = [cell for cell in end.cells if cell.stage_id == before.id]
        means = {}
        for cell in cells_:
            values = [t.final_value for t in end.trials if t.cell_id == cell.id and t.final_value is not None]
            if values:
                means[cell.name] = sum(values) / len(values)
        carry = stages[after.ordinal]["carry"]
        if carry == "best":
            top = max(means.values(), default=None)
            carry = next((c.name for c in cells_ if c.name in means and means[c.name] == top), "baseline")
        assert before.carried == carry
        assert before.carry_reason.startswith(carry)
        assert after.start == next(cell.config for cell in cells_ if cell.name == carry)
    for stage in end.stages:
        start = Training.model_validate(stage.start)
        for cell in end.cells:
            if cell.stage_id == stage.id:
                assert cell.config == factors.apply(start, cell.levels).model_dump(mode="json")


@settings(max_examples=25, deadline=None)
@given(chosen=chains, data=st.data(), sigma=st.floats(0.5, 8))
def test_a_knob_of_the_baseline_reaches_every_row_that_does_not_set_it(chosen, data, sigma):
    end = rehearsed(chain_of(chosen), drawn(data), {"sigma": sigma})
    assert {cell.config["sigma"] for cell in end.cells} == {sigma}
