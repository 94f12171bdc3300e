"""What each design trains and proposes next, played with made-up results; what `check` says of wrong options."""

from dataclasses import replace

import pytest

from posestudy.ledger.records import KnownResult
from posestudy.vocabulary import Outcome
from posestudy_studies import check, remedies
from posestudy_studies.cells import new_cell
from posestudy_studies.designs.base import Proposal
from posestudy_studies.designs.contract import played, stage_view, study_with
from posestudy_studies.rehearsal import Rehearsal
from posestudy_studies.spec import Study


def stage(design, **options):
    return {"name": "s", "design": design, **options}


def rows(view):
    return {cell.name: cell.levels for cell in view.cells}


def tried(study, table):
    """The levels of the only factor in the order in which they were trained; `table` gives the result of a level."""
    [factor] = {f for p in study.stages[0].opening(study.baseline) for f in p.levels}
    start = study.baseline.model_dump()[factor]
    view = played(study, lambda p: table(p.levels.get(factor, start)))
    return [cell.config[factor] for cell in view.cells]


# one_at_a_time

ONE = stage(
    "one_at_a_time",
    variants={
        "half_body": {"augmentation.half_body": {}, "label": "1"},
        "translation": {"augmentation.translation": {}, "label": "2", "note": "Add Random-Translation"},
        "both": {"combine": ["half_body", "translation"], "label": "3", "note": "1 and 2 together"},
        "photometric": {"augmentation.photometric": {}, "label": "5"},
    },
    combine=[["half_body", "photometric"]],
)


def test_a_combination_sets_what_its_variants_set_and_keeps_its_place():
    design = study_with(ONE).stages[0]
    proposals = design.opening(study_with(ONE).baseline)
    assert [p.name for p in proposals] == ["half_body", "translation", "both", "photometric", "half_body-photometric"]
    assert proposals[2] == Proposal(
        "both", {"augmentation.half_body": {}, "augmentation.translation": {}}, "3", "1 and 2 together"
    )
    assert proposals[4].label == "half_body + photometric"
    assert design.combinations() == {
        "both": ["half_body", "translation"],
        "half_body-photometric": ["half_body", "photometric"],
    }


def test_a_combination_follows_its_variants_when_they_change():
    wider = {**ONE, "variants": {**ONE["variants"], "half_body": {"augmentation.half_body.prob": 0.5}}}
    both = study_with(wider).stages[0].opening(study_with(wider).baseline)[2]
    assert both.levels == {"augmentation.half_body.prob": 0.5, "augmentation.translation": {}}


# leave_one_out


def test_components_are_taken_away_one_at_a_time_and_what_is_not_there_is_no_row():
    study = study_with(
        stage("leave_one_out", leave_out=["augmentation.flip", "amp", "augmentation.half_body", "schedule.milestones"]),
        {"augmentation.flip": {}, "amp": True, "schedule.milestones": [2]},
    )
    view = played(study, lambda _: 0.1)
    assert rows(view) == {
        "baseline": {},
        "no_flip": {"augmentation.flip": None},
        "no_amp": {"amp": False},
        "no_milestones": {"schedule.milestones": []},
    }
    assert [cell.label for cell in view.cells] == ["baseline", "without flip", "without amp", "without milestones"]


# grid


def test_a_condition_looks_at_the_row_and_else_at_what_the_stage_starts_from():
    factors = {
        "model": ["resnet18", "hrnet_w32"],
        "backbone.deep_stem": {"levels": [True, False], "when": {"model": ["resnet18", "resnet34"]}},
        "backbone.zero_init_residual": {"levels": [True], "when": {"amp": True}},
    }
    grid = stage("grid", factors=factors, include_baseline=False)
    without = [p.levels for p in study_with(grid).stages[0].opening(study_with(grid).baseline)]
    assert without == [
        {"model": "resnet18", "backbone.deep_stem": True},
        {"model": "resnet18", "backbone.deep_stem": False},
        {"model": "hrnet_w32"},
    ]
    mixed = study_with(grid, {"amp": True})
    assert all("backbone.zero_init_residual" in p.levels for p in mixed.stages[0].opening(mixed.baseline))


@pytest.mark.parametrize("member_first", [True, False])
def test_a_member_stands_whatever_its_place_before_or_behind_its_group(member_first):
    factors = {"codec.kernel_size": [5, 7], "codec": ["megvii"]}
    factors = factors if member_first else dict(reversed(factors.items()))
    study = study_with(stage("grid", factors=factors, include_baseline=False))
    cells = [new_cell(study, study.baseline, p, (0,)) for p in study.stages[0].opening(study.baseline)]
    assert [cell.config["codec"]["kernel_size"] for cell in cells] == [5, 7]


def test_a_condition_on_part_of_what_is_set_as_a_whole_is_told():
    factors = {
        "optimizer": [{"type": "Adam", "lr": 0.001}, {"type": "SGD", "lr": 0.01}],
        "sigma": {"levels": [1.0, 2.0], "when": {"optimizer.type": "SGD"}},
    }
    [line] = complaints(stage("grid", factors=factors))
    assert line.startswith(
        "0.factors.sigma.when.optimizer.type: found 'optimizer.type', while the stage sets 'optimizer'"
    )
    factors["sigma"]["when"] = {"optimizer": "SGD"}
    assert complaints(stage("grid", factors=factors)) == []


def test_rows_of_a_grid_have_the_authors_words():
    words = [{"levels": {"sigma": 1.0, "batch_size": 16}, "label": "10", "note": "twice the batch"}]
    grid = stage("grid", factors={"sigma": [1.0, 2.0], "batch_size": [8, 16]}, rows=words)
    texts = {p.name: (p.label, p.note) for p in study_with(grid).stages[0].opening(study_with(grid).baseline)}
    assert texts == {
        "sigma_1-batch_size_8": ("", ""),
        "sigma_1-batch_size_16": ("10", "twice the batch"),
        "sigma_2-batch_size_16": ("", ""),
    }


# bisect

EPOCHS = stage("bisect", factor="epochs", between=[100, 200], tolerance=25)


def test_the_students_epochs_come_in_the_students_order():
    first = study_with(EPOCHS, {"epochs": 20})
    assert tried(first, {20: 0.1437, 100: 0.285, 200: 0.333, 150: 0.341}.get) == [20, 100, 200, 150]
    again = study_with(EPOCHS | {"between": [150, 200]}, {"epochs": 150})
    assert tried(again, {150: 0.485, 200: 0.459, 175: 0.473}.get) == [150, 200, 175]


@pytest.mark.parametrize(
    ("best", "later"),
    [(100, [125, 112]), (200, [175, 187]), (110, [125, 112]), (160, [175, 162]), (190, [175, 187])],
)
def test_the_half_beside_the_best_is_halved_until_the_tolerance(best, later):
    study = study_with(EPOCHS | {"tolerance": 10}, {"epochs": 4})
    assert tried(study, lambda epochs: 1 - abs(epochs - best) / 1000) == [4, 100, 200, 150, *later]


def test_ties_go_to_the_cheaper_level():
    study = study_with(EPOCHS | {"tolerance": 10, "include_baseline": False})
    assert tried(study, lambda _: 0.3) == [100, 200, 150, 125, 112]
    # Both ends are as good: the half with the lower one.
    assert tried(study, {100: 0.2, 150: 0.3, 200: 0.2, 125: 0.1, 137: 0.1}.get) == [100, 200, 150, 125, 137]


def test_an_end_that_ran_out_of_memory_is_the_worst():
    study = study_with(stage("bisect", factor="batch_size", between=[16, 64], tolerance=5))
    found = tried(study, lambda batch: Outcome.OUT_OF_MEMORY if batch > 48 else batch / 100)
    assert found == [8, 16, 64, 40, 28, 34]


def test_a_level_without_a_value_is_worse_than_a_value_of_zero():
    study = study_with(EPOCHS | {"tolerance": 20, "include_baseline": False})
    assert tried(study, lambda epochs: Outcome.DIVERGED if epochs == 100 else 0.0) == [100, 200, 150, 175]


def test_a_gain_within_the_noise_of_the_seeds_ends_the_search():
    study = study_with(EPOCHS | {"tolerance": 10, "include_baseline": False})
    values = {100: [0.1, 0.12], 200: [0.29, 0.31], 150: [0.305, 0.325]}
    design = study.stages[0]
    proposals = design.opening(study.baseline)

    def asked(spread):
        view = stage_view(study, proposals, [values[p.levels["epochs"]][0] for p in proposals])
        seconds = [
            replace(t, uid=f"{t.number + 9:032x}", seed=1, final_value=t.final_value + spread)
            for t in view.snapshot.trials
        ]
        snapshot = replace(view.snapshot, trials=(*view.snapshot.trials, *seconds))
        return [p.levels["epochs"] for p in design.following(study.baseline, replace(view, snapshot=snapshot))]

    assert asked(0.02) == []
    assert asked(0.0002) == [175]


def test_nothing_is_asked_while_a_result_is_missing():
    study = study_with(EPOCHS | {"include_baseline": False})
    view = stage_view(study, study.stages[0].opening(study.baseline), [0.1, 0.2, None])
    assert study.stages[0].following(study.baseline, view) == []


# remedies

MEMORY = stage("variants", variants={"large": {"model": "resnet50", "batch_size": 64}})


def remedied(fits, **declared):
    study = study_with(MEMORY | {"out_of_memory": declared})

    def result(proposal):
        batch = proposal.levels.get("batch_size", 8)
        return 0.5 if batch <= fits else Outcome.OUT_OF_MEMORY

    return played(study, result)


def test_nothing_follows_unless_it_is_declared():
    assert list(rows(remedied(40))) == ["baseline", "large"]


def test_smaller_batches_are_tried_until_one_fits():
    view = remedied(40, largest_batch=True)
    assert list(rows(view)) == ["baseline", "large", "large-batch_56", "large-batch_48", "large-batch_40"]
    assert rows(view)["large-batch_40"] == {"model": "resnet50", "batch_size": 40}
    assert [remedies.is_remedy(cell, view.cells) for cell in view.cells] == [False, False, True, True, True]
    assert list(rows(remedied(3, largest_batch=True)))[-3:] == ["large-batch_8", "large-batch_4", "large-batch_2"]


def test_accumulation_keeps_the_effective_batch():
    view = remedied(40, accumulate=True)
    assert rows(view)["large-accumulate_2"] == {"model": "resnet50", "batch_size": 32, "accumulate": 2}
    assert len(view.cells) == 3
    assert list(rows(remedied(20, accumulate=True)))[2:] == ["large-accumulate_2", "large-accumulate_4"]


def test_a_row_of_the_stage_answers_for_the_batch_it_has():
    variants = {f"hrnet_{batch}": {"batch_size": batch} for batch in (64, 32, 48, 40, 36)}
    study = study_with(stage("variants", variants=variants, out_of_memory={"largest_batch": True}))
    view = played(study, lambda p: 0.66 if p.levels.get("batch_size", 8) <= 36 else Outcome.OUT_OF_MEMORY)
    # 64: 56 is tried, 48 and 40 are rows that ran out of memory, 32 is one that fits. 48: 42 is tried, 36 fits.
    # 40: 35 is tried and fits.
    assert list(rows(view))[6:] == ["hrnet_64-batch_56", "hrnet_48-batch_42", "hrnet_40-batch_35"]


def test_a_row_that_ran_out_of_memory_is_stepped_over():
    variants = {"large": {"batch_size": 64}, "smaller": {"batch_size": 56}}
    study = study_with(stage("variants", variants=variants, out_of_memory={"largest_batch": True}))
    view = played(study, lambda p: 0.66 if p.levels.get("batch_size", 8) <= 48 else Outcome.OUT_OF_MEMORY)
    assert list(rows(view))[3:] == ["large-batch_48", "smaller-batch_49", "smaller-batch_42"]


def test_one_seed_that_fits_is_a_result_and_needs_no_remedy():
    study = study_with(MEMORY | {"out_of_memory": {"largest_batch": True}})
    proposals = study.stages[0].opening(study.baseline)
    view = stage_view(study, proposals, [Outcome.OUT_OF_MEMORY])
    assert [p.name for p in remedies.proposals(study.stages[0], study.baseline, view)] == ["large-batch_56"]
    second = replace(view.trials[0], uid="f" * 32, seed=1, outcome=Outcome.COMPLETED, final_value=0.4)
    both = replace(view, snapshot=replace(view.snapshot, trials=(*view.trials, second)))
    assert remedies.proposals(study.stages[0], study.baseline, both) == []


def test_long_names_that_begin_alike_have_remedies_of_their_own():
    variants = {"a" * 75 + end: {"sigma": sigma, "batch_size": 64} for end, sigma in (("x", 1.0), ("y", 3.0))}
    study = study_with(stage("variants", variants=variants, out_of_memory={"largest_batch": True}))
    view = played(study, lambda p: 0.1 if p.levels.get("batch_size", 8) < 64 else Outcome.OUT_OF_MEMORY)
    assert [cell.levels for cell in view.cells[3:]] == [
        {"sigma": 1.0, "batch_size": 56},
        {"sigma": 3.0, "batch_size": 56},
    ]
    assert all(len(cell.name) <= 80 for cell in view.cells)


# what `check` says


def complaints(*stages, **baseline):
    document = study_with(MEMORY, baseline).model_dump(mode="json", exclude={"dataset": {"fingerprint"}})
    study, wrong = check.examine({**document, "stages": list(stages)})
    assert (study is None) == bool(wrong)
    return [str(mistake).removeprefix("stages.") for mistake in wrong]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            stage("one_at_a_time", variants={"a": {"sigma": 1.0}, "b": {"amp": True}}, combine=[["a", "bb"]]),
            "0.combine.0.1: found 'bb', expected a variant: a, b (did you mean 'b'?)",
        ),
        (
            stage("one_at_a_time", variants={"a": {"sigma": 1.0}, "b": {"sigma": 3.0}}, combine=[["a", "b"]]),
            "0.combine.0.1: found 'b', which sets sigma as 'a' does, expected variants that set different factors",
        ),
        (
            stage("one_at_a_time", variants={"a": {"sigma": 1.0}, "b": {"combine": ["a", "a"]}}),
            "0.variants.b.combine.1: found 'a' a second time, expected each variant once",
        ),
        (
            stage("one_at_a_time", variants={"a": {"sigma": 1.0}}, combine={"a": {"of": ["a", "a"]}}),
            "0.combine.a: found 'a' a second time, expected a name of its own",
        ),
        (
            stage("leave_one_out", leave_out=["sigma"]),
            "0.leave_out.0: found 'sigma', which has no level that is off, expected one of init, ",
        ),
        (
            stage("leave_one_out", leave_out=["augmentation.flop"]),
            "0.leave_out.0: found unknown factor 'augmentation.flop', expected a factor of the baseline, as "
            "optimizer.lr (did you mean 'augmentation.flip'?)",
        ),
        (
            stage("bisect", factor="epoch", between=[4, 8], tolerance=1),
            "0.factor: found unknown factor 'epoch', expected a factor of the baseline, as optimizer.lr "
            "(did you mean 'epochs'?)",
        ),
        (
            stage("bisect", factor="epochs", between=[8, 4], tolerance=1),
            "0.between: found [8, 4], expected the lower end first, then a larger one",
        ),
        (
            stage("bisect", factor="epochs", between=[4, 8], tolerance=3),
            "0: found tolerance 3, expected at most half the interval, 2 (or there is no middle to try)",
        ),
        (
            stage("bisect", factor="epochs", between=[0, 8], tolerance=1),
            "0.between.0: found epochs 0 without init",
        ),
        (
            EPOCHS | {"rows": [{"levels": {"epochs": 250}, "label": "9"}]},
            "0.rows.0.levels.epochs: found 250, expected a number from 100 to 200",
        ),
        (
            EPOCHS | {"rows": [{"levels": {"epoch": 150}, "label": "9"}]},
            "0.rows.0.levels.epoch: found 'epoch', expected a level of epochs (did you mean 'epochs'?)",
        ),
        (
            stage("grid", factors={"sigma": [1.0]}, rows=[{"levels": {"sigma": 2.5}, "label": "x"}]),
            "0.rows.0.levels: found a mapping, expected levels of a cell of this stage",
        ),
        (
            stage("grid", factors={"sigma": {"levels": [1.0], "when": {"modle": "resnet18"}}}),
            "0.factors.sigma.when.modle: found unknown factor 'modle', expected a factor (did you mean 'model'?)",
        ),
        (
            MEMORY | {"as_one": [["optimizer.lr", "batchsize"]]},
            "0.as_one.0.1: found unknown factor 'batchsize', expected a factor, as optimizer.lr "
            "(did you mean 'batch_size'?)",
        ),
    ],
)
def test_mistakes_of_a_stage_are_told_where_they_stand(options, expected):
    found = complaints(options)
    assert any(line.startswith(expected) for line in found), found


NETWORK = stage("variants", variants={"hrnet": {"model": "hrnet_w32"}})
STEM = {"backbone.deep_stem": [True]}


def test_levels_that_would_not_fit_what_an_earlier_stage_may_carry_are_told_before_anything_runs():
    after = {**stage("grid", factors=STEM), "name": "after"}
    [line] = complaints(NETWORK, after)
    assert line.startswith("1.factors: found backbone.deep_stem, expected an argument of HRNet")
    assert line.endswith("(where stage 's' carries model hrnet_w32)")
    assert complaints(NETWORK, after | {"carry": "baseline"}) == []
    assert complaints(NETWORK, after | {"carry": "hrnet"}) == [line]
    conditional = {"backbone.deep_stem": {"levels": [True], "when": {"model": "resnet18"}}}
    assert complaints(NETWORK, after | {"factors": conditional}) == []
    # What else the grid tries is tried all the same where the condition does not hold.
    [line] = complaints(NETWORK, after | {"carry": "hrnet", "factors": {**conditional, "sigma": [1.0, -2.0]}})
    assert line.startswith("1.factors.sigma.1: found -2.0")


def test_a_level_of_a_condition_that_its_factor_never_has_is_told():
    knob = {"levels": [True], "when": {"model": ["resnet18", "resnet43"]}}
    [line] = complaints(stage("grid", factors={"model": ["resnet18", "resnet34"], "backbone.deep_stem": knob}))
    assert line.startswith("0.factors.backbone.deep_stem.when.model.1: found 'resnet43', expected a level of model: ")


def test_levels_that_only_fit_what_a_stage_carries_by_name_are_no_mistake():
    heatmap = {**stage("variants", variants={"h": {"heatmap_size": [64, 64]}}), "name": "after", "carry": "large"}
    larger = stage("variants", variants={"large": {"input_size": [256, 256]}})
    assert complaints(larger, heatmap) == []
    assert complaints(larger, heatmap | {"carry": "best", "variants": {"h": {"heatmap_size": [128, 128]}}}) != []


def test_a_remedy_is_asked_for_by_the_ledgers_steps_and_may_be_carried():
    first = study_with(MEMORY | {"out_of_memory": {"largest_batch": True}}).model_dump(mode="json")
    second = {"name": "after", "design": "variants", "variants": {"narrow": {"sigma": 1.0}}}
    study = Study.model_validate(first | {"stages": [*first["stages"], second]})

    def result(_stage, cell, _seed):
        batch = cell.config["batch_size"]
        if batch > 48:
            return KnownResult(Outcome.OUT_OF_MEMORY, {})
        return KnownResult(Outcome.COMPLETED, {}, final_value=batch / 100, final_epoch=4)

    end = Rehearsal(study).play(result)
    assert end.stages[0].carried == "large-batch_48"
    assert {cell.config["batch_size"] for cell in end.cells if cell.stage_id == end.stages[1].id} == {48}
