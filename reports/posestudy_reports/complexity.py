"""What networks cost, in sentences: parameters, GFLOPs and latency of each, time and memory of training."""

from __future__ import annotations

from collections.abc import Iterator

from posestudy.ledger.records import TrialRecord
from posestudy_reports import cell_numbers, networks, words
from posestudy_reports.addressed import Number, joined, said
from posestudy_reports.quantities import QUANTITIES, devices, trainer
from posestudy_reports.results import CellResult, StageResult, StudyResult

MOST = 4
"""Networks that are told one by one; of more there are tables."""

Place = tuple[StageResult, CellResult]


def complexity(result: StudyResult) -> tuple[str, ...]:
    """Each network that was profiled, then what training took; only what is known is told."""
    found = list(_networks(result))
    sentences = [_costs(result, *place) for place in found] if len(found) <= MOST else []
    if sentences:
        sentences += list(_machines(result, found))
    return (*sentences, *_training(result))


def _networks(result: StudyResult) -> Iterator[Place]:
    """The first completed cell of every network that costs otherwise than those before, where its cost is known."""
    seen = set()
    for stage in result.stages:
        for cell in stage.cells:
            kind = networks.same_cost(cell.cell.config)
            if kind not in seen and cell_numbers.cost(result, stage, cell, "parameters"):
                seen.add(kind)
                yield stage, cell


def _costs(result: StudyResult, stage: StageResult, cell: CellResult) -> str:
    def cost(name: str) -> Number | None:
        return cell_numbers.cost(result, stage, cell, name)

    config = cell.cell.config
    size = config.get("input_size")
    about = f"{networks.name(config)}, {networks.head(config)}"
    about += f", {words.level(size, 'input_size')} px" if size else ""
    parts: list[str] = []
    if number := cost("parameters"):
        parts.append(said("{number} parameters", number=number))
    if number := cost("gflops"):
        parts.append(said("{number} GFLOPs (multiply-adds) per image", number=number))
    if number := cost("latency"):
        parts.append(said("a median latency of {number} ms per image", number=number))
    return joined([f"The network of {words.quoted(cell.label)} ({about}) has ", _listed(parts), "."], "")


def _listed(parts: list[str]) -> str:
    if len(parts) < 2:
        return joined(parts)
    return joined([joined(parts[:-1], ", "), parts[-1]], " and ")


def _machines(result: StudyResult, found: list[Place]) -> Iterator[str]:
    """Where latencies were measured, and that those of several machines cannot be held against each other."""
    quantity = QUANTITIES["latency"]
    machines = dict.fromkeys(d for _, cell in found for d in devices(quantity, result, cell))
    if len(machines) == 1:
        yield f"Latency was measured on {next(iter(machines))}, one image at a time."
    elif machines:
        named = words.listing(list(machines))
        yield f"Latencies were measured on {named}, one image at a time; those of different machines do not compare."


def _training(result: StudyResult) -> Iterator[str]:
    """The shortest and the longest training of a completed trial, and the largest peak of memory."""
    trials = [t for s in result.stages for c in s.cells for t in c.completed if _trained(result, t)]
    times = sorted((t for t in trials if t.duration_s), key=lambda t: t.duration_s or 0.0)
    if not times:
        return
    ends = [_end(end, trial) for end, trial in (("low", times[0]), ("high", times[-1]))]
    one = str(ends[0]) == str(ends[1])
    text = (
        said("Training a trial took {low}", low=ends[0])
        if one
        else said("Training a trial took {low} to {high}", low=ends[0], high=ends[1])
    )
    machines = dict.fromkeys(d for t in times if (d := QUANTITIES["train_time"].device(result, t)))
    text = joined([text, f", on {words.listing(list(machines))}" if machines else ""], "")
    peaks = [t for t in times if t.peak_memory_mb]
    if peaks:
        top = max(peaks, key=lambda t: t.peak_memory_mb or 0.0)
        value = top.peak_memory_mb or 0.0
        formula = "largest peak memory of a training"
        number = Number("study/peak_memory", QUANTITIES["peak_memory"].text(value), value, formula, (top.uid,))
        text = said("{text}, with at most {number} MiB of memory", text=text, number=number)
    yield joined([text, "."], "")


def _trained(result: StudyResult, trial: TrialRecord) -> bool:
    return trial.source is None and trainer(result, trial) is trial


def _end(end: str, trial: TrialRecord) -> Number:
    seconds = trial.duration_s or 0.0
    kind = {"low": "shortest", "high": "longest"}[end]
    return Number(f"study/train_time/{end}", words.duration(seconds), seconds, f"{kind} training", (trial.uid,))
