"""PNG and JPEG films and their masks: checked whole, decoded, made square and resized."""

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.errors import SourceError

SUFFIXES = (".png", ".jpg", ".jpeg")
LUNG, DEVICE = 255, 127  # values of a lung mask; a large device is no lung, and 0 is background
_BROKEN = (OSError, ValueError, SyntaxError, EOFError, zlib.error, struct.error)
_DEPTHS = (8, 10, 12, 14, 16)

Grey = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def read_file(path: Path) -> bytes:
    """The bytes of a file; SourceError says which one is missing, unreadable or empty."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not data:
        raise SourceError(f"{path}: an empty file")
    return data


def _open(data: bytes, path: Path) -> Any:
    from PIL import Image

    try:
        return Image.open(BytesIO(data), formats=("PNG", "JPEG"))
    except (*_BROKEN, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        reason = str(error).replace("cannot identify image file", "not a PNG or JPEG")
        raise SourceError(f"{path}: unreadable: {reason.split(' <_io')[0]}") from error


def check_picture(data: bytes, path: Path) -> tuple[int, int]:
    """(y, x) of a picture whose file is whole: checksums of a PNG, a coarse decode of a JPEG."""
    picture = _open(data, path)
    shape: tuple[int, int] = picture.size[::-1]
    try:
        if picture.format == "PNG":
            picture.verify()
        else:
            picture.draft("L", (1, 1))
            picture.load()
    except _BROKEN as error:
        raise SourceError(f"{path}: truncated or damaged: {error}") from error
    return shape


def _array(data: bytes, path: Path, mode: str | None) -> NDArray[Any]:
    picture = _open(data, path)
    try:
        return np.asarray(picture.convert(mode) if mode else picture)
    except _BROKEN as error:
        raise SourceError(f"{path}: truncated or damaged: {error}") from error


def decode_grey(data: bytes, path: Path) -> Grey:
    """The film as (y, x) uint8; colour becomes luma (ITU-R 601).

    16-bit greys v become v * 255 / (2^b - 1), with b the smallest of 8, 10, 12, 14 and 16 bits that
    hold the film's highest value: 12-bit films often come in 16-bit files.
    """
    if not _open(data, path).mode.startswith("I"):
        return _array(data, path, "L")
    values = _array(data, path, None).astype(np.int64)
    bits = next(b for b in _DEPTHS if int(values.max()) < 2**b or b == _DEPTHS[-1])
    top = 2**bits - 1
    return ((values.clip(0, top) * 510 + top) // (2 * top)).astype(np.uint8)


def decode_lungs(data: bytes, path: Path) -> Mask:
    """Where a mask (y, x) says lung; SourceError where a value has no meaning or none is lung."""
    mode = _open(data, path).mode
    if mode not in ("1", "L", "P"):
        raise SourceError(f"{path}: a mask has one 8-bit channel, not mode {mode}")
    values = _array(data, path, "L")
    present = np.flatnonzero(np.bincount(values.ravel(), minlength=256))
    unknown = sorted(set(present.tolist()) - {0, DEVICE, LUNG})
    if unknown:
        shown = ", ".join(map(str, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
        raise SourceError(
            f"{path}: values {shown} of a lung mask have no meaning; they are 0 background, "
            f"{DEVICE} large device, {LUNG} lung"
        )
    if LUNG not in present:
        raise SourceError(f"{path}: a mask with no foreground; lung is {LUNG}")
    return values == LUNG


def decode_region(data: bytes, path: Path) -> Mask:
    """Where a region's picture (y, x) is not 0."""
    return _array(data, path, "L") > 0


def decode_cutout(data: bytes, path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Grey in 0..255 and alpha in 0..1, both (y, x), of a donor with an alpha channel."""
    picture = _open(data, path)
    if "A" not in picture.getbands() and "transparency" not in picture.info:
        raise SourceError(f"{path}: a donor needs an alpha channel; this is mode {picture.mode}")
    pixels = _array(data, path, "RGBA")
    alpha = pixels[..., 3].astype(np.float32) / np.float32(255)
    if not alpha.any():
        raise SourceError(f"{path}: a donor that is transparent everywhere")
    luma = pixels[..., :3].astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return luma.astype(np.float32), alpha


def centre_square(array: NDArray[Any]) -> NDArray[Any]:
    """The largest square in the middle of (y, x)."""
    side = min(array.shape)
    top, left = ((n - side) // 2 for n in array.shape)
    return array[top : top + side, left : left + side]


def resize_grey(film: Grey, size: int) -> Grey:
    """The centre square of a film at (size, size), bicubic with antialiasing."""
    from PIL import Image

    square = np.ascontiguousarray(centre_square(film))
    if square.shape == (size, size):
        return square
    picture = Image.fromarray(square).resize((size, size), Image.Resampling.BICUBIC)
    return np.array(picture)


def resize_mask(mask: Mask, size: int) -> Mask:
    """The centre square of a mask at (size, size): pixels of which at least half is inside.

    A region too small for that keeps every pixel that it touches.
    """
    square = centre_square(mask)
    if square.shape == (size, size):
        return np.array(square)
    share = _shares(_shares(square.astype(np.float64), size).T, size).T
    return share >= 0.5 if (share >= 0.5).any() else share > 1e-9


def _shares(values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Exact means of (row, x) over `size` equal parts of the rows."""
    rows = len(values)
    total = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, 0)])
    edge = np.arange(size + 1) * (rows / size)
    whole = np.minimum(edge.astype(np.int64), rows - 1)
    at_edge = total[whole] + (edge - whole)[:, None] * values[whole]
    return np.diff(at_edge, axis=0) * (size / rows)
