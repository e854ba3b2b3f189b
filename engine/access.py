"""How the arrays of a store are read: straight from files of this machine, or by TensorStore.

Both give the same batches. `open_access` takes the first way if it can: the store is a folder, and
its arrays are packed as voxelmill packs them.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.convert import Convert
from voxelmill.engine.description import Description
from voxelmill.engine.errors import StoreError
from voxelmill.engine.layout import array_metadata
from voxelmill.engine.local import LocalArrays
from voxelmill.engine.location import Location
from voxelmill.engine.nearest import did_you_mean

__all__ = ["Access", "Check", "Convert", "Pending", "Way", "open_access", "refuse_options"]

Way = Literal["auto", "mmap", "preadv", "tensorstore"]
Check = Literal["first", "always", "never"]
Buffers = Mapping[str, NDArray[Any]]
REMOTE = (
    "cache",
    "cache_bytes",
    "whole_shards",
    "in_flight_bytes",
    "timeout_s",
    "requests_at_once",
)


class Pending(Protocol):
    """A batch under way."""

    def result(self) -> dict[str, Any]:
        """Wait: arrays (sample, ...) by name, `Rows` of ragged fields, and "index".

        Raises StoreError that names file, shard and cure.
        """


class Access(Protocol):
    """The arrays of one store."""

    def start(
        self,
        indices: NDArray[np.int64],
        names: Sequence[str],
        out: Buffers | None = None,
        convert: Convert | None = None,
    ) -> Pending:
        """Begin to read samples; `indices` and `names` were checked before.

        out: arrays (sample, *shape) by name that are filled in place.
        """

    def column(self, first: int, last: int, number: int) -> NDArray[np.float64]:
        """Column `number` of `params` of the samples `first` to `last`, the last not in."""


def open_access(
    place: str | Path | Location,
    description: Description,
    *,
    way: Way = "auto",
    check: Check = "first",
    threads: int | None = None,
    **remote: Any,
) -> Access:
    """The arrays of the store at `place`.

    way: "preadv" and "mmap" read files of this machine; "auto" is preadv where it can be, and
        else "tensorstore". check, threads: see `LocalArrays`; TensorStore checks always.
    remote: for TensorStore, see `open_remote` of `engine.cached`.
    Raises StoreError if the arrays are missing, or cannot be read in the way asked for.
    """
    location = place if isinstance(place, Location) else Location(place)
    if way not in ("auto", "mmap", "preadv", "tensorstore"):
        raise ValueError(f"way {way!r} is none of auto, mmap, preadv, tensorstore")
    if way != "tensorstore":
        why = _why_not(location, description)
        if not why:
            files = "preadv" if way == "auto" else way
            return LocalArrays(location.path, description, way=files, check=check, threads=threads)
        if way != "auto":
            raise StoreError(f'{location}: {why}; way={way!r} cannot read it, "auto" can')
    from voxelmill.engine.through import StoreArrays

    return StoreArrays(location, description, **remote)


def refuse_options(options: Mapping[str, Any], others: Sequence[str] = ()) -> None:
    """Raise TypeError or ValueError for options that would only fail with the first sample.

    others: what else the caller takes, for the nearest right word.
    """
    known = ("way", "check", "threads", *REMOTE)
    for name in options:
        if name not in known:
            raise TypeError(f"there is no option {name!r}{did_you_mean(name, [*known, *others])}")
    for name, words in (("way", get_args(Way)), ("check", get_args(Check))):
        if name in options and options[name] not in words:
            raise ValueError(f"{name}={options[name]!r} is not one of {', '.join(words)}")
    for name in ("threads", "requests_at_once", "in_flight_bytes", "cache_bytes"):
        if (number := options.get(name)) is not None and number < 1:
            raise ValueError(f"{name}={number} must be 1 or more")
    if (seconds := options.get("timeout_s")) is not None and seconds <= 0:
        raise ValueError(f"timeout_s={seconds} must be above 0")
    cache, bound = options.get("cache"), options.get("cache_bytes")
    if (cache is None) != (bound is None) or (cache is None and options.get("whole_shards")):
        raise ValueError(
            "a cache, which whole_shards needs too, is a folder and a bound in bytes, not "
            f"cache={cache!r} and cache_bytes={bound}"
        )


def _why_not(location: Location, description: Description) -> str:
    """Why the files cannot be read straight; "" if they can."""
    if not location.is_local:
        return "it is not a folder of this machine"
    if sys.byteorder != "little":
        return "its numbers are little-endian, and this machine's are not"
    for name, due in array_metadata(description).items():
        file = location.path / name / "zarr.json"
        try:
            found = json.loads(file.read_bytes())
            same = all(found[key] == due[key] for key in ("data_type", "chunk_grid", "codecs"))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{file} is missing or damaged; run `voxelmill check {location}`, then the same "
                f"`voxelmill make` again ({error})"
            ) from error
        if not same or found.get("chunk_key_encoding", {}).get("name") != "default":
            return f"{file} packs its samples otherwise than voxelmill does"
    return ""
