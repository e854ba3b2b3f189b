"""Crops and scaling done while a sample is copied into its batch.

Where a sample is cropped is a function of (seed, epoch, sample, axis) alone: not of the batch, of
the rank, or of what was read before.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.draw import name_code, philox
from voxelmill.engine.nearest import did_you_mean
from voxelmill.engine.sample import Field, Ragged

Put = Callable[[NDArray[Any], NDArray[Any], int], None]  # (whole sample, its place, its number)


@dataclass(frozen=True)
class Convert:
    """What becomes of samples on their way into a batch.

    scale: field -> (factor, offset): value x factor + offset in float32; `(1 / 255, 0)` takes
        bytes to 0..1.
    crop: axis -> size: a window at a place drawn for each sample and epoch, the same in all
        fields that have the axis; other axes stay whole. Rows of ragged fields stay as they are.
    sizes: axis -> how long it is whole, which `sized` fills in for `offsets`.
    """

    scale: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    crop: Mapping[str, int] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0
    epoch: int = 0

    def refuse_bad(self, fields: Sequence[Field | Ragged]) -> None:
        """Raise ValueError for a field or an axis that is not there, or is too small.

        Raises TypeError as `refuse_forms`.
        """
        dense = {f.name: f for f in fields if isinstance(f, Field)}
        sizes = _sizes(fields)
        refuse_forms(self.scale, self.crop)
        for name in self.scale:
            if name not in dense:
                raise ValueError(f"{name!r} cannot be scaled{did_you_mean(name, dense)}")
        for axis, size in self.crop.items():
            if axis not in sizes:
                raise ValueError(f"there is no axis {axis!r} to crop; axes are {', '.join(sizes)}")
            if not 1 <= size <= sizes[axis]:
                raise ValueError(f"a crop of {size} along {axis} is not in 1..{sizes[axis]}")

    def sized(self, fields: Sequence[Field | Ragged], names: Sequence[str]) -> "Convert":
        """This for reading `names` of `fields`, knowing how long the axes are that it crops.

        Raises ValueError as `refuse_bad`, and where a field takes the name of the offsets.
        """
        self.refuse_bad(fields)
        if self.crop and "crop" in names:
            raise ValueError("a field called 'crop' cannot be read cropped: the offsets are 'crop'")
        return replace(self, sizes=_sizes(fields))

    def offsets(self, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the crops of `samples` begin: (sample, axis) int64, the axes as in `crop`."""
        starts = [self._starts(axis, self.sizes[axis], samples) for axis in self.crop]
        return np.array(starts, np.int64).reshape(len(starts), len(samples)).T.copy()

    def changes(self, f: Field) -> bool:
        """Whether anything is done to `f`."""
        return f.name in self.scale or any(axis in self.crop for axis in f.axes)

    def shape(self, f: Field) -> tuple[int, ...]:
        """The shape of a sample of `f` in a batch."""
        return tuple(self.crop.get(a, n) for a, n in zip(f.axes, f.shape, strict=True))

    def dtype(self, f: Field) -> np.dtype[Any]:
        """The type of `f` in a batch."""
        return np.dtype(np.float32 if f.name in self.scale else f.dtype)

    def put(self, f: Field, samples: NDArray[np.int64]) -> Put:
        """What writes samples of `f` to their places; `samples` are those that may come."""
        starts = {a: self._starts(a, n, samples) for a, n in self._cropped(f)}
        windows = {
            sample: tuple(
                slice(starts[a][i], starts[a][i] + self.crop[a]) if a in starts else slice(None)
                for a in f.axes
            )
            for i, sample in enumerate(samples.tolist())
        }
        if f.name not in self.scale:
            return lambda whole, place, sample: np.copyto(place, whole[windows[sample]])
        factor, offset = (np.float32(v) for v in self.scale[f.name])

        def scaled(whole: NDArray[Any], place: NDArray[Any], sample: int) -> None:
            source = whole[windows[sample]]
            np.multiply(source, factor, out=place, dtype=np.float32, casting="unsafe")
            if offset:
                np.add(place, offset, out=place)

        return scaled

    def _cropped(self, f: Field) -> list[tuple[str, int]]:
        pairs = zip(f.axes, f.shape, strict=True)
        return [(axis, size) for axis, size in pairs if axis in self.crop]

    def _starts(self, axis: str, size: int, samples: NDArray[np.int64]) -> list[int]:
        """Where the windows of `samples` begin along `axis`: uniform over all that fit."""
        low = np.uint64(0xFFFFFFFF)
        counter = np.empty((len(samples), 4), np.uint32)
        counter[:, 0], counter[:, 1] = self.epoch & 0xFFFFFFFF, name_code(f"crop of {axis}")
        numbers = samples.astype(np.uint64)
        counter[:, 2], counter[:, 3] = numbers & low, numbers >> np.uint64(32)
        words = philox(counter, (self.seed & 0xFFFFFFFF, self.seed >> 32 & 0xFFFFFFFF))[:, 0]
        room = np.uint64(size - self.crop[axis] + 1)
        starts: list[int] = ((words.astype(np.uint64) * room) >> np.uint64(32)).tolist()
        return starts


def refuse_forms(scale: Any, crop: Any) -> None:
    """Raise TypeError unless these are {field: (factor, offset)} and {axis: size}."""
    if not isinstance(scale, Mapping):
        cure = 'write {"image": (1 / 255, 0)}'
        raise TypeError(f"scale is a factor and an offset by field, not {scale!r}: {cure}")
    for name, pair in scale.items():
        numbers = list(pair) if isinstance(pair, Iterable) else []
        if len(numbers) != 2 or not all(isinstance(v, Real) for v in numbers):
            factor = pair if isinstance(pair, Real) else "1 / 255"
            raise TypeError(
                f"scale[{name!r}] is a factor and an offset, not {pair!r}: write ({factor}, 0)"
            )
    if not isinstance(crop, Mapping):
        raise TypeError(f'crop is a size by axis, not {crop!r}: write {{"y": 256, "x": 256}}')
    for axis, size in crop.items():
        if not isinstance(size, Integral):
            raise TypeError(f"crop[{axis!r}] is a whole number of voxels, not {size!r}")


def _sizes(fields: Sequence[Field | Ragged]) -> dict[str, int]:
    """How long each axis is; it is equally long in all fields of a store."""
    dense = (f for f in fields if isinstance(f, Field))
    return {a: n for f in dense for a, n in zip(f.axes, f.shape, strict=True)}
