"""The figures of a study's cells as sections: effects, factors together, and what was found by when."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING

from posestudy.home import safe_part
from posestudy.vocabulary import Direction
from posestudy_reports import (
    budget_time,
    budget_time_figure,
    effects,
    effects_figure,
    figure_sentences,
    heat_map,
    heat_map_figure,
    importance,
    importance_figure,
    parallel,
    parallel_figure,
    words,
)
from posestudy_reports.factor_space import Space, space
from posestudy_reports.material import Material
from posestudy_reports.results import StudyResult
from posestudy_reports.vector import Form

if TYPE_CHECKING:
    from posestudy_reports.sections import Chart, Section

Vector = Callable[[Form], bytes]


def effect_sections(material: Material) -> tuple[Section, ...]:
    """The differences from the baselines with their intervals; none where no difference has one."""
    from posestudy_reports.sections import Chart, Section

    metric = material.result.metric
    found = effects.effects(material.result, material.compare())
    charts = []
    for i, rows in enumerate(found, start=1):
        vector: Vector = cache(partial(effects_figure.effects_figure, rows, metric))
        stages = words.listing([words.quoted(name) for name in rows.stages])
        name = "effects" if len(found) == 1 else f"effects_{i}"
        title = f"Differences from the baseline: {stages}"
        charts.append(Chart(name, title, effects.caption(rows, metric), vector, None, wide=False, priority=25))
    return (Section("effects", "Differences from the baseline", tuple(charts)),) if charts else ()


def factor_sections(material: Material) -> tuple[Section, ...]:
    """Heat maps, importance and parallel coordinates of the stages that vary several factors at once."""
    from posestudy_reports.sections import Section

    result = material.result
    spaces = [(stage, space(result, stage)) for stage in result.stages]
    charts = [chart for _, found in spaces for chart in _of_stage(result, found)]
    texts = [text for stage, found in spaces for text in figure_sentences.crossed(result, stage, found)]
    return (Section("factors", "Factors together", tuple(charts), tuple(texts)),) if charts else ()


def _of_stage(result: StudyResult, found: Space) -> list[Chart]:
    from posestudy_reports.sections import Chart

    metric, stem = result.metric, f"{found.ordinal + 1}_{safe_part(found.stage)}"
    charts = []
    maps = heat_map.heat_maps(found, metric.direction)
    for i, heat in enumerate(maps, start=1):
        vector: Vector = cache(partial(heat_map_figure.heat_map_figure, heat, metric))
        charts.append(
            Chart(
                f"heat_map_{stem}{f'_{i}' if len(maps) > 1 else ''}",
                f"{metric.short} by {heat.up.title} and {heat.across.title}",
                heat_map.caption(heat, metric),
                vector,
                partial(heat_map_figure.heat_map_plotly, heat, metric),
                wide=heat_map_figure.wide(heat),
                priority=30,
            )
        )
    if importance.measurable(found):
        title, about = f"Importance of the factors: {found.stage}", importance.caption(found, metric)
        vector = cache(partial(_importance, found, metric.direction))
        charts.append(Chart(f"importance_{stem}", title, about, vector, None, wide=False, priority=45))
    lines = parallel.parallel(found, metric.direction)
    if lines is not None:
        charts.append(
            Chart(
                f"parallel_{stem}",
                f"Factors and {metric.short}: {found.stage}",
                parallel.caption(lines, metric),
                cache(partial(parallel_figure.parallel_figure, lines, metric)),
                partial(parallel_figure.parallel_plotly, lines, metric),
                wide=parallel_figure.wide(lines),
                priority=55,
            )
        )
    return charts


def _importance(found: Space, direction: Direction, form: Form) -> bytes:
    # Computed when it is drawn: it takes seconds, and tables and sentences do not need it.
    return importance_figure.importance_figure(importance.importance(found, direction), form)


def history_sections(material: Material) -> tuple[Section, ...]:
    """The best so far against device time, where times are known, and against the trials in order of their end."""
    from posestudy_reports.sections import Chart, Section

    metric = material.result.metric
    found = budget_time.history(material.result)
    if found is None:
        return ()
    charts = []
    for name, title, over_time in (
        ("budget", f"Best {metric.short} over the time spent", True),
        ("history", f"Best {metric.short} over the trials", False),
    ):
        if over_time and len(found.untimed) * 2 > len(found.finishes):
            continue
        vector: Vector = cache(partial(budget_time_figure.budget_figure, found, metric, over_time=over_time))
        plotly = partial(budget_time_figure.budget_plotly, found, metric, over_time=over_time)
        about = budget_time.caption(found, metric, over_time=over_time)
        charts.append(Chart(name, title, about, vector, plotly, wide=False, priority=55 if over_time else 75))
    return (Section("history", "Found by when", tuple(charts), figure_sentences.found_when(found, metric)),)
