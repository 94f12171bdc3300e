"""`posestudy models config`, `convert` and `export`: a network as config, official weights for it, as a program."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from posestudy.errors import PoseStudyError

if TYPE_CHECKING:
    from posestudy_studies.training import Training

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A name of `posestudy models list`.")]
InputOption = Annotated[
    str, typer.Option("--input", metavar="WIDTHxHEIGHT", help="Size of the network's input, px, as 192x256.")
]
OutOption = Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Where to write.")]
OFFICIAL_INPUT = "192x256"


def config(
    name: NameArgument,
    out: OutOption = None,
    size: InputOption = "",
    keypoints: Annotated[
        str, typer.Option("--keypoints", help="A layout: coco, cats, ..., or a YAML file of your own.")
    ] = "coco",
    root: Annotated[str, typer.Option("--root", metavar="DIR", help="Folder of the data the config names.")] = (
        "data/coco"
    ),
    weights: Annotated[bool, typer.Option(help="Start from the published weights of the backbone.")] = True,
) -> None:
    """Write a plain MMPose config of a model, trained as published; it needs `import posestudy_runner.plugin`."""
    from posestudy.durable import write_text
    from posestudy_studies import mmpose_config, recipes

    chosen = recipes.recipe(name)
    training = resized(chosen.training, size)
    if not weights:
        training = training.model_copy(update={"init": None})
    made = recipes.study(training, keypoints=keypoints, root=root, score_mode=chosen.score_mode)
    text = mmpose_config.config_text(made, training, seed=0)
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, text)
    except OSError as error:
        raise PoseStudyError(f"cannot write {out}: {error.strerror}") from error
    typer.echo(f"wrote {out}: {name}, trained as in {chosen.source}")


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN.pth", help="An official TransPose checkpoint.")],
    target: Annotated[Path, typer.Argument(metavar="OUT.pth", help="The MMPose checkpoint to write.")],
    size: InputOption = OFFICIAL_INPUT,
) -> None:
    """Turn an official TransPose checkpoint into an MMPose checkpoint; the variant is recognised."""
    import io

    import torch

    from posestudy.durable import sha256_file, write_bytes
    from posestudy_runner import transpose_weights

    document = transpose_weights.load(source)
    found = transpose_weights.official(document)
    if found is None:
        raise PoseStudyError(
            f"{source} is no official TransPose checkpoint: {_contents(document)}; expected `reduce.weight`, "
            "`global_encoder.layers.0...` and so on, bare or behind `module.`, or a training checkpoint with them"
        )
    variant = found.variant
    if variant is None:
        raise PoseStudyError(
            f"{source} is a TransPose of no known variant ({found.described}); expected one of "
            + ", ".join(transpose_weights.variants())
        )
    wanted = _wanted(variant, size, found.keypoints or 17)
    weights = found.converted
    wrong = transpose_weights.misfits(weights, wanted)
    if wrong:
        hint = "" if size != OFFICIAL_INPUT else f"; for another input size than {OFFICIAL_INPUT} say --input"
        lines = "\n  ".join(_official_names(wrong))
        raise PoseStudyError(f"{source} does not fit {variant} at {size}{hint}:\n  {lines}")
    meta = {"model": variant, "converted_from": source.name, "sha256": sha256_file(source)}
    stream = io.BytesIO()
    torch.save({"meta": meta, "state_dict": weights}, stream)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(target, stream.getvalue())
    except OSError as error:
        raise PoseStudyError(f"cannot write {target}: {error.strerror}") from error
    part = f" (its {found.taken_from})" if found.taken_from else ""
    count = sum(tensor.numel() for name, tensor in weights.items() if name in _parameters(wanted))
    typer.echo(f"{source}{part} is {variant}, {found.keypoints} keypoints, {count:,} parameters; wrote {target}")
    typer.echo(f"its config: posestudy models config {variant} -o {variant}.py")


def export(
    config_file: Annotated[Path, typer.Argument(metavar="CONFIG.py", help="An MMPose config; it is run as Python.")],
    checkpoint: Annotated[Path, typer.Argument(metavar="WEIGHTS.pth", help="Weights of this network, all of them.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.pt2", help="Where to write.")],
    size: InputOption = "",
) -> None:
    """Write a network as a program that torch alone runs (torch.export), for any number of images at a time."""
    from posestudy_runner import exporting

    model = exporting.load(config_file, checkpoint)
    codec = model.cfg.model.head.decoder
    width, height = parse_size(size) if size else codec["input_size"]
    exporting.export(model, (width, height), out)
    typer.echo(f"wrote {out}: images [batch, 3, {height}, {width}] in, what {type(model.head).__name__} gives out")


def resized(training: Training, size: str) -> Training:
    """`training` at the input size `WIDTHxHEIGHT`; as it is where `size` is empty.

    Raises:
        PoseStudyError: `size` is none, or does not fit the network.
    """
    from posestudy_studies import factors

    if not size:
        return training
    return factors.apply(training, {"input_size": list(parse_size(size))})


def parse_size(text: str) -> tuple[int, int]:
    """`192x256` as (192, 256).

    Raises:
        PoseStudyError: it is no such text.
    """
    found = re.fullmatch(r"\s*(\d{1,5})\s*[x×,]\s*(\d{1,5})\s*", text)
    if found is None:
        raise PoseStudyError(f"--input: found {text!r}, expected WIDTHxHEIGHT in pixels, as 192x256")
    return int(found[1]), int(found[2])


def _wanted(variant: str, size: str, keypoints: int) -> dict[str, Any]:
    """The tensors of the network, without memory behind them."""
    import torch

    from posestudy_runner import named_models

    wanted: dict[str, Any] = dict(named_models.named(variant, size, keypoints).build(torch.device("meta")).state_dict())
    return wanted


def _parameters(wanted: dict[str, Any]) -> set[str]:
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    return {name for name in wanted if not name.endswith(buffers)}


def _official_names(lines: list[str]) -> list[str]:
    """Messages about converted names, with the names that stand in the official file."""
    return [re.sub(r"^(\w+(?: \w+)?: )(?:backbone|neck|head)\.", r"\1", line) for line in lines]


def _contents(document: Any) -> str:
    if not isinstance(document, dict):
        return f"it holds a {type(document).__name__}"
    inner = document.get("state_dict", document)
    names = [str(name) for name in inner] if isinstance(inner, dict) else []
    return f"it holds {', '.join(names[:3]) or 'nothing'}{', ...' if len(names) > 3 else ''}"
