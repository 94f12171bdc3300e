"""The rows of `posestudy models list`: what is computed here, what others published, what was measured here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from posestudy.ledger.records import Json
from posestudy_runner.named_models import KEYPOINTS, NamedModel
from posestudy_runner.published import SOURCES, Published, published
from posestudy_runner.work import Work

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

CONVENTION = (
    "GFLOPs are multiply-adds of convolutions, linear layers and attention for one image, in 1e9; "
    "twice as many floating-point operations. Activations and normalisations are not counted."
)
PUBLISHED_SIZE = (192, 256)
_WIDTH = 160


def row(model: NamedModel, work: Work, measured: Sequence[Json]) -> Json:
    """What is known of one model, each part under a key that says where it comes from."""
    width, height = model.input_size
    return {
        "name": model.name,
        "family": model.family,
        "input": [width, height],
        "keypoints": model.keypoints,
        "computed": {
            "parameters": work.parameters,
            "trainable_parameters": work.trainable,
            "gmacs": work.macs / 1e9,
            "gflops": 2 * work.macs / 1e9,
            "macs": work.by_operator,
        },
        "published": figures(model, work),
        "measured": list(measured),
    }


def figures(model: NamedModel, work: Work) -> list[Json]:
    """What is published of `model`, and what its source's way of counting gives here; none at another size."""
    if model.input_size != PUBLISHED_SIZE or model.keypoints != KEYPOINTS:
        return []
    return [_figure(entry, work) for entry in published(model.name)]


def _figure(entry: Published, work: Work) -> Json:
    source = SOURCES[entry.source]
    counted = source.counting.gflops(work) if source.counting is not None and entry.gflops is not None else None
    return {
        "source": entry.source,
        "where": source.where,
        "url": source.url,
        "parameters_m": entry.parameters,
        "gflops": entry.gflops,
        "gflops_rule": source.counting.rule if source.counting is not None and entry.gflops is not None else None,
        "gflops_computed_by_rule": counted,
        "difference": counted / entry.gflops - 1 if counted is not None and entry.gflops is not None else None,
        "fps": entry.fps,
        "fps_on": source.hardware or None if entry.fps is not None else None,
        "ap": entry.ap,
        "ap_ground_truth_boxes": entry.ap_truth,
        "note": entry.note or None,
    }


def document(rows: Sequence[Json]) -> Json:
    """The whole list as JSON."""
    return {"convention": CONVENTION, "models": list(rows)}


def show(rows: Sequence[Json], console: Console) -> None:
    """Print the list as a table, with its sources and devices below."""
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH)
    notes = _Notes()
    table = _table()
    for family in dict.fromkeys(str(entry["family"]) for entry in rows):
        table.add_section()
        table.add_row(f"[bold]{family}")
        for entry in rows:
            if entry["family"] == family:
                for cells in _lines(entry, notes):
                    table.add_row(*cells)
    console.print(table)
    for text in (CONVENTION, "Published AP is of COCO val2017 with flip test, 192 x 256 px.", *notes.lines()):
        console.print(text, markup=False, highlight=False)


def _table() -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("model", no_wrap=True)
    for heading in (
        "parameters\ncomputed\nhere, 1e6",
        "GFLOPs\ncomputed\nhere",
        "latency\nmeasured\nhere, ms",
        "parameters\npublished\n1e6",
        "GFLOPs\npublished\n",
        "GFLOPs\nby that\nrule, here",
        "FPS\npublished\n",
        "AP, found\nboxes,\npublished",
        "AP, true\nboxes,\npublished",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("source")
    return table


def _lines(entry: Json, notes: _Notes) -> Iterator[list[str]]:
    """The table's lines of one model: one for each source and each measurement, at least one."""
    computed = entry["computed"]
    own = [str(entry["name"]), f"{computed['parameters'] / 1e6:.2f}", f"{computed['gmacs']:.2f}"]
    measured = [f"{m['latency_p50_ms']:.1f} {notes.device(m)}" for m in entry["measured"]]
    sources = [_published_cells(figure, notes) for figure in entry["published"]]
    for number in range(max(1, len(measured), len(sources))):
        yield [
            *(own if number == 0 else [""] * len(own)),
            measured[number] if number < len(measured) else "",
            *(sources[number] if number < len(sources) else []),
        ]


def _published_cells(figure: Json, notes: _Notes) -> list[str]:
    def shown(key: str, pattern: str = "{:g}") -> str:
        return "" if figure[key] is None else pattern.format(figure[key])

    return [
        printed(figure["parameters_m"]),
        printed(figure["gflops"]),
        shown("gflops_computed_by_rule", "{:.2f}"),
        shown("fps"),
        shown("ap", "{:.3f}"),
        shown("ap_ground_truth_boxes", "{:.3f}"),
        notes.source(figure),
    ]


class _Notes:
    """What stands below the table: sources, remarks and devices, marked in the order in which they are met."""

    def __init__(self) -> None:
        self._sources: dict[str, str] = {}
        self._remarks: dict[str, str] = {}
        self._settings: dict[str, str] = {}
        self._dates: dict[str, str] = {}

    def source(self, figure: Json) -> str:
        """The marks of a figure's source and of what is to be said of this figure alone."""
        source = SOURCES[str(figure["source"])]
        text = source.where
        if source.counting is not None:
            text += f". Its rule: {source.counting.rule}"
        if source.hardware:
            text += f". FPS on {source.hardware}"
        marks = [self._sources.setdefault(text, f"[{len(self._sources) + 1}]")]
        if figure["note"]:
            marks.append(self._remarks.setdefault(str(figure["note"]), "*" * (len(self._remarks) + 1)))
        return " ".join(marks)

    def device(self, measured: Json) -> str:
        """The mark of the device and the settings of a measurement."""
        text = settings(measured)
        self._dates[text] = max(self._dates.get(text, ""), str(measured["date"])[:10])
        return self._settings.setdefault(text, f"({_letters(len(self._settings))})")

    def lines(self) -> Iterator[str]:
        """The notes, a line each."""
        for text, mark in self._settings.items():
            yield f"{mark} measured here, p50 on {text}; last on {self._dates[text]}."
        for text, mark in self._sources.items():
            yield f"{mark} published: {text}."
        for text, mark in self._remarks.items():
            yield f"{mark} {text}."


def printed(number: float | None) -> str:
    """A published number with its decimals, at least one of them; empty for None."""
    return "" if number is None else f"{number:.1f}" if round(number, 1) == number else f"{number:g}"


def settings(profile: Json) -> str:
    """Device and settings of a measurement, as `AMD EPYC, 2 threads, batch 1`."""
    threads = "" if str(profile["device"]).startswith("cuda") else f", {profile['threads']} threads"
    flip = ", flip test" if profile["flip_test"] else ""
    return f"{profile['device_name']}{threads}, batch {profile['batch']}{flip}"


def _letters(number: int) -> str:
    """a, b, ..., z, aa, ab, ..."""
    rest, last = divmod(number, 26)
    return (_letters(rest - 1) if rest else "") + "abcdefghijklmnopqrstuvwxyz"[last]
