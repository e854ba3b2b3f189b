"""Sources for Grain: of samples, in an order that Grain makes, or of whole batches in ours.

Both are what Grain calls a random access source, have a stable repr, which its checkpoints
compare, and pickle, so that its worker processes open the store for themselves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import index as as_int
from typing import Any

from voxelmill.engine.batches import Batch, finished
from voxelmill.engine.convert import Convert
from voxelmill.engine.padding import Padded
from voxelmill.engine.sample import Rows

__all__ = ["GrainBatches", "GrainSource"]


class GrainSource:
    """The samples of a store by number, as dicts of NumPy arrays.

    fields: all but "params" by default; a ragged one is (row, column).
    """

    def __init__(self, source: Any, fields: Sequence[str] | None = None) -> None:
        self.source = source
        self._names = source.checked_names(list(source.fields) if fields is None else fields)

    def __repr__(self) -> str:
        """Stable."""
        return f"GrainSource({self.source!r}, {self._names})"

    def __len__(self) -> int:
        """The samples of the store."""
        return len(self.source)

    def __getitem__(self, index: Any) -> Batch:
        """One sample. Raises IndexError outside [0, count)."""
        number = _checked(index, len(self), self)
        batch = self.source.begin(self.source.checked([number]), self._names).result()
        return {k: v.values if isinstance(v, Rows) else v[0] for k, v in batch.items()}


class GrainBatches:
    """Whole batches of `size` samples, in the order of `Reader.batches`, over `epochs` epochs.

    Element n is batch n of this rank: shuffle, split and share nothing in Grain. Read few ahead,
    each element being a batch: ReadOptions(num_threads=2, prefetch_buffer_size=4).

    state:   where to begin, as `state_at` or `Batches.state_dict` said, also on other ranks.
    options: as for `Reader.batches`; padded, scale and crop too.
    """

    def __init__(
        self,
        source: Any,
        size: int,
        *,
        epochs: int = 1,
        state: Mapping[str, Any] | None = None,
        padded: Padded | None = None,
        scale: Mapping[str, tuple[float, float]] | None = None,
        crop: Mapping[str, int] | None = None,
        **options: Any,
    ) -> None:
        if epochs < 1:
            raise ValueError(f"epochs {epochs} must be 1 or more")
        if "out" in options:
            raise ValueError("out= is not for GrainBatches: Grain holds several batches at a time")
        batches = source.batches(size, padded=padded, scale=scale, crop=crop, **options)
        if state is not None:
            batches.load_state_dict(state)
        self._state = batches.state_dict()
        at = {"epoch": self._state["epoch"], "start": self._state["delivered"]}
        self.source, self._names, self._rows = source, batches.names, batches.rows
        self._first = replace(batches.order, **at)  # of the first epoch, from where it begins
        self._whole = replace(batches.order, start=0)
        self._convert: Convert | None = batches.convert
        self._epochs = epochs

    def __repr__(self) -> str:
        """Stable, and another where the batches would be others."""
        o, at = self._first, tuple(self._state.values())
        convert = self._convert or Convert()
        how = {"padded": self._rows, "scale": convert.scale, "crop": convert.crop}
        return (
            f"GrainBatches({self.source!r}, {o.batch}, fields={self._names}, epochs={self._epochs},"
            f" rank={o.rank}, ranks={o.ranks}, end={o.end!r}, state={at}, {how})"
        )

    def __len__(self) -> int:
        """The batches of all epochs."""
        return self._first.steps + (self._epochs - 1) * self._whole.steps

    def __getitem__(self, index: Any) -> Batch:
        """Batch `index`. Raises IndexError behind the last, StoreError for what is damaged.

        Of a store that is followed, it waits until its samples are made.
        """
        order, step = self._step(_checked(index, len(self), self))
        convert = None if self._convert is None else replace(self._convert, epoch=order.epoch)
        indices, follows = order.indices(step), getattr(self.source, "follow", False)
        if follows:
            pending = self.source.begin_made(indices, self._names, None, convert)
        else:
            pending = self.source.begin(self.source.checked(indices), self._names, None, convert)
        batch = finished(pending.result(), self._rows, convert)
        return batch | {"padded": order.padded(step)} if order.end == "pad" else batch

    def state_at(self, index: int) -> dict[str, Any]:
        """The state when the elements before `index` were had by all ranks: for `state=`.

        Grain's own state, "next_index", fits the same source only.
        """
        if index == len(self):
            return self._state | {"epoch": self._first.epoch + self._epochs, "delivered": 0}
        order, step = self._step(_checked(index, len(self), self))
        return self._state | {"epoch": order.epoch, "delivered": order.delivered(step)}

    def _step(self, index: int) -> tuple[Any, int]:
        """The order of the epoch of element `index`, and its step there."""
        if index < self._first.steps:
            return self._first, index
        epoch, step = divmod(index - self._first.steps, self._whole.steps)
        return replace(self._whole, epoch=self._first.epoch + 1 + epoch), step


def _checked(index: Any, count: int, what: Any) -> int:
    number = as_int(index)
    if not 0 <= number < count:
        raise IndexError(f"{number} is not in [0, {count}) of {what!r}")
    return number
