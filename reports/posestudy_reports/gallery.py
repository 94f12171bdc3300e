"""The same validation images as several cells see them: which cells and images, and the picture of all of them."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from posestudy.ledger.records import TrialRecord
from posestudy_reports import networks, words
from posestudy_reports.addressed import Number, listed, said
from posestudy_reports.results import CellResult, StageResult, StudyResult
from posestudy_reports.tradeoff import distinct, label

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")
Find = Callable[[TrialRecord], Mapping[str, Path]]
"""The pictures of a trial, by the name of the image; empty where there are none."""

MOST_CELLS: Final = 6
MOST_IMAGES: Final = 4
_WIDTH_PX: Final = 1830
_WIDEST_TILE_PX: Final = 380
_TALLEST: Final = 1.3
"""Height of a tile in its widths, at most."""
_GAP_PX: Final = 6
_TEXT_PX: Final = 20
QUALITY: Final = 88


@dataclass(frozen=True)
class Shown:
    """A column of the gallery: a cell and the trial whose predictions stand there."""

    label: str
    score: float
    trial: TrialRecord
    pictures: Mapping[str, Path]


@dataclass(frozen=True)
class Gallery:
    """What is shown side by side.

    Attributes:
        rule: how the cells were chosen, as a sentence.
        images: names of the pictures, one a row.
    """

    columns: tuple[Shown, ...]
    images: tuple[str, ...]
    rule: str


def gallery(result: StudyResult, find: Find) -> Gallery | None:
    """Some cells and some images that every one of them predicted; None where fewer than two cells have pictures."""
    able: list[tuple[StageResult, CellResult, Shown]] = []
    for stage, cell in distinct(result):
        shown = _shown(stage, cell, find)
        if shown is not None:
            able.append((stage, cell, shown))
    chosen, rule = _chosen(result, able)
    common = [name for name in (chosen[0].pictures if chosen else ()) if all(name in c.pictures for c in chosen)]
    if len(chosen) < 2 or not common:
        return None
    return Gallery(tuple(chosen), tuple(_spread(common, MOST_IMAGES)), rule)


def _shown(stage: StageResult, cell: CellResult, find: Find) -> Shown | None:
    for trial in cell.completed:
        pictures = find(trial)
        if pictures:
            # The pictures are by the weights of the best epoch.
            return Shown(label(stage, cell), trial.best_value or 0.0, trial, pictures)
    return None


def _chosen(result: StudyResult, able: Sequence[tuple[StageResult, CellResult, Shown]]) -> tuple[list[Shown], str]:
    """The cells to show, in order of the study, and the rule by which they were chosen."""
    if len(able) <= MOST_CELLS:
        return [shown for _, _, shown in able], "Every completed cell with pictures"
    order = list(range(len(able)))
    better = result.metric.direction.better
    ranks = sorted(order, key=lambda i: _mean(able[i][1]), reverse=better(1.0, 0.0))
    kept = [0, ranks[0]] if ranks[0] else [0]
    rule = "The first cell, the best one"
    for what, kind_of in (("head and loss", networks.learned), ("network", networks.name)):
        kinds = {kind_of(able[i][1].cell.config) for i in kept}
        before = len(kept)
        for i in ranks:
            kind = kind_of(able[i][1].cell.config)
            if kind not in kinds and len(kept) < MOST_CELLS:
                kinds.add(kind)
                kept.append(i)
        if len(kept) > before:
            rule += f", the best one of each further {what}"
    if len(kept) < MOST_CELLS:
        rule += ", then others evenly from the best to the worst"
        others = [i for i in ranks if i not in kept]
        kept += _spread(others, MOST_CELLS - len(kept))
    return [able[i][2] for i in sorted(kept)], f"{rule}; {MOST_CELLS} of {len(able)} cells"


def _mean(cell: CellResult) -> float:
    return cell.final.mean if cell.final else 0.0


def _spread(items: Sequence[T], most: int) -> list[T]:
    """At most so many of them, evenly from the first to the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / max(1, most - 1))] for i in range(most)]


def caption(result: StudyResult, shown: Gallery) -> str:
    """What the picture shows, in sentences."""
    texts = [
        said(
            "{label} ({metric} {score}, trial {number})",
            label=column.label,
            metric=result.metric.short,
            score=_best_of(result, column),
            number=column.trial.number,
        )
        for column in shown.columns
    ]
    return said(
        "Ground truth in green, prediction in red, by the best epoch of each trial, on images of the validation set. "
        "{rule}, in order of the study: {texts}.",
        rule=shown.rule,
        texts=listed(texts),
    )


def _best_of(result: StudyResult, column: Shown) -> Number:
    metric, trial = result.metric, column.trial
    formula = f"best {metric.name} of trial {trial.number}"
    return Number(
        f"study/trial/{trial.number}/best", words.score(column.score, metric), column.score, formula, (trial.uid,)
    )


def montage(result: StudyResult, shown: Gallery) -> Image | None:
    """A column per cell under its label, a row per image; None where no image can be read.

    An image that a cell shows in another shape than the others is another image, and its row is left out.
    """
    from PIL import Image

    tile = min(_WIDEST_TILE_PX, (_WIDTH_PX + _GAP_PX) // len(shown.columns) - _GAP_PX)
    rows = [row for name in shown.images if (row := _row(shown, name, tile))]
    if not rows:
        return None
    head = 2 * _TEXT_PX + 14
    width = len(shown.columns) * (tile + _GAP_PX) - _GAP_PX
    sheet = Image.new("RGB", (width, head + sum(row[0].height + _GAP_PX for row in rows) - _GAP_PX), "white")
    for i, column in enumerate(shown.columns):
        score = f"{result.metric.short} {words.score(column.score, result.metric)}"
        _head(sheet, column.label, score, i * (tile + _GAP_PX), tile)
    top = head
    for row in rows:
        for i, picture in enumerate(row):
            sheet.paste(picture, (i * (tile + _GAP_PX) + (tile - picture.width) // 2, top))
        top += row[0].height + _GAP_PX
    return sheet


def _row(shown: Gallery, name: str, tile: int) -> list[Image]:
    """The tiles of one image; empty where one cannot be read or the shapes differ."""
    tiles: list[Image] = []
    for column in shown.columns:
        picture = opened(column.pictures[name])
        if picture is None:
            return []
        scale = min(tile / picture.width, _TALLEST * tile / picture.height)
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        tiles.append(picture.resize(size, resample=1))  # Lanczos
    return tiles if len({t.size for t in tiles}) == 1 else []


def opened(path: Path) -> Image | None:
    """The picture in RGB; None where the file is gone or damaged."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError):
        return None


def jpeg(picture: Image) -> bytes:
    """The picture as JPEG, with the colours of thin lines as sharp as their brightness."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=QUALITY, subsampling=0)
    return stream.getvalue()


def _head(sheet: Image, text: str, score: str, left: int, width: int) -> None:
    """A column's label and, below it, its metric; both cut where they would be wider than the column."""
    from PIL import ImageDraw

    pen, font = ImageDraw.Draw(sheet), face(_TEXT_PX)
    for line, (written, colour) in enumerate(((text, "black"), (score, "#555555"))):
        flat = " ".join(written.split())
        while font.getlength(flat) > width and len(flat) > 1:
            flat = flat.removesuffix("\u2026")[:-1] + "\u2026"
        pen.text((left + width / 2, 4 + line * (_TEXT_PX + 4)), flat, fill=colour, font=font, anchor="ma")


@cache
def face(size: int) -> Any:
    """matplotlib's own face, which has the letters of most languages and lies on every machine."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)
