"""How a study was done, in words: what all cells share, what each stage varies, how results were measured and compared.

Everything is read off the configurations of the cells and the rows of the ledger. What they do not say is not said.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from posestudy.ledger.records import TrialRecord
from posestudy.vocabulary import TrialState
from posestudy_reports import decided, networks, words
from posestudy_reports.cited import Sentence
from posestudy_reports.quantities import only_evaluated
from posestudy_reports.references import CODEC, FAMILY, LAYOUT, LOSS, OPTIMIZER, PRUNER, SAMPLER
from posestudy_reports.results import StageResult, StudyResult, at
from posestudy_studies.designs import first_cells
from posestudy_studies.designs.sampling import Pruner, named

if TYPE_CHECKING:
    from posestudy_reports.comparison import Comparison

Config = Mapping[str, Any]


def training(result: StudyResult) -> tuple[Sentence, ...]:
    """What every cell is trained with, as the first configuration has it, and what the stages change of it."""
    start = _start(result)
    if not start:
        return ()
    trained = _trained(result) or start
    found = [sentence for topic in _TOPICS if (sentence := topic(start if topic is _network else trained))]
    if start.get("epochs") == 0 and trained is not start:
        given = [s for s in result.stages if s.cells and all(c.cell.config.get("epochs") == 0 for c in s.cells)]
        names = words.listing([words.quoted(s.stage.name) for s in given])
        if given:
            only = f"Stage {names} only evaluates" if len(given) == 1 else f"Stages {names} only evaluate"
            found.append(Sentence(f"{only} weights that were given."))
    varied = _varied(result)
    if not varied:
        return tuple(found)
    named = words.listing([words.factor(name) for name in varied])
    where = "This is the configuration the first stage starts from; the stages change its"
    return (*found, Sentence(f"{where} {named}, and nothing else in it differs between cells."))


def _start(result: StudyResult) -> Config:
    for stage in result.stages:
        if stage.baseline is not None:
            return stage.baseline.cell.config
        if stage.stage.start:
            return stage.stage.start
    given = result.snapshot.study.document.get("baseline")
    return given if isinstance(given, Mapping) else {}


def _trained(result: StudyResult) -> Config | None:
    """The first configuration that is trained: of baselines, then of other cells."""
    baselines = [stage.baseline for stage in result.stages if stage.baseline]
    cells = [*baselines, *(cell for stage in result.stages for cell in stage.cells)]
    return next((cell.cell.config for cell in cells if cell.cell.config.get("epochs")), None)


def _varied(result: StudyResult) -> tuple[str, ...]:
    """The factors that have several levels over all cells of the study, in order of first use."""
    configs = [cell.cell.config for stage in result.stages for cell in stage.cells]
    names = dict.fromkeys(name for stage in result.stages for name in stage.factors)
    several = [n for n in names if len({json.dumps(at(c, n), sort_keys=True, default=str) for c in configs}) > 1]
    groups = [n for n in several if not any(n != other and n.startswith(f"{other}.") for other in several)]
    return tuple(groups)


def _network(config: Config) -> Sentence | None:
    name = networks.name(config)
    if not name:
        return None
    family = networks.family(config).replace(",", "").split(" ")[0]
    cites = [FAMILY[family]] if family in FAMILY else []
    kind = networks.head(config)
    codec = _type(config.get("codec")) or "msra"
    cites += [CODEC[codec]] if codec in CODEC else []
    cites += ["zhang2020dark"] if at(config, "codec.unbiased") else []
    gives = {
        "heatmap": "one heatmap per keypoint",
        "SimCC": "two distributions per keypoint, one along each axis (SimCC)",
        "regression": "the coordinates of the keypoints",
        "RLE": "the coordinates of the keypoints with their spread (RLE)",
    }[kind]
    if (
        kind == "heatmap"
        and family in ("ResNet", "ResNeSt", "SCNet", "AlexNet")
        and isinstance(config.get("model"), str)
    ):
        cites.append("xiao2018simple")
    text = f"The network is {name}, which gives {gives}"
    size = config.get("input_size")
    text += f" for a crop of {words.level(size, 'input_size')} px" if size else ""
    init = config.get("init")
    if config.get("epochs") != 0:
        text += f"; its weights start from {_weights(init)}" if init else "; its weights start at random"
    return Sentence(f"{text}.", tuple(cites))


def _weights(init: Any) -> str:
    text = str(init)
    if text.startswith("torchvision://"):
        return f"torchvision's {text.removeprefix('torchvision://')} (ImageNet)"
    return PurePath(text.rstrip("/")).name


def _target(config: Config) -> Sentence | None:
    loss = networks.loss(config)
    codec = _type(config.get("codec")) or "msra"
    parts = []
    if codec in ("msra", "udp") and config.get("sigma") is not None:
        about = {"msra": "", "udp": " with unbiased data processing (UDP)"}[codec]
        parts.append(f"targets are Gaussians with a sigma of {words.level(config['sigma'])} heatmap px{about}")
        if at(config, "codec.unbiased"):
            parts.append("drawn and decoded without bias (DARK)")
    elif codec == "simcc" and at(config, "codec.smoothing") is None and config.get("sigma") is not None:
        parts.append(f"targets are Gaussians with a sigma of {words.level(config['sigma'])} bins")
    if loss and config.get("epochs") != 0:
        parts.append(f"the loss is {_LOSSES.get(loss, loss)}")
    if not parts or config.get("epochs") == 0:
        return None
    return Sentence(_capital(f"{words.listing(parts)}."), tuple([LOSS[loss]] if loss in LOSS else ()))


_LOSSES: Final = {
    "mse": "the mean squared error", "kl": "the Kullback\u2013Leibler divergence", "smooth_l1": "smooth L1", "l1": "L1",
    "wing": "the wing loss", "soft_wing": "the soft wing loss", "rle": "residual log-likelihood estimation",
}  # fmt: skip


def _optimisation(config: Config) -> Sentence | None:
    epochs = config.get("epochs")
    if epochs == 0:
        return Sentence("Nothing is trained: the weights are evaluated as they were given.")
    kind, rate = at(config, "optimizer.type"), at(config, "optimizer.lr")
    if not kind and epochs is None:
        return None
    parts = [f"for {words.count(epochs, 'epoch')}" if epochs else "", f"with {kind}" if kind else ""]
    text = f"Training runs {' '.join(p for p in parts if p)}"
    cites = [OPTIMIZER[kind]] if kind in OPTIMIZER else []
    if config.get("batch_size"):
        text += f" in batches of {config['batch_size']}"
        if (gpus := config.get("gpus") or 1) > 1:
            text += f" on each of {gpus} devices"
    if (config.get("accumulate") or 1) > 1:
        text += f", gradients of {config['accumulate']} batches added up for each update"
    if rate is not None:
        text += f" at a learning rate of {words.level(rate)}"
    base = at(config, "lr_scaling.base_batch_size")
    if base:
        text += f", scaled linearly with the samples of an update from {base} on"
        cites.append("goyal2017accurate")
    if config.get("amp"):
        text += ", in mixed precision"
        cites.append("micikevicius2018mixed")
    return Sentence(f"{text}.", tuple(cites))


def _schedule(config: Config) -> Sentence | None:
    schedule = config.get("schedule")
    if not isinstance(schedule, Mapping) or config.get("epochs") == 0:
        return None
    parts, cites = [], []
    if schedule.get("warmup_iters"):
        parts.append(f"rises linearly over the first {words.count(schedule['warmup_iters'], 'update')}")
    if schedule.get("type") == "cosine":
        end = schedule.get("min_lr_ratio") or 0
        parts.append("follows half a cosine down to " + (f"{words.level(float(end))} of itself" if end else "zero"))
        cites.append("loshchilov2017sgdr")
    elif schedule.get("milestones"):
        steps = _steps(schedule, config.get("epochs"))
        times = words.level(float(schedule.get("gamma") or 0.1))
        parts.append(f"is multiplied by {times} at epoch{'s' if len(steps) > 1 else ''} {words.listing(steps)}")
    if not parts:
        return Sentence("The learning rate is constant.") if at(config, "optimizer.lr") is not None else None
    text = f"The rate {words.listing(parts)}"
    if schedule.get("stretch_from") and schedule.get("milestones"):
        text += "; with other numbers of epochs the steps move in proportion"
    return Sentence(f"{text}.", tuple(cites))


def _steps(schedule: Config, epochs: Any) -> list[str]:
    milestones, base = schedule.get("milestones") or (), schedule.get("stretch_from")
    if base and isinstance(epochs, int):
        milestones = [max(1, round(m * epochs / base)) for m in milestones]
    return [str(m) for m in milestones]


_AUGMENTATIONS: Final = {
    "flip": "mirroring", "scale_rotation": "random scale and rotation", "half_body": "half-body crops",
    "translation": "random translation", "photometric": "photometric distortion", "albumentations": "Albumentations",
}  # fmt: skip


def _augmentation(config: Config) -> Sentence | None:
    given = config.get("augmentation")
    if not isinstance(given, Mapping) or config.get("epochs") == 0:
        return None
    parts = []
    for name, about in _AUGMENTATIONS.items():
        value = given.get(name)
        if value in (None, False):
            continue
        told = _detail(name, value if isinstance(value, Mapping) else {})
        parts.append(f"{about}{f' ({told})' if told else ''}")
    if not parts:
        return Sentence("Training samples are not augmented.")
    cites = ("buslaev2020albumentations",) if given.get("albumentations") else ()
    return Sentence(f"Training samples are augmented by {words.listing(parts)}.", cites)


def _detail(name: str, value: Config) -> str:
    if name == "flip" and value.get("prob") is not None:
        return f"probability {words.level(float(value['prob']))}"
    if name == "scale_rotation" and value.get("rotation") is not None and value.get("scale") is not None:
        scale = float(value["scale"])
        ends = f"{words.level(round(1 - scale, 6))} to {words.level(round(1 + scale, 6))}"
        return f"factors {ends}, rotation factor {words.level(float(value['rotation']))}\u00b0"
    if name in ("half_body", "translation") and value.get("prob") is not None:
        return f"probability {words.level(float(value['prob']))}"
    if name == "albumentations":
        kinds = [str(t.get("type")) for t in value.get("transforms") or () if isinstance(t, Mapping) and t.get("type")]
        return words.listing(kinds)
    return ""


_TOPICS: Final[Sequence[Callable[[Config], Sentence | None]]] = (
    _network, _target, _optimisation, _schedule, _augmentation,
)  # fmt: skip


def stages(result: StudyResult) -> tuple[Sentence, ...]:
    """What each stage tries, in order, one sentence each, and that stages follow one another."""
    found = [_stage(result, stage) for stage in result.stages]
    if len(result.stages) > 1:
        first = (
            f"The study has {len(result.stages)} stages; unless a stage says otherwise, it starts from the cell that "
        )
        found.insert(0, Sentence(f"{first}the stage before carried."))
    return tuple(found)


def _stage(result: StudyResult, stage: StageResult) -> Sentence:
    declared, design = stage.declared, stage.stage.design
    cells = words.count(len(stage.cells), "cell")
    named = words.listing([words.factor(name) for name in stage.factors]) or "nothing"
    cites: tuple[str, ...] = ()
    if design == "search":
        sampler, pruner = _type(declared.get("sampler")) or "", _type(declared.get("pruner")) or ""
        how = f"lets Optuna{f' ({_searcher(sampler, pruner)})' if sampler else ''} choose {cells} that vary {named}"
        if given := sum(one.cell.note == first_cells.NOTE for one in stage.cells):
            how += f", {given} of them given by the study file"
        cites = ("akiba2019optuna", *(SAMPLER[s] for s in (sampler,) if s in SAMPLER))
        cites += tuple(PRUNER[p] for p in (pruner,) if p in PRUNER)
    elif design == "bisect":
        between = declared.get("between")
        ends = f" between {words.level(between[0])} and {words.level(between[1])}" if between else ""
        how = f"narrows {named}{ends} by halving, in {cells}"
    else:
        how = {
            "grid": f"crosses {_levels(result, stage)} in {cells}",
            "one_at_a_time": f"adds one change at a time to its baseline ({named}) and has {cells}",
            "leave_one_out": f"takes one component at a time from its baseline ({named}) and has {cells}",
        }.get(design, f"compares {cells} that vary {named}")
    if declared.get("carry", "best") == "baseline" and stage.stage.ordinal:
        how += "; it starts from the study's baseline"
    text = f"Stage {stage.stage.ordinal + 1}, {words.quoted(stage.stage.name)}, {how}{_joint(stage)}."
    return Sentence(text + _paused(declared), cites)


def _paused(declared: Mapping[str, Any]) -> str:
    """How trials of a search pause and go on; empty where they do not."""
    pruner = declared.get("pruner")
    if _type(pruner) != "asha":
        return ""
    options = Pruner.model_validate(named(pruner))
    first, times = words.count(options.min_epochs, "epoch"), options.reduction
    by = " by the value forecast for its last epoch" if options.rank == "forecast" else ""
    return (
        f" A trial pauses at {first}, and at each rung of {times} times as many, until it is among the best 1/{times} "
        f"of those that have reached it{by}; it then goes on from its checkpoint, and what still paused at the end of "
        "the stage is given as pruned."
    )


def _searcher(sampler: str, pruner: str) -> str:
    known = {"tpe": "TPE", "gp": "Gaussian process", "qmc": "quasi-Monte Carlo", "nsgaii": "NSGA-II"}
    text = known.get(sampler, sampler)
    if pruner == "asha":
        return f"{text} with asynchronous successive halving"
    return text + (f" with {pruner.replace('_', ' ')} pruning" if pruner and pruner != "none" else "")


def _levels(result: StudyResult, stage: StageResult) -> str:
    """`batch size (16, 8) with sigma (1, 1.5)`, the levels in order of the rows."""
    parts = []
    for name in stage.factors:
        levels = dict.fromkeys(words.level(result.level(c.cell.config, name), name) for c in stage.cells)
        parts.append(f"{words.factor(name)} ({', '.join(levels)})")
    return " with ".join(parts) or "its factors"


def _joint(stage: StageResult) -> str:
    joint = [cell.label for cell in stage.cells if stage.joint(cell) and not stage.combination(cell)]
    if not joint or stage.stage.design in ("grid", "search"):
        return ""
    if len(joint) > 4:
        return f"; {len(joint)} of them change several factors at once"
    return (
        f"; {words.listing([words.quoted(label) for label in joint])} change{'s' if len(joint) == 1 else ''} several "
        "factors at once"
    )


def trials(result: StudyResult) -> tuple[Sentence, ...]:
    """How many trials, seeds and where the results come from."""
    rows = result.snapshot.trials
    cells = [cell for stage in result.stages for cell in stage.cells]
    if not rows:
        return ()
    counts = sorted({len(cell.trials) for cell in cells if cell.trials})
    seeds = sorted({t.seed for t in rows})
    how = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    text = f"There are {words.count(len(rows), 'trial')} of {words.count(len(cells), 'cell')}, "
    text += f"{how} {'seed' if counts == [1] else 'seeds'} a cell"
    text += (
        f" ({'seed' if len(seeds) == 1 else 'seeds'} {words.listing([str(s) for s in seeds])})"
        if len(seeds) <= 8
        else ""
    )
    found = [f"{text}."]
    kinds = [str(t.source.get("kind")) for t in rows if t.source]
    if kinds.count("imported") == len(rows):
        found.append("All results were imported; nothing was trained for this study here.")
    elif "imported" in kinds:
        found.append(
            f"{words.count(kinds.count('imported'), 'result')} were imported.".replace("1 result were", "1 result was")
        )
    looked = [t for t in rows if t.source is None and only_evaluated(t)]
    if looked:
        plural = "trials evaluate" if len(looked) > 1 else "trial evaluates"
        found.append(f"{len(looked)} {plural} weights that were there already.")
    found += _limits(result)
    return tuple(map(Sentence, found))


def _limits(result: StudyResult) -> list[str]:
    document, found = result.snapshot.study.document, []
    floor, budget = document.get("floor"), document.get("budget")
    if isinstance(floor, Mapping):
        value = words.score(float(floor["value"]), result.metric)
        found.append(
            f"A trial that has not reached {result.metric.short} {value} by epoch {floor['epoch']} counts as not "
            "converged."
        )
    if isinstance(budget, Mapping):
        limits = [
            f"{words.level(float(budget[key]))} {unit}"
            for key, unit in (
                ("trial_hours", "h a trial"), ("gpu_hours", "device hours in all"), ("memory_mb", "MiB a trial"),
            )
            if budget.get(key)
        ]  # fmt: skip
        found += [f"The budget is {words.listing(limits)}."] if limits else []
    return [*found, *decided.rules(document)]


def evaluation(result: StudyResult) -> tuple[Sentence, ...]:
    """The metric and how predictions are made from networks."""
    metric, document = result.metric, result.snapshot.study.document
    given = document.get("evaluation")
    options: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    less = metric.direction.better(0.0, 1.0)
    first = Sentence(f"The metric is {metric.short} ({metric.name}); {'less' if less else 'more'} is better.")
    cites: tuple[str, ...] = ()
    if metric.name.startswith("coco/"):
        text = f"The metric is COCO's {metric.short}, which rests on object keypoint similarity (OKS); more is better."
        first = Sentence(text, ("lin2014coco",))
    elif metric.name == "pck" and options.get("pck_thr"):
        share = words.level(float(options["pck_thr"]))
        first = Sentence(
            f"The metric is PCK: a keypoint is right within {share} of the longer side of its box; more is better."
        )
    elif metric.name in ("nme", "epe"):
        about = {"nme": "the normalised mean error (NME)", "epe": "the mean distance in px (EPE)"}[metric.name]
        first = Sentence(f"The metric is {about}; less is better.")
    found = [first, *_looks(options, metric.name)]
    varied = [n for n in _varied(result) if n == "evaluation" or n.startswith("evaluation.")]
    if varied:
        found.append(
            Sentence(
                f"Cells that differ only in {words.listing([words.factor(n) for n in varied])} share their weights."
            )
        )
    del cites
    found.append(_values(result))
    return tuple(sentence for sentence in found if sentence.text)


def _looks(options: Mapping[str, Any], metric: str) -> list[Sentence]:
    parts = []
    boxes = options.get("boxes")
    if boxes is not None:
        parts.append(
            "crops are cut at the true boxes"
            if boxes == "ground_truth"
            else f"crops are cut at the detections of {PurePath(str(boxes)).name}"
        )
    if options.get("flip_test") is not None:
        parts.append(
            "predictions are averaged with those of the mirrored image"
            if options["flip_test"]
            else "images are not mirrored in testing"
        )
    if not parts:
        return []
    text = words.listing(parts)
    mode = options.get("score_mode")
    if metric.startswith("coco/") and mode:
        about = {
            "bbox": "its box's score alone",
            "bbox_keypoint": "its box's and its keypoints' scores",
            "bbox_rle": "its box's score and the spread RLE gives",
        }
        text += f"; an instance's score is made of {about.get(str(mode), str(mode))}"
    return [Sentence(_capital(f"{text}."))]


def _values(result: StudyResult) -> Sentence:
    """What `final` and `best` mean, where epochs were evaluated."""
    if not any(t.final_epoch for t in result.snapshot.trials):
        return Sentence("")
    return Sentence(
        "Final is the value at the last epoch, best the best of the evaluated epochs; an entry 150: 0.485 "
        "would be the value 0.485 at epoch 150. Cells are compared by their final values."
    )


def hardware(result: StudyResult) -> tuple[Sentence, ...]:
    """Machines and software by what trials say of themselves; a sentence where some of them say nothing."""
    done = [t for t in result.snapshot.trials if t.state is TrialState.DONE and t.source is None]
    told = [t for t in done if t.provenance]
    if not told:
        return ()
    devices = _counted(_device(t) for t in told)
    found = [Sentence(f"Trials ran on {words.listing(devices)}.")] if devices else []
    software = [
        f"{name} {words.listing(versions)}"
        for key, name in (("mmpose", "MMPose"), ("mmengine", "MMEngine"), ("torch", "PyTorch"), ("cuda", "CUDA"),
                          ("python", "Python"), ("posestudy", "posestudy"))
        if (versions := list(dict.fromkeys(str(t.provenance[key]) for t in told if t.provenance.get(key))))
    ]  # fmt: skip
    if software:
        cites = tuple(
            work for key, work in (("mmpose", "mmpose2020"), ("torch", "paszke2019pytorch"))
            if any(t.provenance.get(key) for t in told)
        )  # fmt: skip
        found.append(Sentence(f"The software is {words.listing(software)}.", cites))
    return tuple(found)


def _device(trial: TrialRecord) -> str:
    found, profile = trial.provenance, trial.profile or {}
    name = found.get("device_name")
    if not name and str(found.get("device", "")).startswith("cpu"):
        same = str(profile.get("device", "")).startswith("cpu")
        model = str(profile.get("device_name") or "") if same else ""
        name = f"a CPU ({model})" if model else "a CPU"
        threads = found.get("threads")
        return f"{name}, {words.count(int(threads), 'thread')} a trial" if threads else str(name)
    return str(name or found.get("device") or "")


def _counted(names: Iterable[str]) -> list[str]:
    found = [name for name in names if name]
    kinds = list(dict.fromkeys(found))
    if len(kinds) < 2:
        return kinds
    return [f"{kind} ({words.count(found.count(kind), 'trial')})" for kind in kinds]


def statistics(result: StudyResult, comparisons: Sequence[Comparison]) -> tuple[Sentence, ...]:
    """Which intervals the differences have; what a reader may not conclude where they have none."""
    from posestudy_reports.comparison import FEWEST_PAIRS, RESAMPLES

    intervals = [i for c in comparisons for row in c.rows for _, i in row.intervals]
    methods = {i.method for i in intervals}
    if not any(c.rows for c in comparisons):
        return ()
    if not intervals:
        return (Sentence("Differences have no intervals: too little is known of what seeds and images make of them."),)
    found = []
    if "bootstrap" in methods:
        found.append(Sentence(
            f"Intervals over images come from a bootstrap of {RESAMPLES} resamples of the validation images, the same "
            "for all rows of a table, and hold at 95 % for all rows at once (max-t): they tell what these networks "
            "would do on other such images.", ("efron1993bootstrap",),
        ))  # fmt: skip
    if methods & {"paired t", "pooled t"}:
        kinds = [k for k in ("paired t", "pooled t") if k in methods]
        about = {
            "paired t": "Student's t on the differences of equal seeds",
            "pooled t": "Student's t with the spread between seeds of comparable cells",
        }
        found.append(Sentence(
            f"Intervals over seeds are {words.listing([about[k] for k in kinds])}, at 95 % for all rows of a table at "
            "once (Bonferroni): they tell what training again would do."
        ))  # fmt: skip
    if "range" in methods:
        found.append(
            Sentence(f"With fewer than {FEWEST_PAIRS} pairs of seeds their range stands, which resolves nothing.")
        )
    found.append(Sentence("A difference is resolved where its intervals leave zero out; not resolved is not equal."))
    floor = decided.resolvable(result)
    return (*found, Sentence(floor)) if floor is not None else tuple(found)


def keypoints(result: StudyResult) -> Sentence | None:
    """Where the names of the keypoints come from."""
    given = result.snapshot.study.document.get("dataset")
    name = given.get("keypoints") if isinstance(given, Mapping) else None
    if not name:
        return None
    return Sentence(
        f"Keypoints are those of the layout {words.quoted(PurePath(str(name)).stem)}.",
        (LAYOUT[name],) if name in LAYOUT else (),
    )


def _type(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("type") or value.get("name") or "")
    return str(value or "")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
