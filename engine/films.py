"""Opened chest films: decoded when asked for, kept in a cache of bounded bytes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.errors import SourceError
from voxelmill.engine.kept import Kept
from voxelmill.engine.nearest import did_you_mean
from voxelmill.engine.pictures import (
    Grey,
    decode_cutout,
    decode_grey,
    decode_lungs,
    read_file,
    resize_grey,
    resize_mask,
)
from voxelmill.engine.regions import Regions, read_stack
from voxelmill.engine.sample import Field, Ragged

CACHE_BYTES = 256 * 2**20  # 400 films of 512 x 512 with their regions
HELD_BYTES_A_PIXEL = 3.3  # of a film that is kept decoded, with its regions


@dataclass(frozen=True)
class Source:
    """Where a film comes from. `devices`: whether it shows devices or implants; None: unknown."""

    id: str
    image: Path
    mask: Path
    subject: str
    view: str = ""
    devices: bool | None = None
    source: str = ""
    stack: Path | None = None
    region_names: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Film:
    """A film at the size of the samples: `image` (size, size) uint8, regions by name."""

    id: str
    image: Grey
    regions: Regions

    @property
    def derived(self) -> frozenset[str]:
        """Names of the regions that were derived from the lungs and not given."""
        return self.regions.derived

    def pick(self, name: str, u: float) -> tuple[int, int]:
        """(y, x) of pixel floor(u * n) of the n of a region, row by row: even over it for u even.

        u is in [0, 1). Raises SourceError for a name that there is not.
        """
        bits, before = self.regions.packed(name)
        n = int(before[-1])
        k = min(int(u * n), n - 1)
        y = int(np.searchsorted(before, k, side="right")) - 1
        inside = np.flatnonzero(np.unpackbits(bits[y]))
        return y, int(inside[k - int(before[y])])

    @property
    def nbytes(self) -> int:
        """Bytes in memory, with the regions that will be made."""
        return self.image.nbytes + self.regions.nbytes


class Films:
    """Films by number, in the order of their ids. Pickles as its list, without what was decoded."""

    noun = "film"

    def __init__(
        self,
        sources: Sequence[Source],
        donors: Sequence[Path],
        digest: str,
        skipped: Sequence[str] = (),
        notes: Sequence[str] = (),
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        """skipped: a line for each input that is left out as bad. notes: what else to tell."""
        self.sources, self.donor_files, self.digest = tuple(sources), tuple(donors), digest
        self.skipped, self.notes, self.cache_bytes = list(skipped), list(notes), cache_bytes
        self._kept: Kept[Film] = Kept(cache_bytes)

    def __reduce__(self) -> tuple[Any, ...]:
        """As its list of files: another process opens no more than it draws."""
        return Films, (
            self.sources,
            self.donor_files,
            self.digest,
            self.skipped,
            self.notes,
            self.cache_bytes,
        )

    def __len__(self) -> int:
        """How many films there are."""
        return len(self.sources)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Their ids, ascending."""
        return tuple(s.id for s in self.sources)

    @cached_property
    def subjects(self) -> tuple[str, ...]:
        """Whose films they are."""
        return tuple(s.subject for s in self.sources)

    @cached_property
    def devices(self) -> NDArray[np.float64]:
        """1 where they are known to show devices or implants, 0 where not, NaN where unknown."""
        return np.array([np.nan if s.devices is None else s.devices for s in self.sources], float)

    def table(self) -> dict[str, list[Any]]:
        """What a store records of them: columns id, subject, view, devices, source; no path."""
        names = ("id", "subject", "view", "devices", "source")
        return {name: [getattr(s, name) for s in self.sources] for name in names}

    def film(self, i: int, size: int) -> Film:
        """Film `i` at (size, size), from the cache or decoded; any thread may ask."""
        key = (i, size)
        return self._kept.get(key) or self._kept.put(key, _decode(self.sources[i], size))

    def held_bytes(self, fields: Sequence[Field | Ragged]) -> int:
        """The most that is kept of them for samples of `fields`."""
        pixels = max((prod(f.shape) for f in fields if isinstance(f, Field)), default=0)
        return min(int(len(self) * HELD_BYTES_A_PIXEL * pixels), self.cache_bytes)

    @cached_property
    def donors(self) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """(grey in 0..255, alpha in 0..1), both (y, x), of each donor; sizes differ.

        Grey goes on beyond the alpha, so that an edge that is grown or softened is not black.
        """
        from voxelmill.kernels.cutout import extend_grey

        pairs = (decode_cutout(read_file(path), path) for path in self.donor_files)
        return [(extend_grey(grey, alpha), alpha) for grey, alpha in pairs]

    def require(self, names: Iterable[str]) -> None:
        """Raise one SourceError with all films that lack one of the regions `names`.

        Call it before work starts. One of REGIONS is never lacking: it can be derived; of others
        the masks are read to see that they are not empty.
        """
        from voxelmill.engine.anatomy import REGIONS

        lacking: list[str] = []
        everywhere = {name for s in self.sources for name in s.region_names} | set(REGIONS)
        for name in dict.fromkeys(names):
            if name not in everywhere:
                lacking.append(f"unknown region {name!r}{did_you_mean(name, sorted(everywhere))}")
                continue
            without = [] if name in REGIONS else [s for s in self.sources if not _holds(s, name)]
            lacking += [f"film {s.id}: no region {name!r} in {s.stack}" for s in without]
        if lacking:
            raise SourceError("\n  ".join(["regions that are wanted are not there:", *lacking]))


def _holds(source: Source, name: str) -> bool:
    """Whether the stack of a film has a region that is not empty."""
    if source.stack is None or name not in source.region_names:
        return False
    return bool(read_stack(source.stack)[name].any())


def _decode(source: Source, size: int) -> Film:
    image = resize_grey(decode_grey(read_file(source.image), source.image), size)
    lungs = resize_mask(decode_lungs(read_file(source.mask), source.mask), size)
    return Film(source.id, image, Regions(source.id, lungs, source.stack, source.region_names))
