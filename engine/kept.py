"""What was read or made and may be asked for again, within a bound of bytes."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """What says how many bytes it takes in memory."""

    @property
    def nbytes(self) -> int:
        """Bytes in memory; they do not change."""


V = TypeVar("V", bound=Sized)


class Kept(Generic[V]):
    """Values by key, bounded in bytes: the longest unused goes first, but never the latest."""

    def __init__(self, most_bytes: int) -> None:
        self.nbytes, self.most_bytes = 0, most_bytes
        self._kept: OrderedDict[Hashable, V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> V | None:
        """What was put, if it is still there."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def put(self, key: Hashable, value: V) -> V:
        """Keep `value`, which must not be a view of something larger, and return it."""
        with self._lock:
            old = self._kept.pop(key, None)
            self.nbytes += value.nbytes - (0 if old is None else old.nbytes)
            self._kept[key] = value
            while self.nbytes > self.most_bytes and len(self._kept) > 1:
                self.nbytes -= self._kept.popitem(last=False)[1].nbytes
            return value
