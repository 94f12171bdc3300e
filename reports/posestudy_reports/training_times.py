"""How long the cells of a study took to train, as data for a bar chart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from posestudy_reports import networks, words
from posestudy_reports.device_time import Device, device_kind
from posestudy_reports.quantities import QUANTITIES, Range, devices, evaluated, over_seeds
from posestudy_reports.results import CellResult, StageResult, StudyResult
from posestudy_reports.tradeoff import distinct, label

_FEWEST: Final = 3
_MOST: Final = 40


@dataclass(frozen=True)
class Bar:
    """A cell's training time, s, with the range over its seeds; `machine` is empty where it is not known."""

    stage: str
    cell: str
    label: str
    family: str
    head: str
    epochs: int
    seconds: Range
    machine: str
    numbers: tuple[int, ...]
    uids: tuple[str, ...]


@dataclass(frozen=True)
class TrainingTimes:
    """The bars, those of one family of networks together, else in order of the study.

    Attributes:
        machines: where they were trained, each once; empty where that is not known.
        left_out: how many cells there were no room for.
        device: what all of them were trained on; empty where that differs or is not known.
    """

    bars: tuple[Bar, ...]
    machines: tuple[str, ...]
    left_out: int = 0
    device: Device = ""

    @property
    def epochs(self) -> int | None:
        """Of every bar; None where they differ."""
        found = {bar.epochs for bar in self.bars}
        return found.pop() if len(found) == 1 else None


def training_times(result: StudyResult) -> TrainingTimes | None:
    """None where they say nothing: fewer than three cells, or all of one network, head and loss."""
    quantity = QUANTITIES["train_time"]
    cells = [
        (stage, cell)
        for stage, cell in distinct(result)
        # The time of weights that were only evaluated is that of the cell that trained them.
        if not any(evaluated(t) for t in cell.completed) and over_seeds(quantity, result, cell)
    ]
    kinds = {networks.trained(cell.cell.config) for _, cell in cells}
    if len(cells) < _FEWEST or len(kinds) < 2:
        return None
    families = list(dict.fromkeys(networks.family(cell.cell.config) for _, cell in cells))
    cells.sort(key=lambda pair: families.index(networks.family(pair[1].cell.config)))
    bars = tuple(bar for stage, cell in cells if (bar := _bar(result, stage, cell)))
    machines = tuple(dict.fromkeys(m for _, cell in cells for m in devices(quantity, result, cell)))
    kind = device_kind(trial for _, cell in cells for trial in cell.completed)
    return TrainingTimes(bars[:_MOST], machines, len(bars[_MOST:]), kind)


def _bar(result: StudyResult, stage: StageResult, cell: CellResult) -> Bar | None:
    seconds = over_seeds(QUANTITIES["train_time"], result, cell)
    if seconds is None:
        return None
    return Bar(
        stage.stage.name,
        cell.cell.name,
        label(stage, cell),
        networks.family(cell.cell.config),
        networks.head(cell.cell.config),
        cell.final.epochs[1] if cell.final else 0,
        seconds,
        words.listing(devices(QUANTITIES["train_time"], result, cell)),
        tuple(t.number for t in cell.completed),
        tuple(t.uid for t in cell.completed),
    )


def caption(times: TrainingTimes) -> str:
    """What the chart shows, in sentences."""
    where = f" on {words.listing(times.machines)}" if times.machines else ""
    epochs = f" of {words.count(times.epochs, 'epoch')}" if times.epochs else ""
    text = f"Time of training{epochs}{where}, by family of networks."
    if len(times.machines) > 1:
        text += " Bars of different machines cannot be held against each other."
    if any(bar.seconds.count > 1 for bar in times.bars):
        text += " Mean over seeds, with their range."
    return text + (f" There is no room for {words.count(times.left_out, 'further cell')}." if times.left_out else "")
