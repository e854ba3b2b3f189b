"""(seed, sample, name) -> numbers: every random number has an address and needs no generator.

Philox 4x32-10 with key = seed and counter = (element, name, index low, index high); a name counts
by its CRC-32. The bulk form for orders is here in NumPy, so that a reader needs no Numba; draws of
single samples call the compiled form of `voxelmill.kernels.philox`, which gives the same bits.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from statistics import NormalDist
from typing import Any, Generic, TypeVar
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

P = TypeVar("P")
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)


def philox(counter: NDArray[np.uint32], key: tuple[int, int]) -> NDArray[np.uint32]:
    """Philox 4x32-10 of each row of `counter` (n, 4) under `key`: (n, 4) uint32.

    Source: Salmon et al., SC 2011.
    """
    x0, x1, x2, x3 = (counter[:, i].astype(np.uint64) for i in range(4))
    k0, k1 = key
    for _ in range(10):
        p0, p1 = x0 * np.uint64(0xD2511F53), x2 * np.uint64(0xCD9E8D57)
        x0, x1 = (p1 >> _32) ^ x1 ^ np.uint64(k0), p1 & _LOW
        x2, x3 = (p0 >> _32) ^ x3 ^ np.uint64(k1), p0 & _LOW
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack([x0, x1, x2, x3], 1).astype(np.uint32)


@cache
def name_code(name: str) -> int:
    """The 32-bit counter word of a name: its CRC-32. A test holds a recipe's names apart."""
    return crc32(name.encode())


@dataclass(frozen=True, slots=True)
class Stream:
    """The randomness of one sample: numbers by name, the same whoever asked before.

    seed and index are in [0, 2**64). Names are literals listed in the recipe's NAMES.
    """

    seed: int
    index: int

    def _address(self, name: str) -> tuple[int, int, int, int, int]:
        low, high = self.index & 0xFFFFFFFF, self.index >> 32
        return name_code(name), low, high, self.seed & 0xFFFFFFFF, self.seed >> 32

    def key(self, name: str) -> tuple[int, int, int, int, int]:
        """The five words by which a kernel draws for this sample: see `kernels.philox`."""
        code, low, high, k0, k1 = self._address(name)
        return k0, k1, code, low, high

    def uniform(self, name: str, count: int = 1, first: int = 0) -> NDArray[np.float64]:
        """`count` numbers in [0, 1) with 32 bits, from number `first` of the name on."""
        from voxelmill.kernels.philox import fill_uniform

        out = np.empty(count)
        fill_uniform(out, first, *self._address(name))
        return out

    def normal(self, name: str, count: int = 1) -> NDArray[np.float32]:
        """`count` standard normals in single precision."""
        from voxelmill.kernels.philox import fill_normal

        out = np.empty(count, np.float32)
        fill_normal(out, *self._address(name))
        return out

    def integers(
        self, name: str, low: int, high: int, count: int = 1, first: int = 0
    ) -> NDArray[np.int64]:
        """`count` integers in [low, high], both ends in, from slot `first` on; span <= 2**32."""
        from voxelmill.kernels.philox import fill_bounded

        if not 0 < high - low + 1 <= 2**32:
            raise ValueError(
                f"{name}: integers in [{low}, {high}] span {high - low + 1}, not 1..2**32"
            )
        out = np.empty(count, np.int64)
        fill_bounded(out, first, high - low + 1, *self._address(name))
        return out + low


@dataclass(frozen=True, slots=True)
class Draw(Generic[P]):
    """What `render` gets of one sample: its drawn parameters and its randomness."""

    params: P
    stream: Stream


# Distributions. Each checks itself when made, and has `draws` (many slots) and `draw` (slot 0).


class Distribution:
    """What all distributions share; they differ in `draws`, and in the bounds they can reach."""

    def draws(self, stream: Stream, name: str, count: int, first: int = 0) -> NDArray[np.float64]:
        """`count` numbers, one a slot, from slot `first` on; a slot is the same at every count."""
        raise NotImplementedError

    def draw(self, stream: Stream, name: str) -> float:
        """The number of slot 0."""
        return float(self.draws(stream, name, 1)[0])

    def bounds(self) -> tuple[float, float]:
        """The least and the greatest number that can come."""
        raise NotImplementedError


@dataclass(frozen=True)
class Fixed(Distribution):
    """Always `value`."""

    value: float

    def draws(self, stream: Stream, name: str, count: int, first: int = 0) -> NDArray[np.float64]:
        return np.full(count, float(self.value))

    def bounds(self) -> tuple[float, float]:
        return self.value, self.value


@dataclass(frozen=True)
class _Interval(Distribution):
    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise ValueError(f"bounds must be finite numbers, not [{self.low}, {self.high}]")
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}; swap them")

    def bounds(self) -> tuple[float, float]:
        return self.low, self.high


@dataclass(frozen=True)
class Uniform(_Interval):
    """Even over [low, high)."""

    def draws(self, stream: Stream, name: str, count: int, first: int = 0) -> NDArray[np.float64]:
        return self.low + (self.high - self.low) * stream.uniform(name, count, first)


@dataclass(frozen=True)
class LogUniform(_Interval):
    """Its logarithm is even over [log low, log high); low > 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low <= 0:
            raise ValueError(f"low {self.low} of a loguniform must be above 0")

    def draws(self, stream: Stream, name: str, count: int, first: int = 0) -> NDArray[np.float64]:
        span = math.log(self.high / self.low)
        return np.array(
            [self.low * math.exp(span * u) for u in stream.uniform(name, count, first).tolist()]
        )


@dataclass(frozen=True)
class Integer(_Interval):
    """A whole number, each of low..high with the same chance, both ends in."""

    low: int
    high: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if int(self.low) != self.low or int(self.high) != self.high:
            raise ValueError(f"[{self.low}, {self.high}] of an integer must be whole numbers")

    def draws(self, stream: Stream, name: str, count: int, first: int = 0) -> NDArray[np.float64]:
        return stream.integers(name, int(self.low), int(self.high), count, first).astype(np.float64)


@dataclass(frozen=True)
class TruncatedNormal(_Interval):
    """Normal with `mean` and `sd`, kept inside [low, high] by its inverse distribution function."""

    mean: float = 0.0
    sd: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sd > 0:
            raise ValueError(f"sd {self.sd} must be above 0")
        if self._tail()[2] - self._tail()[1] < 1e-9:
            raise ValueError(
                f"[{self.low}, {self.high}] is too far from mean {self.mean} at sd {self.sd}: less "
                "than 1e-9 of the normal lies inside"
            )

    def _tail(self) -> tuple[float, float, float]:
        """(sign, from, to) of the probability, in the tail where it keeps its digits."""
        a, b = (self.low - self.mean) / self.sd, (self.high - self.mean) / self.sd
        sign, a, b = (-1.0, -b, -a) if a > 0 else (1.0, a, b)
        return sign, 0.5 * math.erfc(-a / math.sqrt(2)), 0.5 * math.erfc(-b / math.sqrt(2))

    def draws(self, stream: Stream, name: str, count: int, first: int = 0) -> NDArray[np.float64]:
        sign, start, stop = self._tail()
        inverse = NormalDist().inv_cdf
        u = stream.uniform(name, count, first) + 2.0**-33  # never 0, where the inverse has no value
        z = [sign * inverse(start + (stop - start) * v) for v in u.tolist()]
        return np.clip(self.mean + self.sd * np.array(z), self.low, self.high)


@dataclass(frozen=True)
class Choice:
    """One of the keys of `weights`, with chances in proportion to their weights."""

    weights: Mapping[str, float] = field(hash=False)

    def __post_init__(self) -> None:
        bad = {k: w for k, w in self.weights.items() if not (math.isfinite(w) and w >= 0)}
        if bad:
            raise ValueError(f"weights must be finite and not negative: {bad}")
        if not sum(self.weights.values()) > 0:
            raise ValueError("at least one weight must be above 0")

    def draws(self, stream: Stream, name: str, count: int, first: int = 0) -> list[str]:
        """`count` keys, one a slot, from slot `first` on."""
        steps = np.cumsum(list(self.weights.values()))
        place = np.searchsorted(steps, stream.uniform(name, count, first) * steps[-1], side="right")
        last = int(np.flatnonzero(list(self.weights.values()))[-1])  # u * total may round up
        names = list(self.weights)
        return [names[min(int(i), last)] for i in place]

    def draw(self, stream: Stream, name: str) -> str:
        """The key of slot 0."""
        return self.draws(stream, name, 1)[0]


Range = Fixed | Uniform | LogUniform | Integer | TruncatedNormal


def ranged(
    default: Any,
    meaning: str = "",
    *,
    low: float | None = None,
    high: float | None = None,
    unit: str = "1",
    words: tuple[str, ...] | None = None,
) -> Any:
    """A dataclass field of a recipe's Ranges with the bounds that a spec must keep.

    words: what a Choice may hold; those of its default if None, any if empty.
    """
    metadata: dict[str, Any] = {"meaning": meaning, "low": low, "high": high, "unit": unit}
    if words is not None:
        metadata["words"] = words
    if isinstance(default, Distribution | Choice):
        return field(default=default, metadata=metadata)
    if hasattr(default, "__dataclass_fields__"):
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata)
