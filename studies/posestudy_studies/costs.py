"""What a study will cost: time, device hours and disk, from what equal work took before."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from posestudy.ledger.records import Snapshot, TrialRecord, ValueRecord
from posestudy.vocabulary import Outcome
from posestudy_studies.asked_gpus import gpus_of
from posestudy_studies.cells import canonical
from posestudy_studies.training import Training

Json = dict[str, Any]
Basis = Literal["history", "measured"]

COST_FACTORS = ("model", "backbone", "head", "input_size", "heatmap_size", "codec", "batch_size", "accumulate", "amp")
"""What the time of an iteration and the memory of a trial depend on."""

FIRST_S = 5.0
"""Seconds a trial takes beside its epochs (start, pictures) where nothing is known of it."""


@dataclass(frozen=True)
class Work:
    """Trials of one configuration that are still to be run; of some the weights are known and only evaluated.

    `part` of their epochs is what each is expected to be trained for, where a pruner lets most of them pause.
    """

    stage: str
    cell: str
    training: Training
    trials: int
    only_evaluated: bool = False
    part: float = 1.0


@dataclass(frozen=True)
class Rate:
    """What one cost class takes on one kind of device.

    Attributes:
        cost_class: as `cost_class` gives it.
        device: `cpu`, or what the GPU is called.
        iteration_s: seconds of one training iteration, loading included.
        validation_s: seconds of validation per instance.
        start_s: seconds of a trial beside its epochs.
        disk_mb: MB (10^6 bytes) of the files one trial leaves, its best weights and its last checkpoint among them;
            None: not known.
        peak_memory_mb: MiB; None: not known.
        basis: whether whole trials or a few iterations were looked at.
        out_of_memory: the class does not fit into the device; no time is known then.
        weights_mb, checkpoint_mb: MB of a file of weights and of one of all that training goes on from; None: not
            known.
    """

    cost_class: str
    device: str
    iteration_s: float
    validation_s: float
    start_s: float
    disk_mb: float | None
    peak_memory_mb: float | None
    basis: Basis
    out_of_memory: bool = False
    weights_mb: float | None = None
    checkpoint_mb: float | None = None

    def document(self) -> Json:
        return asdict(self)


@dataclass(frozen=True)
class Disk:
    """MB (10^6 bytes) of what a trial has left: its best weights, one checkpoint (None: it has none), the rest."""

    weights_mb: float | None
    checkpoint_mb: float | None
    other_mb: float


def cost_class(training: Training) -> str:
    """Equal for configurations whose iterations cost the same; canonical JSON."""
    return class_of(training.model_dump(mode="json"))


def class_of(config: Json) -> str:
    """`cost_class` of a cell's configuration as the ledger holds it, without reading it as a `Training`."""
    known = {factor: config.get(factor) for factor in COST_FACTORS}
    # What was measured before cells could ask for several GPUs keeps its name.
    return canonical(known | ({"gpus": gpus} if (gpus := gpus_of(config)) > 1 else {}))


def device_of(trial: TrialRecord) -> str:
    """The kind of device a trial was trained on, as `Rate.device`."""
    return str(trial.provenance.get("device_name") or trial.provenance.get("device") or "cpu")


def history(snapshots: Iterable[Snapshot], disk: Mapping[str, Disk]) -> list[Rate]:
    """The rates of all trials that were trained to their end, the median of each cost class and device.

    Args:
        snapshots: studies of the home, with values.
        disk: what is on the disk by trial uid, as far as known.
    """
    found: dict[tuple[str, str], list[Rate]] = {}
    for snapshot in snapshots:
        values: dict[str, list[ValueRecord]] = {}
        for value in snapshot.values:
            values.setdefault(value.trial_uid, []).append(value)
        configs = {cell.id: cell.config for cell in snapshot.cells}
        for trial in snapshot.trials:
            config = configs[trial.cell_id]
            # A study of an older version may not have said all of it.
            if trial.source is None and trial.outcome is Outcome.COMPLETED and config.keys() >= set(COST_FACTORS):
                rate = _rate(trial, class_of(config), values.get(trial.uid, ()), disk.get(trial.uid))
                if rate is not None:
                    found.setdefault((rate.cost_class, rate.device), []).append(rate)
    return [_median(rates) for rates in found.values()]


def _rate(trial: TrialRecord, of_class: str, values: Sequence[ValueRecord], disk: Disk | None) -> Rate | None:
    iterations = [v.metrics["iteration_time_s"] for v in values if "iteration_time_s" in v.metrics]
    validations = [v.metrics["validation_time_s"] for v in values if "validation_time_s" in v.metrics]
    if not iterations or not validations:
        return None
    start = FIRST_S
    if trial.fence == 1 and trial.started and trial.ended and trial.duration_s:
        start = max(0.0, trial.ended - trial.started - trial.duration_s)
    return Rate(
        of_class,
        device_of(trial),
        statistics.median(iterations),
        statistics.median(validations),
        start,
        None if disk is None else (disk.weights_mb or 0.0) + (disk.checkpoint_mb or 0.0) + disk.other_mb,
        trial.peak_memory_mb,
        "history",
        weights_mb=None if disk is None else disk.weights_mb,
        checkpoint_mb=None if disk is None else disk.checkpoint_mb,
    )


def _median(rates: Sequence[Rate]) -> Rate:
    peaks = [r.peak_memory_mb for r in rates if r.peak_memory_mb is not None]
    return Rate(
        rates[0].cost_class,
        rates[0].device,
        statistics.median(r.iteration_s for r in rates),
        statistics.median(r.validation_s for r in rates),
        statistics.median(r.start_s for r in rates),
        _median_known(r.disk_mb for r in rates),
        max(peaks, default=None),
        rates[0].basis,
        weights_mb=_median_known(r.weights_mb for r in rates),
        checkpoint_mb=_median_known(r.checkpoint_mb for r in rates),
    )


def _median_known(numbers: Iterable[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return statistics.median(known) if known else None


class Rates:
    """Rates of one kind of device; a measured one is preferred to an earlier trial's.

    Args:
        rates: all that are known.
        device: as `Rate.device`.
    """

    def __init__(self, rates: Iterable[Rate], device: str) -> None:
        self._known: dict[str, Rate] = {}
        for rate in sorted(rates, key=lambda r: r.basis == "measured"):
            if rate.device == device:
                self._known[rate.cost_class] = rate

    def of(self, training: Training) -> tuple[Rate, bool] | None:
        """The rate of `training`, and whether it was scaled from another class; None where nothing is near.

        Scaled from the same network by the pixels of an iteration, which its time is about proportional to.
        """
        wanted = cost_class(training)
        if wanted in self._known:
            return self._known[wanted], False
        document = json.loads(wanted)
        same = [
            (json.loads(name), rate)
            for name, rate in self._known.items()
            if not rate.out_of_memory and all(json.loads(name)[f] == document[f] for f in ("model", "backbone", "amp"))
        ]
        if not same:
            return None
        known, rate = min(same, key=lambda item: abs(math.log(_pixels(document) / _pixels(item[0]))))
        times = _pixels(document) / _pixels(known)
        area = times * known["batch_size"] * gpus_of(known) / (document["batch_size"] * gpus_of(document))
        scaled = Rate(
            wanted, rate.device, rate.iteration_s * times, rate.validation_s * area, rate.start_s, rate.disk_mb, None,
            rate.basis, weights_mb=rate.weights_mb, checkpoint_mb=rate.checkpoint_mb,
        )  # fmt: skip
        return scaled, True


def _pixels(document: Json) -> float:
    width, height = document["input_size"]
    return float(width * height * document["batch_size"])


def estimate(
    work: Sequence[Work],
    rates: Rates,
    *,
    workers: int,
    train_instances: int | None,
    val_instances: int | None,
    trial_hours: float | None = None,
    retention: str = "best_and_last",
) -> Json:
    """What is still to be trained, priced.

    Args:
        work: the trials to train; those whose configuration later results decide stand with the best guess.
        rates: of the device to be used.
        workers: trials side by side, each on devices of its own.
        train_instances, val_instances: of the data set; None: not known.
        trial_hours: no trial takes longer.
        retention: which checkpoints of a finished trial stay.

    Returns:
        `trials` to train, `gpu_hours` (device hours), `wall_hours` (stages wait for their longest trial),
        `disk_gb` (10^9 bytes) that the trials leave in their folders, `disk_peak_gb` at most while they run, with the
        copies of their best weights in MLflow's store, `basis`, `unknown` and `scaled` (cells without a rate, and with
        one scaled from other sizes), `out_of_memory` (cells measured not to fit) and `peak_memory_mb`. Numbers are
        null where nothing is known.
    """
    hours: dict[str, list[float]] = {}
    device_hours = 0.0
    unknown, scaled, too_large, bases = [], [], [], set[str]()
    disk_mb, copies_mb, running_mb, peak = 0.0, 0.0, list[float](), 0.0
    for item in work:
        found = rates.of(item.training)
        if found is None or train_instances is None or val_instances is None:
            unknown.append(f"{item.stage}/{item.cell}")
            continue
        rate, is_scaled = found
        bases.add(rate.basis)
        if rate.out_of_memory:
            too_large.append(f"{item.stage}/{item.cell}")
            continue
        if is_scaled:
            scaled.append(f"{item.stage}/{item.cell}")
        one = _trial_s(item, rate, train_instances, val_instances) / 3600
        hours.setdefault(item.stage, []).extend([min(one, trial_hours or one)] * item.trials)
        device_hours += min(one, trial_hours or one) * item.trials * item.training.gpus
        left, more = _disk(rate, item, retention)
        disk_mb += item.trials * left
        copies_mb += item.trials * (rate.weights_mb or 0.0)
        running_mb += [more] * item.trials
        peak = max(peak, rate.peak_memory_mb or 0.0)
    priced = bool(hours)
    return {
        "trials": sum(item.trials for item in work),
        "gpu_hours": device_hours if priced else None,
        "wall_hours": sum(_makespan(stage, workers) for stage in hours.values()) if priced else None,
        "disk_gb": disk_mb / 1000 if priced and disk_mb else None,
        "disk_peak_gb": (disk_mb + copies_mb + sum(sorted(running_mb)[-workers:])) / 1000
        if priced and disk_mb
        else None,
        "basis": ("measured" if "measured" in bases else "history") if bases else None,
        "peak_memory_mb": peak or None,
        "unknown": unknown,
        "scaled": scaled,
        "out_of_memory": too_large,
    }


def _disk(rate: Rate, work: Work, retention: str) -> tuple[float, float]:
    """MB that one trial leaves, and MB that it takes beyond these while it runs."""
    whole = rate.disk_mb or 0.0
    if rate.weights_mb is None or rate.checkpoint_mb is None:
        return whole, 0.0
    if work.only_evaluated:
        return whole - rate.checkpoint_mb, rate.weights_mb
    # A third checkpoint, and third best weights, are written before the first of them go.
    running = whole + 2 * rate.checkpoint_mb + 2 * rate.weights_mb
    if retention == "all":
        epochs = (work.training.epochs - 1) * rate.checkpoint_mb
        return whole + epochs, 2 * rate.weights_mb
    left = whole - rate.checkpoint_mb if retention == "best" else whole
    return left, running - left


def _trial_s(work: Work, rate: Rate, train_instances: int, val_instances: int) -> float:
    training = work.training
    iterations = math.ceil(train_instances / training.iteration_size) * training.epochs
    validations = math.ceil(training.epochs / training.validate_every)
    if work.only_evaluated:
        # The best and the last weights, or the given ones.
        iterations, validations = 0, min(2, max(1, validations))
    steps_s = iterations * rate.iteration_s + validations * val_instances * rate.validation_s
    return rate.start_s + work.part * steps_s


def _makespan(hours: Sequence[float], workers: int) -> float:
    """How long `workers` take for trials handed out in order."""
    busy = [0.0] * max(1, workers)
    for one in hours:
        first = min(range(len(busy)), key=busy.__getitem__)
        busy[first] += one
    return max(busy)
