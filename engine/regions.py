"""Anatomical regions of one film: those that a user gives; the others derived from the lungs."""

import zipfile
from collections.abc import Iterator, Mapping
from functools import cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.errors import SourceError
from voxelmill.engine.nearest import did_you_mean
from voxelmill.engine.pictures import Mask, check_picture, decode_region, read_file, resize_mask

Packed = tuple[NDArray[np.uint8], NDArray[np.int64]]  # bits (y, x / 8), foreground before each row


@cache
def _meaning(names: tuple[str, ...]) -> frozenset[str]:
    """The region names that a stack of `names` gives; SourceError for one that has no meaning."""
    from voxelmill.engine.anatomy import from_stack

    return frozenset(from_stack(names, np.ones((len(names), 2, 2), bool)))


def check_stack(path: Path, shape: tuple[int, int]) -> tuple[frozenset[str], str]:
    """(region names, digest) of a stack for a film of `shape`; decodes no mask.

    path: an NPZ with `names` (region) and `masks` (region, y, x), or with bits packed along x,
    `masks` (region, y, ceil(x / 8)) and `shape` (y, x); or a folder of <region>.png.
    Raises SourceError where it cannot be read, has another shape, or a name is unknown or double.
    """
    if path.is_dir():
        files = {file.stem: read_file(file) for file in sorted(path.glob("*.png"))}
        shapes = {name: check_picture(data, path / name) for name, data in files.items()}
        names = tuple(files)
        parts = [(name, sha256(data).hexdigest()) for name, data in files.items()]
        digest = sha256(repr(parts).encode()).hexdigest()
    else:
        data = read_file(path)
        names, stack_shape = _header(data, path)
        shapes, digest = dict.fromkeys(names, stack_shape), sha256(data).hexdigest()
    if not names:
        raise SourceError(f"{path}: no regions in it")
    if len(set(names)) < len(names):
        double = sorted({name for name in names if names.count(name) > 1})
        raise SourceError(f"{path}: regions given twice: {', '.join(double)}")
    wrong = {name: s for name, s in shapes.items() if s != shape}
    if wrong:
        name, other = next(iter(wrong.items()))
        raise SourceError(f"{path}: region {name!r} is {other} (y, x), its film {shape}")
    try:
        return _meaning(names), digest
    except SourceError as error:
        raise SourceError(f"{path}: {error}") from error


def _header(data: bytes, path: Path) -> tuple[tuple[str, ...], tuple[int, int]]:
    """Names and (y, x) of an NPZ stack, from the header of its masks."""
    try:
        with np.load(BytesIO(data), allow_pickle=False) as stack:
            missing = {"names", "masks"} - set(stack.files)
            if missing:
                raise SourceError(f"{path}: no array {' and '.join(sorted(missing))} in this NPZ")
            names = tuple(str(name) for name in stack["names"].ravel())
            packed = stack["shape"] if "shape" in stack.files else None
        with zipfile.ZipFile(BytesIO(data)).open("masks.npy") as member:
            old = np.lib.format.read_magic(member) == (1, 0)
            read = (
                np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
            )
            full, _, dtype = read(member)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"{path}: not a readable NPZ: {error}") from error
    if len(full) != 3 or full[0] != len(names) or dtype not in (np.dtype(bool), np.dtype("u1")):
        raise SourceError(
            f"{path}: masks are {dtype} {full}; {len(names)} names need bool or uint8 "
            f"({len(names)}, y, x)"
        )
    if packed is None:
        return names, (full[1], full[2])
    y, x = (int(n) for n in packed)
    if full[1:] != (y, -(-x // 8)):
        raise SourceError(f"{path}: packed masks {full} do not hold shape {(y, x)}")
    return names, (y, x)


def read_stack(path: Path) -> dict[str, Mask]:
    """All regions (y, x) of a stack that `check_stack` passed."""
    from voxelmill.engine.anatomy import from_stack

    if path.is_dir():
        files = sorted(path.glob("*.png"))
        return from_stack(
            [f.stem for f in files], np.stack([decode_region(read_file(f), f) for f in files])
        )
    with np.load(BytesIO(read_file(path)), allow_pickle=False) as stack:
        masks = stack["masks"]
        if "shape" in stack.files:
            masks = np.unpackbits(masks, axis=-1, count=int(stack["shape"][1]))
        return from_stack([str(name) for name in stack["names"].ravel()], masks != 0)


class Regions(Mapping[str, Mask]):
    """Masks (size, size) by name, made when asked for and kept as bits.

    `given` are the names that `stack` holds; the other REGIONS are derived from the lungs, and so
    is one that is empty in the stack. An unknown name raises SourceError with the nearest one.
    """

    def __init__(self, film: str, lungs: Mask, stack: Path | None, given: frozenset[str]) -> None:
        """film: its id, for messages. lungs: (size, size)."""
        from voxelmill.engine.anatomy import REGIONS

        self._film, self._size, self._stack = film, len(lungs), stack
        self._lungs = np.packbits(lungs, axis=1)
        self._names = tuple(REGIONS) + tuple(sorted(given - set(REGIONS)))
        self._given, self._derivable = given, frozenset(REGIONS)
        self._packed: dict[str, Packed] = {}
        self._empty: set[str] = set()
        self._loaded = False

    def __getitem__(self, name: str) -> Mask:
        """The mask of a region, (size, size) bool."""
        return np.unpackbits(self.packed(name)[0], axis=1, count=self._size).view(bool)

    def __iter__(self) -> Iterator[str]:
        """The names there are."""
        return iter(self._names)

    def __len__(self) -> int:
        """How many names there are."""
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        """Whether there is such a name; makes no mask."""
        return name in self._names

    @property
    def nbytes(self) -> int:
        """Bytes that the regions take once all REGIONS and a few others were asked for."""
        return 16 * self._size * (self._size // 8 + 9)

    @property
    def derived(self) -> frozenset[str]:
        """Names whose masks are derived from the lungs; reads the stack if there is one."""
        if self._given and not self._loaded:
            self._load(None)
        return self._derivable - (self._given - self._empty)

    def packed(self, name: str) -> Packed:
        """Bits of the mask (y, x / 8), and how many pixels lie before each row and in all."""
        if name not in self._packed:
            self._make(name)
        return self._packed[name]

    def _make(self, name: str) -> None:
        if name not in self._names:
            hint = did_you_mean(name, self._names)
            raise SourceError(f"film {self._film}: unknown region {name!r}{hint}")
        if name in self._given:
            self._load(name)
        if name not in self._packed and name in self._derivable:
            self._derive()
        if name not in self._packed:
            raise SourceError(
                f"film {self._film}: region {name!r} is empty in {self._stack}; leave the film "
                "out or take another region"
            )

    def _load(self, wanted: str | None) -> None:
        """Take `wanted` and all REGIONS from the stack; a whole stack would fill the memory."""
        if self._stack is None:
            return
        self._loaded = True
        for name, mask in read_stack(self._stack).items():
            if name == wanted or name in self._derivable:
                small = resize_mask(mask, self._size)
                if small.any():
                    self._packed.setdefault(name, _pack(small))
                else:
                    self._empty.add(name)

    def _derive(self) -> None:
        from voxelmill.engine.anatomy import derive

        lungs = np.unpackbits(self._lungs, axis=1, count=self._size).view(bool)
        try:
            made = derive(lungs)
        except SourceError as error:
            raise SourceError(f"film {self._film}: {error}") from error
        for name, mask in made.items():
            if name not in self._given or name in self._empty:
                self._packed.setdefault(name, _pack(mask))


def _pack(mask: Mask) -> Packed:
    return np.packbits(mask, axis=1), np.concatenate([[0], np.cumsum(mask.sum(1))])
