"""What was measured on this machine, kept in the home: rates for plans, needs of trials that share a GPU."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from pathlib import Path

from posestudy import sealed_json
from posestudy.errors import PoseStudyError
from posestudy.home import Home
from posestudy.ledger import Ledger
from posestudy.ledger.records import Json
from posestudy.vocabulary import METRICS, Outcome
from posestudy_runner import devices
from posestudy_runner.forkserver import Starter, StartMethod
from posestudy_runner.memory_needs import Need, Needs, by_rates, by_trials
from posestudy_runner.order import TrialOrder
from posestudy_runner.outcomes import Ending, last_lines
from posestudy_runner.probe import probe, usable_devices
from posestudy_runner.slots import TrialProcess
from posestudy_studies.costs import Rate, cost_class
from posestudy_studies.spec import Study
from posestudy_studies.training import Training

TARGET = "posestudy_runner.measuring:main"
LIMIT_S = 600.0
"""So long may the few iterations of one class take."""


def saved(home: Home) -> list[Rate]:
    """The rates measured before; none where there is no file, or one that is damaged."""
    try:
        return [Rate(**row) for row in (sealed_json.read(home.measurements) or {}).get("rates", [])]
    except TypeError:  # of another posestudy
        return []


def save(home: Home, rates: Sequence[Rate]) -> None:
    """Keep `rates`, each in place of what was known of its class and device."""
    kept = {(rate.cost_class, rate.device): rate for rate in (*saved(home), *rates)}
    _write(home, list(kept.values()), _seen(home))


def needs(home: Home, ledger: Ledger) -> Needs:
    """What is known of the memory that trials take of GPUs: seen, measured, and told by the trials of all studies."""
    snapshots = [ledger.snapshot(study.name, values=False) for study in ledger.studies()]
    return Needs(_seen(home), [*by_rates(saved(home)), *by_trials(snapshots)])


def save_needs(home: Home, needs: Needs) -> None:
    """Keep what was seen of trials that had a GPU to themselves."""
    known = {(need.cost_class, need.device): need for need in (*_seen(home), *needs.seen)}
    if known:
        _write(home, saved(home), list(known.values()))


def _seen(home: Home) -> list[Need]:
    try:
        return [Need(**row) for row in (sealed_json.read(home.measurements) or {}).get("needs", [])]
    except TypeError:  # of another posestudy
        return []


def _write(home: Home, rates: Sequence[Rate], seen: Sequence[Need]) -> None:
    document = {"rates": [rate.document() for rate in rates], "needs": [need.document() for need in seen]}
    sealed_json.write(home.measurements, document)


def measure(study: Study, trainings: Sequence[Training], home: Home, say: Callable[[str], None]) -> list[Rate]:
    """Measure each distinct cost class of `trainings` on the first device, and save the rates.

    Raises:
        MissingPieceError: nothing can be trained here.
        PoseStudyError: a class fails for another reason than memory.
    """
    # One GPU is looked at, also where a trial takes several: each of them has the same iterations.
    alone = [training.model_copy(update={"gpus": 1, "sync_bn": "auto"}) for training in trainings]
    distinct = {cost_class(training): training for training in alone}
    rates: list[Rate] = []
    folder = home.root / f"measure-{os.getpid()}"
    try:
        with Starter(StartMethod.SPAWN if devices.names_mig_slices() else StartMethod.FORKSERVER) as starter:
            say("loading the training packages")
            place = usable_devices(probe(starter), devices.cpu())[0]
            for number, (name, training) in enumerate(distinct.items(), start=1):
                say(f"measuring {number} of {len(distinct)}: {_shown(training)}")
                order = _order(study, training, folder / str(number), place)
                heard, ending = _run(starter, order)
                rates.append(_rate(name, _shown(training), place, heard, ending, order))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    save(home, rates)
    return rates


def _shown(training: Training) -> str:
    model = training.model if isinstance(training.model, str) else "the study's model"
    width, height = training.input_size
    return f"{model}, {width} x {height} px, batch {training.batch_size}"


def _order(study: Study, training: Training, folder: Path, place: devices.Device) -> TrialOrder:
    metric = METRICS[study.metric]
    return TrialOrder(
        target=TARGET,
        study_name=study.study,
        study=study.model_dump(mode="json"),
        training=training.model_dump(mode="json"),
        stage="measure",
        cell="measure",
        uid="0" * 32,
        number=0,
        fence=0,
        seed=0,
        metric=metric.name,
        direction=metric.direction.value,
        epochs=1,
        folder=str(folder),
        device=place.name,
        threads=devices.threads_per_slot(1),
        memory_limit_mb=study.budget.memory_mb if study.budget else None,
    )


def _run(starter: Starter, order: TrialOrder) -> tuple[Json | None, Ending | None]:
    """What the process measured, and how it ended."""
    process = TrialProcess(starter, order.write(), "measure")
    messages: list[Json] = []
    try:
        while process.alive:
            ready = wait([process.fileno(), process.connection], LIMIT_S)
            if not ready:
                process.kill()
            elif process.connection in ready:
                message = process.receive()
                if message is None:
                    process.wait_dead()
                    break
                messages.append(message)
        messages += process.drain()
    finally:
        process.close()
    measured = next((m for m in messages if m["type"] == "measured"), None)
    ending = next((Ending.of(m) for m in messages if m["type"] == "end"), None)
    return measured, ending


def _rate(
    name: str, shown: str, place: devices.Device, heard: Json | None, ending: Ending | None, order: TrialOrder
) -> Rate:
    device = place.name if place.is_cpu else place.description
    if heard is not None:
        heard = {key: value for key, value in heard.items() if key not in ("type", "device_name")}
        return Rate(name, device, basis="measured", **heard)
    if ending is not None and ending.outcome is Outcome.OUT_OF_MEMORY:
        return Rate(name, device, 0.0, 0.0, 0.0, None, ending.peak_memory_mb, "measured", out_of_memory=True)
    if ending is None or not ending.message:
        why = last_lines(order.paths.log, lines=5) or "it died silently"
        raise PoseStudyError(f"a few iterations of {shown} could not be trained: {why}")
    # The lines after the first are the traceback, which --debug shows.
    first, _, traceback = ending.message.partition("\n")
    raise PoseStudyError(f"a few iterations of {shown} could not be trained: {first}") from RuntimeError(traceback)
