"""Shows pairs of images that are alike to look at, so that a reader can judge them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from posestudy_reports import gallery
from posestudy_reports.addressed import Text, joined, said
from posestudy_reports.dataset_analysis import DatasetAnalysis, splits_of
from posestudy_reports.dataset_images import Shared, Twins
from posestudy_reports.dataset_numbers import NAMES, decimal
from posestudy_reports.sections import Picture
from posestudy_studies.spec import Dataset

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PAIRS: Final = 4
_TILE_PX: Final = 260
_GAP_PX: Final = 6
_BETWEEN_PX: Final = 36
_PAIRS_IN_A_ROW: Final = 2


def twins_picture(dataset: Dataset, analysis: DatasetAnalysis) -> Picture | None:
    """The first pairs that are only alike, those between splits before those within one; None where there is none or
    its files are gone. Equal files need no look."""
    found = analysis.images.shared if analysis.images else ()
    order = sorted(found, key=lambda shared: shared.first == shared.second)
    pairs = [(shared, pair) for shared in order for pair in shared.examples if pair.kind == "alike"]
    shown: list[tuple[Image, Image]] = []
    told: list[Text] = []
    for shared, pair in pairs:
        opened = _opened(dataset, shared, pair) if len(shown) < MOST_PAIRS else None
        if opened is not None:
            shown.append(opened)
            told.append(_told(len(shown), shared, pair))
    if not shown:
        return None
    sheet = _sheet(shown)
    caption = said(
        "Images that are alike to look at, pair by pair, with the correlation of their grey values: {pairs}.",
        pairs=joined(told, "; "),
    )
    title = "Images that are alike"
    return Picture("dataset_twins", title, caption, gallery.jpeg(sheet), sheet.size, priority=73)


def _told(number: int, shared: Shared, pair: Twins) -> Text:
    formula = "correlation of the grey values of two images at 32 x 32 pixels"
    return said(
        "{first} ({one}) and {second} ({other}), {correlation}",
        first=pair.first, one=NAMES[shared.first], second=pair.second, other=NAMES[shared.second],
        correlation=decimal(f"twins/{number}", pair.correlation, 3, formula),
    )  # fmt: skip


def _opened(dataset: Dataset, shared: Shared, pair: Twins) -> tuple[Image, Image] | None:
    splits = splits_of(dataset)
    first, second = (
        gallery.opened(Path(dataset.root) / splits[split].images / name)
        for split, name in ((shared.first, pair.first), (shared.second, pair.second))
    )
    return None if first is None or second is None else (first, second)


def _sheet(pairs: list[tuple[Image, Image]]) -> Image:
    """Two pairs a row, each image in a square."""
    from PIL import Image

    columns = min(_PAIRS_IN_A_ROW, len(pairs))
    rows = -(-len(pairs) // _PAIRS_IN_A_ROW)
    pair_px = 2 * _TILE_PX + _GAP_PX
    width = columns * (pair_px + _BETWEEN_PX) - _BETWEEN_PX
    sheet = Image.new("RGB", (width, rows * (_TILE_PX + _GAP_PX) - _GAP_PX), "white")
    for i, pair in enumerate(pairs):
        row, column = divmod(i, _PAIRS_IN_A_ROW)
        for j, picture in enumerate(pair):
            scale = _TILE_PX / max(picture.size)
            size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
            left = column * (pair_px + _BETWEEN_PX) + j * (_TILE_PX + _GAP_PX) + (_TILE_PX - size[0]) // 2
            top = row * (_TILE_PX + _GAP_PX) + (_TILE_PX - size[1]) // 2
            sheet.paste(picture.resize(size, resample=1), (left, top))  # Lanczos
    return sheet
