"""The values of a study in columns: 8 bytes a number, and records made only of those trials that are asked for."""

from __future__ import annotations

import bisect
import functools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, overload

from posestudy.ledger.records import ValueRecord

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Below this many rows loading the fast parser takes longer than it saves.
_MANY_ROWS = 2000
# Records of so many trials are kept: a report asks for those of one trial several times in a row.
_KEPT_TRIALS = 256

Array = TypeVar("Array", bound="NDArray[Any]")


@dataclass(frozen=True)
class MetricColumn:
    """One metric over all rows: `numbers` as float64; `known` says where there is one, None: everywhere."""

    numbers: NDArray[np.float64]
    known: NDArray[np.bool_] | None


class ValueColumns(Sequence[ValueRecord]):
    """Every value of a study, a row per trial and epoch, in order of trial number and epoch.

    A sequence of `ValueRecord`s that are made anew each time. The arrays are the data itself: never write to them.

    Attributes:
        uids: the T trials that have values, in order of number.
        starts: T + 1 places: the rows of trial `uids[i]` are `starts[i]` to `starts[i + 1]`.
        epochs, times, fences: of each row, as `ValueRecord`'s `epoch`, `ts` and `fence`.
        metrics: by ledger name, in order of first occurrence.
    """

    def __init__(
        self,
        uids: Sequence[str],
        starts: Sequence[int],
        epochs: NDArray[np.int32],
        times: NDArray[np.float64],
        fences: NDArray[np.int32],
        metrics: Mapping[str, MetricColumn],
    ) -> None:
        self.uids = tuple(uids)
        self.starts = tuple(starts)
        self.epochs = epochs
        self.times = times
        self.fences = fences
        self.metrics = dict(metrics)
        self._places = {uid: place for place, uid in enumerate(self.uids)}

    @classmethod
    def of(cls, values: Sequence[ValueRecord]) -> ValueColumns:
        """Columns of records in any order, trials in order of first occurrence; columns are given back as they are."""
        if isinstance(values, ValueColumns):
            return values
        places: dict[str, int] = {}
        for value in values:
            places.setdefault(value.trial_uid, len(places))
        collector = Collector()
        metrics = _columns([value.metrics for value in values])
        if values:
            trials = [places[value.trial_uid] for value in values]
            epochs, fences = [value.epoch for value in values], [value.fence for value in values]
            collector.add(trials, epochs, [value.ts for value in values], fences, metrics)
        return collector.columns(list(places))

    @functools.cached_property
    def by_trial(self) -> Mapping[str, tuple[ValueRecord, ...]]:
        """The values of each trial that has any, in order of epoch, by its uid."""
        return _ByTrial(self)

    def rows_of(self, uid: str) -> range:
        """The rows of a trial; none where it has no values."""
        place = self._places.get(uid)
        return range(0) if place is None else range(self.starts[place], self.starts[place + 1])

    def of_trial(self, uid: str) -> tuple[ValueRecord, ...]:
        """The values of a trial in order of epoch; none where it has none."""
        rows = self.rows_of(uid)
        part = slice(rows.start, rows.stop)
        documents: list[dict[str, float]] = [{} for _ in rows]
        for name, column in self.metrics.items():
            numbers = column.numbers[part].tolist()
            known = [True] * len(numbers) if column.known is None else column.known[part].tolist()
            for document, number, there in zip(documents, numbers, known, strict=True):
                if there:
                    document[name] = number
        columns = (self.epochs[part].tolist(), documents, self.times[part].tolist(), self.fences[part].tolist())
        return tuple(ValueRecord(uid, *row) for row in zip(*columns, strict=True))

    def __len__(self) -> int:
        return len(self.epochs)

    def __iter__(self) -> Iterator[ValueRecord]:
        for uid in self.uids:
            yield from self.of_trial(uid)

    @overload
    def __getitem__(self, index: int) -> ValueRecord: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[ValueRecord, ...]: ...
    def __getitem__(self, index: int | slice) -> ValueRecord | tuple[ValueRecord, ...]:
        if isinstance(index, slice):
            return tuple(self[row] for row in range(*index.indices(len(self))))
        row = index + len(self) if index < 0 else index
        if not 0 <= row < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        place = bisect.bisect_right(self.starts, row) - 1
        return self.by_trial[self.uids[place]][row - self.starts[place]]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(_same, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<values of {len(self.uids)} trials: {len(self)} rows, {len(self.metrics)} metrics>"


def _same(one: ValueRecord, other: object) -> bool:
    return one == other


class _ByTrial(Mapping[str, tuple[ValueRecord, ...]]):
    def __init__(self, columns: ValueColumns) -> None:
        self._columns = columns
        self._made = functools.lru_cache(_KEPT_TRIALS)(columns.of_trial)

    def __getitem__(self, uid: str) -> tuple[ValueRecord, ...]:
        if not self._columns.rows_of(uid):
            raise KeyError(uid)
        return self._made(uid)

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns.uids)

    def __len__(self) -> int:
        return len(self._columns.uids)


class Collector:
    """Takes rows batch by batch and puts them together once."""

    def __init__(self) -> None:
        self._batches: list[tuple[NDArray[Any], ...]] = []
        self._metrics: dict[str, dict[int, MetricColumn]] = {}

    def add_texts(
        self,
        trials: Sequence[int],
        epochs: Sequence[int],
        times: Sequence[float],
        fences: Sequence[int],
        documents: Sequence[str],
    ) -> None:
        """Rows of which `documents` are the metrics as the ledger keeps them: JSON, what is not finite as text."""
        self.add(trials, epochs, times, fences, parsed(documents))

    def add(
        self,
        trials: Sequence[int],
        epochs: Sequence[int],
        times: Sequence[float],
        fences: Sequence[int],
        metrics: Mapping[str, MetricColumn],
    ) -> None:
        """Rows of trials that are named by their places in an order of the caller's own."""
        import numpy as np

        for name, column in metrics.items():
            self._metrics.setdefault(name, {})[len(self._batches)] = column
        whole = (np.array(trials, np.int64), np.array(epochs, np.int32), np.array(times, np.float64))
        self._batches.append((*whole, np.array(fences, np.int32)))

    def columns(self, uids: Sequence[str]) -> ValueColumns:
        """All of it in order of trial and epoch; `uids` are those of the places. Leaves nothing behind in here."""
        import numpy as np

        if not self._batches:
            nothing = np.zeros(0, np.int32)
            return ValueColumns((), (0,), nothing, np.zeros(0), nothing, {})
        lengths = [len(batch[0]) for batch in self._batches]
        trials, epochs, times, fences = (np.concatenate(parts) for parts in zip(*self._batches, strict=True))
        self._batches = []
        sorting = np.lexsort((epochs, trials))
        order = None if np.array_equal(sorting, np.arange(len(sorting))) else sorting
        trials, epochs, times, fences = (_ordered(column, order) for column in (trials, epochs, times, fences))
        metrics = {}
        for name in list(self._metrics):
            numbers, known = _joined(self._metrics.pop(name), lengths)
            metrics[name] = MetricColumn(_ordered(numbers, order), None if known is None else _ordered(known, order))
        places, starts = np.unique(trials, return_index=True)
        ends = [*starts.tolist(), len(trials)]
        return ValueColumns([uids[place] for place in places.tolist()], ends, epochs, times, fences, metrics)


def _ordered(column: Array, order: NDArray[np.intp] | None) -> Array:
    return column if order is None else column[order]  # type: ignore[return-value]


def _joined(
    batches: Mapping[int, MetricColumn], lengths: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
    """One metric over all batches; a batch that lacks it has none of its numbers."""
    import numpy as np

    numbers = np.full(sum(lengths), math.nan)
    known = np.zeros(len(numbers), np.bool_)
    start = 0
    for place, length in enumerate(lengths):
        column = batches.get(place)
        if column is not None:
            numbers[start : start + length] = column.numbers
            known[start : start + length] = True if column.known is None else column.known
        start += length
    return numbers, None if known.all() else known


def parsed(documents: Sequence[str]) -> dict[str, MetricColumn]:
    """The columns of JSON objects of numbers, and of the texts that stand for what is not finite."""
    found = _parsed_fast(documents) if len(documents) >= _MANY_ROWS else None
    return _columns(json.loads("[" + ",".join(documents) + "]")) if found is None else found


def _parsed_fast(documents: Sequence[str]) -> dict[str, MetricColumn] | None:
    """By a parser that makes no objects (1.6 times as fast); None where it does not understand the documents.

    It does not where a metric is a number in one row and a text in another.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.json

    text = pa.py_buffer("\n".join(documents).encode())
    try:
        options = pyarrow.json.ReadOptions(use_threads=False, block_size=text.size + 1)
        table = pyarrow.json.read_json(pa.BufferReader(text), read_options=options)
        columns = {name: table[name].cast(pa.float64()) for name in table.column_names}
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    if table.num_rows != len(documents):
        return None
    return {
        name: MetricColumn(
            np.array(column.to_numpy(), np.float64),
            np.array(column.is_valid().to_numpy(), np.bool_) if column.null_count else None,
        )
        for name, column in columns.items()
    }


def _columns(documents: Sequence[Mapping[str, Any]]) -> dict[str, MetricColumn]:
    import numpy as np

    names: Iterable[str] = dict.fromkeys(name for document in documents for name in document)
    found = {}
    for name in names:
        known = np.array([name in document for document in documents], np.bool_)
        numbers = np.array([float(document.get(name, math.nan)) for document in documents], np.float64)
        found[name] = MetricColumn(numbers, None if known.all() else known)
    return found
