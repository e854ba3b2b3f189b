"""Batches as JAX arrays, put on the devices ahead of the step that needs them."""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.batches import Batch, Batches
from voxelmill.engine.sample import Rows

__all__ = ["JaxBatches", "jax_batches"]

HOST = ("index", "store")  # what stays in NumPy: JAX would cut int64 to 32 bits


def jax_batches(
    batches: Any, sharding: jax.sharding.Sharding | Any = None, ahead: int = 2
) -> "JaxBatches":
    """The batches of `batches` as dicts of JAX arrays, with `ahead` more on their way.

    batches:  of one rank, as `Reader.batches` gives them; with several processes
              `rank=jax.process_index(), ranks=jax.process_count()`.
    sharding: what `jax.device_put` takes: a device, or a sharding, as NamedSharding(mesh,
              PartitionSpec("data")), of the whole batch, sample axis first. With several processes
              each gives its part, and a batch has the samples of all of them.

    "index" (and "store") stay NumPy arrays of this process; float64, as "params", becomes float32
    unless jax_enable_x64 is set. Ragged fields are `Rows` of arrays whose length differs from
    batch to batch, so that a compiled step compiles anew: ask for them padded. They cannot be
    sharded (ValueError).
    """
    return JaxBatches(batches, sharding, ahead)


class JaxBatches(Iterator[Batch]):
    """See `jax_batches`. Its position counts what was handed over, not what is on its way."""

    def __init__(self, batches: Any, sharding: Any = None, ahead: int = 2) -> None:
        if ahead < 0:
            raise ValueError(f"ahead {ahead} must be 0 or more")
        self._batches, self._sharding, self._ahead = batches, sharding, ahead
        self._queue: deque[tuple[Batch, Any]] = deque()
        self._source: Iterator[Batch] | None = None
        self._error: Exception | None = None
        self._at = self._position()

    def __iter__(self) -> "JaxBatches":
        """Itself; behind a whole epoch, also if its end was not met, the next."""
        if not self._queue and self._at.get("delivered") == 0:
            self.load_state_dict(self._at)
        return self

    def __len__(self) -> int:
        """The batches of one whole epoch."""
        return len(self._batches)

    def __next__(self) -> Batch:
        """The next batch. An error of reading comes where its batch would have come."""
        self._fill()
        if not self._queue:
            self._source, error, self._error = None, self._error, None
            if error is not None and not isinstance(error, StopIteration):
                self._go_back()
            raise error or StopIteration
        batch, self._at = self._queue.popleft()
        return batch

    def state_dict(self) -> dict[str, Any]:
        """As `Batches.state_dict`: behind the batch that was handed over last."""
        return dict(self._at)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken; see `Batches.load_state_dict`."""
        self._batches.load_state_dict(state)
        self._forget()

    def set_epoch(self, epoch: int) -> None:
        """Begin with `epoch`; in that epoch already, stay."""
        if epoch != self._at.get("epoch"):
            self._go_back()
            self._batches.set_epoch(epoch)
            self._forget()

    def _go_back(self) -> None:
        """Let the batches stand where this stands: what was taken ahead is not lost by it."""
        if self._at:
            self._batches.load_state_dict(self._at)

    def _forget(self) -> None:
        self._queue.clear()
        self._source = self._error = None
        self._at = self._position()

    def _position(self) -> dict[str, Any]:
        return self._batches.state_dict() if hasattr(self._batches, "state_dict") else {}

    def _fill(self) -> None:
        """Have the next batch and `ahead` more on their way, up to the end or an error."""
        if self._source is None:
            self._source = iter(self._batches)
        while len(self._queue) <= self._ahead and self._error is None:
            try:
                batch = next(self._source)
                self._queue.append((self._put(batch), self._position()))
            except Exception as error:  # noqa: BLE001 - it is raised in its turn
                self._error = error

    def _put(self, batch: Batch) -> Batch:
        return {k: v if k in HOST else self._put_field(k, v) for k, v in batch.items()}

    def _put_field(self, name: str, value: Any) -> Any:
        if not isinstance(value, Rows):
            return self._put_array(name, value)
        if isinstance(self._sharding, jax.sharding.Sharding) and not (
            self._sharding.is_fully_replicated and jax.process_count() == 1
        ):
            raise ValueError(
                f"{name!r} is ragged and has no sample axis to shard: ask for padded={{{name!r}: "
                "rows}, or leave it out of fields="
            )
        parts: list[Any] = [self._put_array(name, part) for part in value]
        return Rows(*parts)

    def _put_array(self, name: str, value: NDArray[Any]) -> jax.Array:
        """`value` on the devices. The memory that it was in is free for another batch then."""
        lent = not isinstance(self._batches, Batches) or value.base is not None
        if lent and _on_cpu(self._sharding):
            value = np.array(value)  # JAX may keep the memory of what it is given there
        if isinstance(self._sharding, jax.sharding.Sharding):
            make: Any = jax.make_array_from_process_local_data
            array = make(self._sharding, value)
            self._refuse_repeated(name, value, array)
        else:
            array = jax.device_put(value, self._sharding)
        return array.block_until_ready() if lent else array

    def _refuse_repeated(self, name: str, value: NDArray[Any], array: jax.Array) -> None:
        ranks = getattr(getattr(self._batches, "order", None), "ranks", None)
        if jax.process_count() > 1 and ranks and array.shape[0] != ranks * len(value):
            raise ValueError(
                f"{name!r}: the batches are those of one rank of {ranks}, of {len(value)} samples, "
                f"but the sharding makes {array.shape[0]} of them: pass rank= and ranks= as the "
                "processes share the sample axis, as rank=jax.process_index(), "
                "ranks=jax.process_count()"
            )


def _on_cpu(where: Any) -> bool:
    if where is None:
        return jax.default_backend() == "cpu"
    devices = where.device_set if isinstance(where, jax.sharding.Sharding) else [where]
    return any(d.platform == "cpu" for d in devices)
