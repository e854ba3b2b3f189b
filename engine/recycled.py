"""Memory for batches that nobody has to give back.

What is as large as a batch goes back to the system when it is freed, page by page, and comes from
there in zeroed pages: both take longer than to read the batch, the first in the thread that trains.
"""

from abc import abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Forms = Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]
_MOST_IDLE = 4  # blocks of a field; what is given back beyond them is freed


class Fresh(Mapping[str, NDArray[Any]]):
    """Buffers by name that are other memory each time they are asked for, as `forms` says.

    So they are never overwritten while somebody holds an array of them.
    """

    def __init__(self, forms: Forms) -> None:
        self.forms = forms

    @abstractmethod
    def __getitem__(self, name: str) -> NDArray[Any]:
        """A buffer that nobody else holds."""

    def __iter__(self) -> Iterator[str]:
        return iter(self.forms)

    def __len__(self) -> int:
        return len(self.forms)


class Recycled(Fresh):
    """Buffers of memory that was one before, and that nobody holds any more."""

    def __init__(self, forms: Forms) -> None:
        super().__init__(forms)
        self._idle: dict[str, deque[NDArray[Any]]] = {
            name: deque(maxlen=_MOST_IDLE) for name in forms
        }

    def __getitem__(self, name: str) -> NDArray[Any]:
        """A buffer that nobody else holds; with its last array, its memory comes back."""
        idle = self._idle[name]
        try:
            block = idle.pop()
        except IndexError:
            block = np.empty(*self.forms[name])
        return np.asarray(_Lent(block, idle))


class _Lent:
    """What all arrays of a block have as their base."""

    def __init__(self, block: NDArray[Any], idle: deque[NDArray[Any]]) -> None:
        self._block, self._idle = block, idle
        self.__array_interface__ = block.__array_interface__

    def __del__(self) -> None:
        self._idle.append(self._block)
