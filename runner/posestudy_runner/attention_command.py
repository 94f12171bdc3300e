"""`posestudy attention`: pictures of where a trained TransPose looks for each keypoint."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from posestudy.errors import InputError, NotFoundError, PoseStudyError, Problem, UnreadableImageError, nearest
from posestudy.home import safe_part
from posestudy.ledger.records import CellRecord
from posestudy.settings import Settings
from posestudy_runner.attention import KINDS, Kind
from posestudy_runner.trained import BEST_RULE, choose

if TYPE_CHECKING:
    from posestudy_runner.attending import Box


@dataclass(frozen=True)
class Trained:
    """A network to look into.

    Attributes:
        config, weights: MMPose's config file, and a checkpoint or state_dict.
        name: as a sentence names it.
        out: where its pictures go unless the user says otherwise.
    """

    config: Path
    weights: Path
    name: str
    out: Path


def attention(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="The image to look at.")],
    study: Annotated[str | None, typer.Option("--study", help="A launched study's name.")] = None,
    trial: Annotated[str, typer.Option("--trial", metavar="N|best", help=f"The trial's number; {BEST_RULE}.")] = "best",
    config: Annotated[
        Path | None, typer.Option("--config", help="An MMPose config, instead of a study; with --checkpoint.")
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option("--checkpoint", help="The weights that go with --config.")] = None,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", min=0.0, max=1.0, help="Weights up to it show nothing; default: by the grid."),
    ] = None,
    box: Annotated[
        str | None,
        typer.Option("--box", metavar="X,Y,W,H", help="The instance, in px; default: the image's own, or all of it."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Where the pictures go.")] = None,
    kind: Annotated[
        str,
        typer.Option("--kind", metavar="KIND,...", help="dependency: what a keypoint draws on; affect: what on it."),
    ] = ",".join(KINDS),
) -> None:
    """Picture what each keypoint draws on, by every encoder layer of a trained TransPose."""
    kinds, given = parse_kinds(kind), None if box is None else parse_box(box)
    size = _size(image)
    if given is not None:
        _require_inside(given, size, image)
    source = _source(study, trial, config, checkpoint)
    # Loads torch, so only once the cheap mistakes are out of the way.
    from posestudy_runner.attending import annotated_samples, build, load, sample
    from posestudy_runner.attention_model import attend, has_attention, write_figures

    model = build(source.config)
    if not has_attention(model):
        raise _without_attention(f"{source.name}, a {type(model).__name__} on {type(model.backbone).__name__},")
    load(model, source.weights)
    samples = annotated_samples(model, image) if given is None else [sample(model, image, given)]
    if not samples:
        typer.echo(f"{image} has no instance in the data of {source.name}: the whole image is taken as one", err=True)
        samples = [sample(model, image, (0.0, 0.0, *size))]
    folder = source.out if out is None else out
    for number, prepared in enumerate(samples, start=1):
        name = image.stem if len(samples) == 1 else f"{image.stem}_{number}"
        try:
            paths = write_figures(attend(model, prepared, model.dataset_meta), folder, name, kinds, threshold)
        except OSError as error:
            raise PoseStudyError(f"the pictures cannot be written to {folder}: {error.strerror or error}") from error
        for path in paths:
            typer.echo(str(path))


def parse_kinds(text: str) -> tuple[Kind, ...]:
    """`dependency,affect` as kinds, each once.

    Raises:
        PoseStudyError: a word is no kind, or there is none.
    """
    words = dict.fromkeys(word.strip() for word in text.split(",") if word.strip())
    for word in words or ("",):
        if word not in KINDS:
            hint = nearest(word, KINDS)
            raise PoseStudyError(f"--kind: found '{word}', expected some of {', '.join(KINDS)} {hint}".strip())
    return tuple(cast("Kind", word) for word in words)


def parse_box(text: str) -> Box:
    """`X,Y,W,H` as numbers.

    Raises:
        PoseStudyError: they are not four numbers, or the box has no area.
    """
    wanted = f"--box: found '{text}', expected X,Y,W,H in pixels"
    try:
        x, y, width, height = (float(part) for part in text.split(","))
    except ValueError as error:
        raise PoseStudyError(f"{wanted}, such as 20,10,64,128") from error
    if not all(map(math.isfinite, (x, y, width, height))):
        raise PoseStudyError(f"{wanted}, each a finite number")
    if not (width > 0 and height > 0):
        raise PoseStudyError(f"{wanted} with a width and a height above 0")
    return x, y, width, height


def _size(image: Path) -> tuple[int, int]:
    """Width and height of `image`. Raises UnreadableImageError."""
    import cv2

    if not image.is_file():
        raise UnreadableImageError(f"there is no image {image}; expected a JPEG or PNG file")
    # Without this OpenCV itself says on stderr what it does not like.
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        read = cv2.imread(str(image))
    finally:
        cv2.utils.logging.setLogLevel(level)
    if read is None:
        raise UnreadableImageError(f"image {image} cannot be decoded; expected a whole JPEG or PNG file")
    return int(read.shape[1]), int(read.shape[0])


def _require_inside(box: Box, size: tuple[int, int], image: Path) -> None:
    x, y, width, height = box
    inside = x >= 0 and y >= 0 and x + width <= size[0] and y + height <= size[1]
    if not inside:
        shown = ",".join(f"{value:g}" for value in box)
        raise PoseStudyError(
            f"--box: found {shown}, which reaches outside {image}; expected a box within its {size[0]} x {size[1]} px"
        )


def _source(study: str | None, trial: str, config: Path | None, checkpoint: Path | None) -> Trained:
    if study is not None and config is None and checkpoint is None:
        return _of_study(Settings.resolve(), study, trial)
    if study is None and config is not None and checkpoint is not None:
        for path in (config, checkpoint):
            if not path.is_file():
                raise InputError([Problem(str(path), 0, 0, "", "no such file", "a readable file")])
        return Trained(config, checkpoint, str(checkpoint), Path("out") / "attention" / safe_part(checkpoint.stem))
    given = [f"--{name}" for name, value in (("study", study), ("config", config), ("checkpoint", checkpoint)) if value]
    raise PoseStudyError(
        f"found {' and '.join(given) or 'no network'}; expected --study STUDY --trial N, or --config FILE and "
        "--checkpoint FILE"
    )


def _of_study(settings: Settings, study: str, chosen: str) -> Trained:
    """The newest attempt at a trial that left weights.

    Raises:
        NotFoundError: no such study or trial, or nothing left of it here.
        PoseStudyError: its network has no attention.
    """
    from posestudy.ledger import Ledger

    ledger = Ledger.open(settings.database_url, create=False)
    try:
        snapshot = ledger.snapshot(study, values=False)
    finally:
        ledger.close()
    trial = choose(snapshot, chosen)
    name = f"trial {trial.number} of '{study}'"
    (cell,) = (cell for cell in snapshot.cells if cell.id == trial.cell_id)
    _require_attention(cell, name)
    source, of_study, number = trial.source, study, trial.number
    if source is not None and source.get("kind") == "reused":
        of_study, number = str(source["study"]), int(source["number"])
    elif source is not None:
        raise NotFoundError(f"{name} was imported ({source.get('file', 'a table of results')}), so it has no weights")
    for paths in settings.home.attempts(of_study, number):
        if paths.best_weights.is_file() and paths.config.is_file():
            out = Path("out") / "attention" / safe_part(study) / str(trial.number)
            return Trained(paths.config, paths.best_weights, name, out)
    state = f"it is {trial.outcome or trial.state}"
    raise NotFoundError(
        f"{name} has no weights in {settings.home.runs / safe_part(of_study) / str(number)}: {state}; expected "
        "best.pth, which the first validation writes on the host that trains"
    )


def _require_attention(cell: CellRecord, name: str) -> None:
    """Tell without loading anything where a preset has no attention; what a config file holds shows later."""
    from posestudy_studies import presets

    model = cell.config.get("model")
    if isinstance(model, str) and model in presets.names() and presets.preset(model).encoder is None:
        raise _without_attention(f"{name}, a {model},")


def _without_attention(what: str) -> PoseStudyError:
    """The error for a network that has no encoder to look into, naming the presets that have one."""
    from posestudy_studies import presets

    known = ", ".join(preset.name for preset in presets.presets() if preset.encoder is not None)
    return PoseStudyError(f"{what} has no attention to show; expected a model with a TransPose encoder: {known}")
