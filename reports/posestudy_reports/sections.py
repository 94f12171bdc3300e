"""What a report shows of the study as a whole, after its stages: sections of figures that any writer can place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Final

from posestudy_reports import (
    attention,
    pareto,
    study_figures,
    tradeoff,
    tradeoff_figure,
    training_times,
    training_times_figure,
    words,
)
from posestudy_reports import gallery as side_by_side
from posestudy_reports.material import Material
from posestudy_reports.results import StudyResult
from posestudy_reports.tables import Table
from posestudy_reports.vector import Form

if TYPE_CHECKING:
    import plotly.graph_objects as go

_WIDEST_PX: Final = 3000


@dataclass(frozen=True)
class Chart:
    """A figure that is drawn: `vector` gives it as SVG or PDF, `plotly` to hover over.

    Attributes:
        plotly: None where hovering tells nothing more; a page then shows the vectors.
        wide: drawn 174 mm wide, for both columns of a page; else 84 mm, for one.
        priority: 1 stays longest where room is short.
    """

    name: str
    title: str
    caption: str
    vector: Callable[[Form], bytes]
    plotly: Callable[[], go.Figure] | None
    wide: bool = True
    priority: int = 50

    def __repr__(self) -> str:
        return f"<chart {self.name}: {self.title}>"

    def _repr_html_(self) -> str:
        from posestudy_reports.notebook import figure_html

        return figure_html(self)


@dataclass(frozen=True)
class Picture:
    """A figure of pixels: a JPEG of `size` (width, height). `across` asks for a page that lies on its side."""

    name: str
    title: str
    caption: str
    data: bytes
    size: tuple[int, int]
    across: bool = False
    priority: int = 60

    def __repr__(self) -> str:
        return f"<picture {self.name}: {self.size[0]} x {self.size[1]} px>"

    def _repr_html_(self) -> str:
        from posestudy_reports.notebook import figure_html

        return figure_html(self)


@dataclass(frozen=True)
class Section:
    """A title with text, tables and figures, at least one of them; `name` is safe as part of a file name."""

    name: str
    title: str
    figures: tuple[Chart | Picture, ...] = ()
    texts: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    interactive: Callable[[], str] | None = None
    """HTML that a page shows instead of the figures: self-contained, everything in it escaped already."""

    def __repr__(self) -> str:
        return f"<section {self.name}: {len(self.tables)} tables, {len(self.figures)} figures>"

    def _repr_html_(self) -> str:
        from posestudy_reports.notebook import section_html

        return section_html(self)


def sections(material: Material) -> tuple[Section, ...]:
    """Those that have something to show."""
    from posestudy_reports import dataset_section, error_sections

    result, pictures = material.result, material.pictures
    study = result.snapshot.study.name
    found = (
        *dataset_section.sections(material),
        *study_figures.effect_sections(material),
        *study_figures.factor_sections(material),
        Section("tradeoff", f"{result.metric.short} against cost", _tradeoffs(result)),
        _pareto(result),
        Section("training_time", "Training time", _training_times(result)),
        *study_figures.history_sections(material),
        Section("gallery", "The same images side by side", _gallery(result, partial(pictures.predictions, study))),
        Section("attention", "Attention", _attention(result, partial(pictures.attention, study))),
        *error_sections.sections(material),
    )
    return tuple(section for section in found if section.figures or section.texts or section.tables)


def _tradeoffs(result: StudyResult) -> tuple[Chart, ...]:
    metric = result.metric
    return tuple(
        Chart(
            f"tradeoff_{found.quantity.name}",
            f"{metric.short} against {found.quantity.axis}",
            tradeoff.caption(result, found),
            cache(partial(tradeoff_figure.tradeoff_figure, found, metric)),
            partial(tradeoff_figure.tradeoff_plotly, found, metric),
            wide=False,
            priority=35,
        )
        for found in tradeoff.tradeoffs(result)
    )


def _pareto(result: StudyResult) -> Section:
    found = pareto.pareto_sets(result)
    metric, charts = result.metric, []
    for one in found:
        drawn = pareto.drawable(result, one)
        if drawn is not None:
            vector = cache(partial(tradeoff_figure.tradeoff_figure, drawn, metric))
            plotly = partial(tradeoff_figure.tradeoff_plotly, drawn, metric)
            title = f"Pareto set of {words.quoted(one.stage.stage.name)}"
            about = pareto.caption(result, one, drawn)
            name = f"pareto_{one.stage.stage.ordinal + 1}"
            charts.append(Chart(name, title, about, vector, plotly, wide=False, priority=35))
    texts = tuple(pareto.sentence(result, one) for one in found)
    tables = tuple(pareto.pareto_table(result, one) for one in found)
    return Section("pareto", "Two objectives", tuple(charts), texts, tables)


def _training_times(result: StudyResult) -> tuple[Chart, ...]:
    times = training_times.training_times(result)
    if times is None:
        return ()
    vector = cache(partial(training_times_figure.training_times_figure, times))
    plotly = partial(training_times_figure.training_times_plotly, times)
    title, about = "Training time of the cells", training_times.caption(times)
    return (Chart("training_time", title, about, vector, plotly, wide=False, priority=50),)


def _gallery(result: StudyResult, find: side_by_side.Find) -> tuple[Picture, ...]:
    shown = side_by_side.gallery(result, find)
    sheet = side_by_side.montage(result, shown) if shown else None
    if shown is None or sheet is None:
        return ()
    about = side_by_side.caption(result, shown)
    return (Picture("gallery", "Predictions of several cells", about, side_by_side.jpeg(sheet), sheet.size),)


def _attention(result: StudyResult, find: side_by_side.Find) -> tuple[Picture, ...]:
    found = []
    for picture in attention.attention_pictures(result, find):
        opened = side_by_side.opened(picture.path)
        if opened is not None:
            opened.thumbnail((_WIDEST_PX, _WIDEST_PX))
            name, title = f"attention_{picture.image}_{picture.kind}", f"Attention, {picture.kind}"
            data = side_by_side.jpeg(opened)
            found.append(Picture(name, title, picture.caption, data, opened.size, across=True))
    return tuple(found)
