"""`posestudy predict`: a trained network on the test split, or on images of the user's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from posestudy.errors import InputError, NotFoundError, PoseStudyError, Problem, nearest
from posestudy.settings import Settings
from posestudy_runner.result_forms import FORMS, Form
from posestudy_runner.trained import BEST_RULE, WHICH, Trained, Which

if TYPE_CHECKING:
    from posestudy.ledger.records import TrialRecord
    from posestudy_runner.detections import Scored

SPLITS = ("test", "val")
ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


def predict(
    images: Annotated[
        Path | None, typer.Argument(metavar="IMAGE_OR_FOLDER", help="Images of your own, instead of --split.")
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="PATH", help="The file of results of a split, or the folder for images.")
    ] = Path("out/predict"),
    split: Annotated[
        str | None, typer.Option("--split", metavar="test|val", help="Predict this split of the data set.")
    ] = None,
    study: Annotated[str | None, typer.Option("--study", help="A launched study's name.")] = None,
    trial: Annotated[str, typer.Option("--trial", metavar="N|best", help=f"The trial's number; {BEST_RULE}.")] = "best",
    weights: Annotated[
        str, typer.Option("--weights", metavar="best|last", help="Of the best evaluated epoch, or of the last one.")
    ] = "best",
    config: Annotated[
        Path | None, typer.Option("--config", help="An MMPose config, instead of a study; with --checkpoint.")
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option("--checkpoint", help="The weights that go with --config.")] = None,
    form: Annotated[
        str,
        typer.Option(
            "--form", metavar="cats|coco", help="Of a split's results: with centre and scale, or COCO's with the box."
        ),
    ] = "cats",
    boxes: Annotated[
        Path | None, typer.Option("--boxes", metavar="FILE", help="COCO detections in your images.")
    ] = None,
    box: Annotated[
        str | None,
        typer.Option("--box", metavar="X,Y,W,H", help="The instance in your image, px; default: the whole image."),
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="cpu, cuda:0, ...; default: the first GPU, or the CPU.")
    ] = None,
) -> None:
    """Predict a data set's test split, which is written down in the ledger, or images of your own."""
    chosen_form, which = (
        cast("Form", _one_of("--form", form, FORMS)),
        cast("Which", _one_of("--weights", weights, WHICH)),
    )
    if (images is None) == (split is None):
        raise PoseStudyError(
            f"found {'neither' if images is None else 'both'} of IMAGE_OR_FOLDER and --split; expected one of them"
        )
    if split is not None:
        _one_of("--split", split, SPLITS)
        if boxes is not None or box is not None:
            raise PoseStudyError("--box and --boxes are for images of your own; a split has boxes, see test_boxes")
        source, of = _source(study, trial, which, config, checkpoint, test=split == "test")
        # Loads torch, so only once the cheap mistakes are out of the way.
        from posestudy_runner.predict_split import predict_split

        uid = of.uid if of is not None and split == "test" else None
        for line in predict_split(split, source, chosen_form, out, device, uid):
            typer.echo(line)
    elif images is not None:
        given = _boxes(images, boxes, box)
        source, _ = _source(study, trial, which, config, checkpoint)
        listed = _images(images)
        from posestudy_runner.predict_images import predict_images

        raise typer.Exit(predict_images(listed, source, given, out, device, typer.echo, partial(typer.echo, err=True)))


def _one_of(option: str, word: str, known: Sequence[str]) -> str:
    if word not in known:
        raise PoseStudyError(f"{option}: found '{word}', expected {' or '.join(known)} {nearest(word, known)}".rstrip())
    return word


def _source(
    study: str | None,
    trial: str,
    which: Which,
    config: Path | None,
    checkpoint: Path | None,
    *,
    test: bool = False,
) -> tuple[Trained, TrialRecord | None]:
    """The network, and the trial it is of where it is one of a study.

    Raises:
        NotFoundError: no such study or trial, or nothing left of it here.
        PoseStudyError: the options do not say which network.
    """
    if study is not None and config is None and checkpoint is None:
        from posestudy.ledger import Ledger
        from posestudy_runner.trained import choose, files_of

        settings = Settings.resolve()
        ledger = Ledger.open(settings.database_url, create=False)
        try:
            snapshot = ledger.snapshot(study, values=False)
        finally:
            ledger.close()
        found = choose(snapshot, trial)
        return files_of(settings.home, snapshot, found, which, test=test), found
    if study is None and config is not None and checkpoint is not None:
        for path in (config, checkpoint):
            if not path.is_file():
                raise InputError([Problem(str(path), 0, 0, "", "no such file", "a readable file")])
        return Trained(config, checkpoint, str(checkpoint)), None
    given = [f"--{name}" for name, value in (("study", study), ("config", config), ("checkpoint", checkpoint)) if value]
    raise PoseStudyError(
        f"found {' and '.join(given) or 'no network'}; expected --study STUDY --trial N, or --config FILE and "
        "--checkpoint FILE"
    )


def _boxes(images: Path, file: Path | None, box: str | None) -> Callable[[Path], Sequence[Scored] | None]:
    """A function from an image's path to its boxes; None stands for the whole image."""
    from posestudy_runner.attention_command import parse_box
    from posestudy_runner.detections import Detections

    if file is not None and box is not None:
        raise PoseStudyError("found --boxes and --box; expected one of them")
    if box is not None:
        if images.is_dir():
            raise PoseStudyError(f"--box is for one image, {images} is a folder; expected --boxes FILE")
        one: Sequence[Scored] = [(parse_box(box), 1.0)]
        return lambda image: one
    if file is not None:
        return Detections(file).of
    return lambda image: None


def _images(given: Path) -> list[Path]:
    """The image, or the images in the folder by name. Raises NotFoundError."""
    if given.is_dir():
        found = sorted(path for path in given.iterdir() if path.suffix.lower() in ENDINGS and path.is_file())
        if not found:
            raise NotFoundError(f"no image in {given}; expected files that end in {', '.join(ENDINGS)}")
        return found
    if not given.is_file():
        raise NotFoundError(f"there is no image or folder {given}; expected a JPEG or PNG file, or a folder of them")
    return [given]
