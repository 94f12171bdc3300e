"""Finds every mistake of a study's data in one go, in the user's words and places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from posestudy.errors import PoseStudyError, nearest
from posestudy_studies import factors, layouts, mistakes, starts, table_mistakes
from posestudy_studies.designs.base import BASELINE, Design, Probe
from posestudy_studies.designs.registry import designs
from posestudy_studies.designs.search import Search
from posestudy_studies.mistakes import Mistake, show
from posestudy_studies.spec import Study
from posestudy_studies.training import Training

_TYPES = {
    "string_type": "text", "bool_type": "true or false", "dict_type": "a mapping", "model_type": "a mapping",
    "model_attributes_type": "a mapping", "list_type": "a list", "tuple_type": "a list", "float_type": "a number",
    "int_type": "a whole number", "int_from_float": "a whole number", "finite_number": "a finite number",
    "string_too_short": "text that is not empty",
}  # fmt: skip
_BOUNDS = {"greater_than": ("above", "gt"), "greater_than_equal": ("of at least", "ge"),
           "less_than": ("below", "lt"), "less_than_equal": ("of at most", "le")}  # fmt: skip
_FIELDS = {
    "input_size": "[width, height], two whole numbers of pixels",
    "amp": "true, false, float16 or bfloat16",
    "heatmap_size": "[width, height], two whole numbers of pixels, or null to follow input_size",
    "model": "a preset's name, {config: FILE} or {backbone: {type: ...}, channels: N, stride: N}",
    "codec": "a codec's name or a mapping with its type",
}
_REQUIRED = "this required key"
_REQUIRED_OF_STUDY = "this key, which every study needs"
_REQUIRED_OF_FILE = "this key, which every such file needs"

MOST_TRIED = 1000
"""Combinations of levels and starts that are tried for one stage."""


def examine(data: Any) -> tuple[Study | None, list[Mistake]]:
    """The study in `data`, or every mistake in it; exactly one of the two is empty."""
    if not isinstance(data, dict):
        return None, [Mistake((), show(data), "a mapping with the keys study, dataset, baseline, stages, ...")]
    found: list[Mistake] = []
    study: Study | None = None
    try:
        study = Study.model_validate(data)
    except ValidationError as error:
        found += translated(error, Study, data)
    dataset = data.get("dataset")
    if isinstance(dataset, dict):
        found += _dataset(dataset)
    found += _stages(data)
    found += _tables(data)
    return (None, found) if found else (study, [])


def translated(error: ValidationError, model: type[BaseModel], data: Any) -> list[Mistake]:
    """pydantic's errors about `data`, which is no valid `model`, in a user's words."""
    found = [_translated(detail, model, data) for detail in error.errors(include_url=False)]
    return [mistake for mistake in found if not _misspelt(mistake, found)]


def _misspelt(missing: Mistake, found: list[Mistake]) -> bool:
    """Whether the key that is `missing` stands there misspelt, which is told already."""
    if not missing.path or missing.expected not in (_REQUIRED, _REQUIRED_OF_STUDY, _REQUIRED_OF_FILE):
        return False
    *above, key = missing.path
    return any(m.at_key and [*m.path[:-1]] == above and m.hint == f"did you mean '{key}'?" for m in found)


def _translated(detail: ErrorDetails, model: type[BaseModel], data: Any) -> Mistake:
    kind, context = detail["type"], detail.get("ctx", {})
    path = _path(detail["loc"], data, missing=kind == "missing")
    found, field = show(detail["input"]), str(path[-1]) if path else ""
    if kind == "posestudy":
        return Mistake(path, str(context["found"]), str(context["expected"]), str(context["hint"]))
    if kind == "posestudy_expected":
        return Mistake(path, found, str(context["expected"]))
    if kind == "missing":
        expected = _REQUIRED_OF_STUDY if model is Study else _REQUIRED_OF_FILE
        expected = expected if len(path) == 1 else _REQUIRED
        return Mistake(path, "nothing", expected)
    if kind == "extra_forbidden":
        names = _known(model, path[:-1], data)
        return Mistake(path, f"unknown key '{field}'", f"one of {', '.join(names)}", nearest(field, names), at_key=True)
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        name = detail["input"].get("design") if isinstance(detail["input"], dict) else None
        return Mistake((*path, "design"), show(name), f"one of {', '.join(designs())}", nearest(str(name), designs()))
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        number = "a whole number" if isinstance(context[key], int) and isinstance(detail["input"], int) else "a number"
        return Mistake(path, found, f"{number} {words} {context[key]:g}")
    if field in _FIELDS:
        return Mistake(path, found, _FIELDS[field])
    if kind in _TYPES:
        return Mistake(path, found, _TYPES[kind])
    if kind == "literal_error":
        return Mistake(path, found, str(context["expected"]).replace("'", ""), _literal_hint(detail))
    if kind in ("too_short", "too_long"):
        limit = f"at least {context['min_length']}" if kind == "too_short" else f"at most {context['max_length']}"
        return Mistake(path, f"{context['actual_length']} entries", f"{limit} entries")
    return Mistake(path, found, detail["msg"][:1].lower() + detail["msg"][1:])


def _literal_hint(detail: ErrorDetails) -> str:
    words = str(detail["ctx"]["expected"]).replace(" or ", ", ").replace("'", "").split(", ")
    return nearest(str(detail["input"]), words)


def _path(location: tuple[int | str, ...], data: Any, *, missing: bool) -> mistakes.Path:
    """pydantic's location without the tags of unions, which do not stand in the file."""
    path: list[str | int] = []
    for i, part in enumerate(location):
        inside = isinstance(data, dict) and part in data
        inside = inside or (isinstance(data, list) and isinstance(part, int) and part < len(data))
        if inside:
            path.append(part)
            data = data[part]
        elif missing and i == len(location) - 1:
            path.append(part)
    return tuple(path)


def _known(model: type[BaseModel], path: mistakes.Path, data: Any) -> list[str]:
    """The keys that may stand in the mapping at `path`."""
    annotation: Any = model
    for part in path:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            annotation = annotation.model_fields[str(part)].annotation if part in annotation.model_fields else None
        else:
            annotation = next((a for a in _items(annotation)), None)
        data = data[part]
        candidates = factors.models_in(annotation)
        if candidates:
            annotation = max(candidates, key=lambda c: len(c.model_fields.keys() & _keys(data)))
        if annotation is Design:
            annotation = designs().get(data.get("design"), Design)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [name for name in annotation.model_fields if name != "fingerprint"]
    return []


def _keys(data: Any) -> set[str]:
    return set(data) if isinstance(data, dict) else set()


def _items(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Annotated:
        return _items(get_args(annotation)[0])
    return list(get_args(annotation))[-1:] if get_origin(annotation) in (list, dict, tuple) else []


def _dataset(dataset: dict[str, Any]) -> list[Mistake]:
    found: list[Mistake] = []
    if dataset.get("fingerprint") is not None:
        found.append(Mistake(("dataset", "fingerprint"), "a fingerprint", "no such key; it is computed", at_key=True))
    keypoints = dataset.get("keypoints")
    if isinstance(keypoints, str) and (wrong := layouts.mistake(keypoints)):
        found.append(Mistake(("dataset", "keypoints"), repr(keypoints), *wrong))
    return found


def _stages(data: dict[str, Any]) -> list[Mistake]:
    """What is wrong with the stages beyond their types, as far as each part is readable by itself."""
    stages = data.get("stages")
    if not isinstance(stages, list):
        return []
    found: list[Mistake] = []
    try:
        baseline = Training.model_validate(data.get("baseline"))
    except ValidationError:
        baseline = None
    names: dict[str, int] = {}
    before: Design | None = None
    possible = [starts.Start(baseline)] if baseline else []
    for i, raw in enumerate(stages):
        stage = _stage(raw)
        name = raw.get("name") if isinstance(raw, dict) else None
        if isinstance(name, str) and name in names:
            found.append(Mistake(("stages", i, "name"), f"{name!r} a second time", "a name of its own for every stage"))
        names[str(name)] = i
        if stage is not None:
            carry = _carry(stage, before, first=i == 0, baseline=possible[0].training if possible else None)
            if before is not None and not carry:
                possible = starts.following(before, possible, stage.carry)
            wrong = [
                *stage.mistakes(),
                *_as_one(stage),
                *_objectives(stage, data.get("metric", "coco/AP")),
                *_probed(stage, possible),
                *carry,
            ]
            found += [mistake.under("stages", i) for mistake in wrong]
        before = stage
    return found


def _tables(data: dict[str, Any]) -> list[Mistake]:
    report = data.get("report")
    tables = report.get("tables") if isinstance(report, dict) else None
    return table_mistakes.mistakes(tables, _cells(data)) if tables else []


def _cells(data: dict[str, Any]) -> dict[str, list[str] | None]:
    """By stage, the cells it may get, None where results decide which; empty unless baseline and stages can be read."""
    try:
        possible = [starts.Start(Training.model_validate(data.get("baseline")))]
    except ValidationError:
        return {}
    found: dict[str, list[str] | None] = {}
    before: Design | None = None
    stages = data.get("stages")
    for raw in stages if isinstance(stages, list) else []:
        stage = _stage(raw)
        if stage is None:
            return {}
        possible = starts.following(before, possible, stage.carry) if before else possible
        planned = [(BASELINE, True)] if stage.include_baseline else []
        for start in possible:
            try:
                planned += [(proposal.name, decided) for proposal, decided in stage.planned(start.training)]
            except PoseStudyError:
                continue  # a mistake of the stage, told there
        known = all(decided for _, decided in planned)
        found[stage.name], before = list(dict.fromkeys(name for name, _ in planned)) if known else None, stage
    return found


def _stage(raw: Any) -> Design | None:
    if not isinstance(raw, dict) or not isinstance(raw.get("design"), str) or raw["design"] not in designs():
        return None
    try:
        return designs()[raw["design"]].model_validate(raw)
    except ValidationError:
        return None


def _carry(stage: Design, before: Design | None, *, first: bool, baseline: Training | None) -> list[Mistake]:
    if stage.carry in ("best", BASELINE):
        return []
    if first:
        return [Mistake(("carry",), repr(stage.carry), "best or baseline", "no stage comes before the first")]
    if before is None or baseline is None:
        return []
    try:
        known = [proposal.name for proposal, _ in before.planned(baseline)]
    except PoseStudyError:
        return []
    if stage.carry in known:
        return []
    expected = f"best, baseline or a cell of stage '{before.name}': {', '.join(known[:12])}"
    return [Mistake(("carry",), repr(stage.carry), expected, nearest(stage.carry, ["best", BASELINE, *known]))]


def _as_one(stage: Design) -> list[Mistake]:
    known = factors.known()
    return [
        Mistake(("as_one", i, j), f"unknown factor '{factor}'", "a factor, as optimizer.lr", nearest(factor, known))
        for i, group in enumerate(stage.as_one)
        for j, factor in enumerate(group)
        if factor not in known
    ]


def _objectives(stage: Design, metric: object) -> list[Mistake]:
    if not isinstance(stage, Search) or not stage.objectives or stage.objectives[0] == metric:
        return []
    hint = "what is carried and reported is the study's metric"
    return [Mistake(("objectives", 0), repr(stage.objectives[0]), f"the study's metric, {metric}", hint)]


def _probed(stage: Design, possible: Sequence[starts.Start]) -> list[Mistake]:
    """What is wrong with the levels of `stage` by themselves, and on what it may start from."""
    probes = stage.probes()
    found = {(m.path, m.found): m for probe in probes for m in _unknown_factors(probe)}
    for start in possible[: max(1, MOST_TRIED // max(1, len(probes)))]:
        told = {path for path, _ in found}
        for probe in starts.applicable(stage, start.training):
            wrong = [] if _unknown_factors(probe) else _applied(probe, start)
            # One start is enough to show what does not fit.
            found |= {(m.path, m.found): m for m in wrong if m.path not in told and (m.path, m.found) not in found}
    return list(found.values())


def _unknown_factors(probe: Probe) -> list[Mistake]:
    known, expected = factors.known(), "a factor of the baseline, as optimizer.lr"
    return [
        Mistake(probe.places[f], f"unknown factor '{f}'", expected, nearest(f, known), at_key=True)
        for f in probe.levels
        if f not in known
    ]


def _applied(probe: Probe, start: starts.Start) -> list[Mistake]:
    """What pydantic says of the levels on `start`, told at the level that causes it."""
    config = start.training.model_dump(mode="json")
    factors.put_all(config, probe.levels)
    try:
        Training.model_validate(config)
    except ValidationError as error:
        return [_placed(mistake, probe, start) for mistake in translated(error, Training, config)]
    return []


def _placed(mistake: Mistake, probe: Probe, start: starts.Start) -> Mistake:
    dotted = ".".join(str(part) for part in mistake.path)
    for factor, place in _longest_first(probe.places):
        if dotted == factor or dotted.startswith(factor + "."):
            rest = mistake.path[len(factor.split(".")) :]
            return Mistake((*place, *rest), mistake.found, mistake.expected, mistake.hint, mistake.at_key)
    what = f"where {start.because}" if start.because else "with the baseline's other factors"
    hint = f"{mistake.hint}; {what}" if mistake.hint and start.because else mistake.hint or what
    return Mistake(probe.path, mistake.found, mistake.expected, hint, at_key=True)


def _longest_first(places: Mapping[str, mistakes.Path]) -> list[tuple[str, mistakes.Path]]:
    return sorted(places.items(), key=lambda item: -len(item[0]))
