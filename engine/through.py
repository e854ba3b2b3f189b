"""Batches through TensorStore in the form of `access.Access`: into buffers, and converted."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.arrays import Reads
from voxelmill.engine.cached import CachedReads, open_remote
from voxelmill.engine.convert import Convert
from voxelmill.engine.description import Description
from voxelmill.engine.local import refuse_unfit
from voxelmill.engine.location import Location
from voxelmill.engine.sample import Field

Buffers = Mapping[str, NDArray[Any]]


class StoreArrays:
    """The arrays of the store at `location`; `options` are those of `open_remote`."""

    def __init__(self, location: Location, description: Description, **options: Any) -> None:
        self._arrays = open_remote(location, description, **options)
        self._dense = {f.name: f for f in description.fields if isinstance(f, Field)}
        self._description = description

    def start(
        self,
        indices: NDArray[np.int64],
        names: Sequence[str],
        out: Buffers | None = None,
        convert: Convert | None = None,
    ) -> "ThroughPending":
        """Begin to read samples: see `access.Access`."""
        if convert is not None:
            convert.refuse_bad(self._description.fields)
        for name, given in (out or {}).items():
            if name not in names or (name not in self._dense and name != "params"):
                raise ValueError(
                    f"no buffer can be filled with {name!r}: it is not read, or ragged"
                )
            if name in self._dense:
                shape, dtype = _form(self._dense[name], convert)
            else:
                shape, dtype = (len(self._description.columns),), np.dtype(np.float64)
            refuse_unfit(name, given, (len(indices), *shape), dtype)
        filled = out if convert is None else None  # without a copy in between
        reads = self._arrays.start(indices, list(names), filled)
        return ThroughPending(reads, self._dense, dict(out or {}), convert)

    def column(self, first: int, last: int, number: int) -> NDArray[np.float64]:
        """Column `number` of `params` of the samples `first` to `last`, the last not in."""
        return self._arrays.column(first, last, number)


class ThroughPending:
    """A batch under way."""

    def __init__(
        self,
        reads: Reads | CachedReads,
        dense: Mapping[str, Field],
        out: Buffers,
        convert: Convert | None,
    ) -> None:
        self._reads, self._dense, self._out, self._convert = reads, dense, out, convert
        self._batch: dict[str, Any] | None = None

    def result(self) -> dict[str, Any]:
        """Arrays (sample, ...) by name, `Rows` of ragged fields, and "index". Raises StoreError."""
        if self._batch is None:
            batch = self._reads.result()
            self._batch = {
                name: value if name == "index" else self._placed(name, value, batch["index"])
                for name, value in batch.items()
            }
        return self._batch

    def _placed(self, name: str, value: Any, indices: NDArray[np.int64]) -> Any:
        f, out = self._dense.get(name), self._out.get(name)
        if f is not None and self._convert is not None and self._convert.changes(f):
            if out is None:
                shape, dtype = _form(f, self._convert)
                out = np.empty((len(indices), *shape), dtype)
            put = self._convert.put(f, indices)
            for whole, place, sample in zip(value, out, indices.tolist(), strict=True):
                put(whole, place, sample)
        elif out is not None and value is not out:
            np.copyto(out, value)
        return value if out is None else out


def _form(f: Field, convert: Convert | None) -> tuple[tuple[int, ...], np.dtype[Any]]:
    if convert is None:
        return f.shape, np.dtype(f.dtype)
    return convert.shape(f), convert.dtype(f)
