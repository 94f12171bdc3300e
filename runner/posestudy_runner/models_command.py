"""`posestudy models`: what networks there are, what each costs, its config, its weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from posestudy.errors import PoseStudyError
from posestudy.ledger.records import Json
from posestudy.settings import Settings
from posestudy_runner.models_files import InputOption, NameArgument, config, convert, export
from posestudy_runner.timing import Timing
from posestudy_studies.commands import AsJson

if TYPE_CHECKING:
    from posestudy_runner.named_models import Counts, NamedModel

app = typer.Typer(no_args_is_help=True, help="Networks by name: list them, profile them, write their configs.")
DeviceOption = Annotated[
    str | None, typer.Option("--device", metavar="DEVICE", help="cpu, cuda or cuda:N; default: a GPU, else the CPU.")
]
LIST_BUDGET_S = 3.0
"""Seconds of one network's timing in `models list --measure`."""


@app.command("list")
def list_models(
    as_json: AsJson = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="Also measure the latency of what was not measured on this device yet.")
    ] = False,
    device: DeviceOption = None,
) -> None:
    """List all networks: costs computed here, published figures with their source, latency measured here."""
    from posestudy_runner import kept_profiles, models_list, named_models
    from posestudy_studies import recipes

    home = Settings.resolve().home
    counts = named_models.Counts(home)
    models = [named_models.named(name) for name in recipes.names()]
    missing = counts.missing(models)
    for number, model in enumerate(missing, start=1):
        _say(f"counting {number} of {len(missing)}: {model.name}")
        counts.of(model)
    if measure:
        _measure_missing(models, device)
    elif device is not None:
        raise PoseStudyError("--device says where --measure measures; found --device without --measure")
    kept = kept_profiles.kept(home)
    rows = [
        models_list.row(
            model, counts.of(model), kept_profiles.of_model(kept, model.name, model.input_size, model.keypoints)
        )
        for model in models
    ]
    if as_json:
        typer.echo(json.dumps(models_list.document(rows), indent=2))
        return
    from rich.console import Console

    models_list.show(rows, Console())


@app.command()
def profile(
    name: NameArgument,
    size: InputOption = "",
    device: DeviceOption = None,
    batch: Annotated[int, typer.Option("--batch", min=1, max=4096, help="Images of one forward pass.")] = 1,
    flip_test: Annotated[
        bool, typer.Option("--flip-test", help="Two passes for a prediction: the image and its mirror image.")
    ] = False,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, max=1024, help="Computing threads of a CPU; default: torch's own.")
    ] = None,
    keypoints: Annotated[
        str, typer.Option("--keypoints", help="A layout: coco, cats, ..., or a YAML file of your own.")
    ] = "coco",
    as_json: AsJson = False,
) -> None:
    """Count what a network computes, and measure latency and memory of its forward pass on this machine."""
    from posestudy_runner import named_models
    from posestudy_studies import layouts

    home = Settings.resolve().home
    model = named_models.named(name, size, len(layouts.layout(keypoints).keypoint_names))
    measured = _measured(model, device, Timing(batch, flip_test), threads=threads)
    result = _described(model, named_models.Counts(home), measured)
    if as_json:
        typer.echo(json.dumps(result, indent=2))
        return
    for line in _sentences(result):
        typer.echo(line)


app.command()(config)
app.command()(convert)
app.command()(export)


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _measured(
    model: NamedModel, device: str | None, timing: Timing, *, threads: int | None = None, fresh: bool = True
) -> Json:
    """The profile of `model`, kept in the home.

    Args:
        threads: of this process from now on; None leaves them.
        fresh: nothing was computed in this process before.

    Raises:
        PoseStudyError: there is no such device, or it has too little memory.
    """
    from posestudy_runner import plugin  # isort: skip  # noqa: F401  (before torch)
    import torch

    from posestudy_runner import kept_profiles, profiling

    place = profiling.chosen_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        measured = profiling.profile(model.build(place), model.input_size, place, timing, fresh=fresh)
    except (MemoryError, RuntimeError) as error:
        lacking = isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
        if not lacking:
            raise
        size = "{} x {} px".format(*model.input_size)
        raise PoseStudyError(
            f"{place} has too little memory for {model.name} at {size}, batch {timing.batch}; "
            "expected a smaller --batch or --input"
        ) from error
    return kept_profiles.keep(
        Settings.resolve().home,
        {"model": model.name, "family": model.family, "keypoints": model.keypoints, **measured},
    )


def _measure_missing(models: Sequence[NamedModel], device: str | None) -> None:
    from posestudy_runner import plugin  # isort: skip  # noqa: F401  (before torch)
    import torch

    from posestudy_runner import kept_profiles, profiling

    place = profiling.chosen_device(device)
    here = {"device_name": profiling.device_name(place), "batch": 1, "flip_test": False}
    if place.type == "cpu":
        here["threads"] = torch.get_num_threads()
    for number, model in enumerate(models, start=1):
        known = kept_profiles.kept(Settings.resolve().home)
        known = kept_profiles.of_model(known, model.name, model.input_size, model.keypoints)
        if not any(all(row[key] == value for key, value in here.items()) for row in known):
            _say(f"measuring {number} of {len(models)}: {model.name}")
            _measured(model, str(place), Timing(budget_s=LIST_BUDGET_S), fresh=False)


def _described(model: NamedModel, counts: Counts, measured: Json) -> Json:
    """A measured profile with the convention of its numbers, and what is published of the same network."""
    from posestudy_runner import models_list

    return {
        **measured,
        "convention": models_list.CONVENTION,
        "published": models_list.figures(model, counts.of(model)),
    }


def _sentences(result: Json) -> list[str]:
    """The profile for a reader."""
    from posestudy_runner import models_list

    width, height = result["input"]
    passes = "two passes, flip test" if result["flip_test"] else "one pass"
    lines = [
        f"{result['model']} ({result['family']}), {width} x {height} px, {result['keypoints']} keypoints",
        f"parameters   {result['parameters']:,}, of which {result['trainable_parameters']:,} are trained",
        f"GFLOPs       {result['gmacs']:.3f} multiply-adds an image ({passes}), "
        f"{result['gflops']:.3f} floating-point operations",
        "             " + ", ".join(f"{kind} {number / 1e9:.3f}" for kind, number in result["macs"].items()),
        f"latency      p50 {result['latency_p50_ms']:.1f} ms, p95 {result['latency_p95_ms']:.1f} ms, "
        f"{result['passes']} timed after warm-up",
        f"FPS          {result['fps']:.1f} images a second",
        f"peak memory  {_memory(result)}",
        f"device       {models_list.settings(result)}, torch {result['torch']}, float32",
        "",
        result["convention"],
    ]
    for figure in result["published"]:
        lines += _compared(figure)
    return lines


def _memory(result: Json) -> str:
    if result["peak_memory_mb"] is None:
        return "not known on this system"
    what = "allocated tensors" if str(result["device"]).startswith("cuda") else "weights and growth of the process"
    return f"{result['peak_memory_mb']:.0f} MiB, {what}"


def _compared(figure: dict[str, Any]) -> list[str]:
    """What a source publishes beside what its way of counting gives here."""
    from posestudy_runner.models_list import printed

    parts = []
    if figure["parameters_m"] is not None:
        parts.append(f"{printed(figure['parameters_m'])} M parameters")
    if figure["gflops"] is not None:
        parts.append(f"{printed(figure['gflops'])} GFLOPs")
    if figure["fps"] is not None:
        parts.append(f"{figure['fps']:g} FPS ({figure['fps_on']})")
    if figure["ap"] is not None:
        parts.append(f"AP {figure['ap']:.3f}")
    if figure["ap_ground_truth_boxes"] is not None:
        parts.append(f"AP {figure['ap_ground_truth_boxes']:.3f} with the true boxes")
    lines = [f"published: {', '.join(parts)}. {figure['where']}."]
    if figure["gflops"] is not None:
        lines.append(
            f"  Its rule gives {figure['gflops_computed_by_rule']:.2f} here ({figure['difference']:+.1%}): "
            f"{figure['gflops_rule']}."
        )
    if figure["note"]:
        lines.append(f"  {figure['note'][0].upper()}{figure['note'][1:]}.")
    return lines
