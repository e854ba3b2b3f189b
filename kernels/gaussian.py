"""Standard normals by address for whole volumes: Box-Muller by polynomials, so in vectors.

The numbers of a sample are counted from 0: number j is word j % 4 of the Philox block of element
j // 4, words 0, 1 and words 2, 3 making two normals each, as in `philox.normals`. They are the same
normals as those to 3e-6, but not to the bit: a call of the C library's logarithm, sine and cosine
for each number would take ten times as long as this.
"""

from math import sqrt
from typing import Any

import numpy as np
from numba import cuda, float32, int32, prange, uint32, uint64

from voxelmill.kernels.device import body, inlined, launch, loop, xp_of
from voxelmill.kernels.philox import WORDS, philox

CHUNK = 1024  # blocks that a CPU thread makes at once: 16 kB of normals stay in the first cache


@inlined
def _radius(word):
    """sqrt(-2 log u), u = (word + 1) / 2**32.

    The logarithm is that of Cephes (Moshier), of a mantissa in [sqrt(1/2), sqrt(2)): 1e-7.
    """
    bits = np.float32(float32(word) + float32(1)).view(np.int32)
    exponent = int32(int32(bits - int32(0x3F3504F3)) >> int32(23))
    x = np.int32(bits - int32(exponent << int32(23))).view(np.float32) - float32(1)
    z, e = x * x, float32(exponent) - float32(32)
    y = float32(7.0376836292e-2) * x - float32(1.1514610310e-1)
    y = y * x + float32(1.1676998740e-1)
    y = y * x - float32(1.2420140846e-1)
    y = y * x + float32(1.4249322787e-1)
    y = y * x - float32(1.6668057665e-1)
    y = y * x + float32(2.0000714765e-1)
    y = y * x - float32(2.4999993993e-1)
    y = y * x + float32(3.3333331174e-1)
    y = y * x * z - float32(2.12194440e-4) * e - float32(0.5) * z
    log = (x + y) + float32(0.693359375) * e
    return sqrt(max(float32(-2) * log, float32(0)))


@inlined
def _cosine_sine(word):
    """Of the angle 2 pi word / 2**32: its quarter turn is told in integers, without rounding."""
    quarter = uint32(uint32(word + uint32(0x20000000)) >> uint32(30))  # the nearest, 0 to 3
    rest = int32(uint32(word - uint32(quarter << uint32(30))))
    x = float32(rest) * float32(1.4629180792671596e-09)  # 2 pi / 2**32; in [-pi / 4, pi / 4]
    z = x * x
    s = float32(-1.9515295891e-4) * z + float32(8.3321608736e-3)
    s = (s * z - float32(1.6666654611e-1)) * z * x + x
    c = float32(2.443315711809948e-5) * z - float32(1.388731625493765e-3)
    c = (c * z + float32(4.166664568298827e-2)) * z * z - float32(0.5) * z + float32(1)
    odd = (quarter & uint32(1)) != uint32(0)
    cosine, sine = (s, c) if odd else (c, s)
    if quarter == uint32(1) or quarter == uint32(2):
        cosine = -cosine
    return cosine, (-sine if quarter >= uint32(2) else sine)


@inlined
def four_normals(element, name, low, high, k0, k1):
    """The normals of a block, from its four words; all arguments uint32."""
    w = philox(element, name, low, high, k0, k1)
    near, far = _radius(w[0]), _radius(w[2])
    a, b = _cosine_sine(w[1])
    c, d = _cosine_sine(w[3])
    return near * a, near * b, far * c, far * d


@body
def fill_blocks(into, first, last, n, keys):
    """Put the normals of blocks first..last of sample n at the start of `into`."""
    k0, k1, name, low, high = keys[n, 0], keys[n, 1], keys[n, 2], keys[n, 3], keys[n, 4]
    for e in range(uint64(first), uint64(last)):
        a, b, c, d = four_normals(uint32(e), name, low, high, k0, k1)
        at = uint64(4) * (e - uint64(first))
        into[at] = a
        into[at + uint64(1)] = b
        into[at + uint64(2)] = c
        into[at + uint64(3)] = d


@body
def _white_at(n, first, last, out, normals, keys):
    """Numbers of blocks first..last of a sample."""
    fill_blocks(normals, first, last, n, keys)
    n, start = uint64(n), uint64(4 * first)
    for k in range(uint64(min(4 * last, out.shape[1]) - 4 * first)):
        out[n, start + k] = normals[k]


@loop
def _white_cpu(out, keys):
    blocks = (out.shape[1] + 3) // 4
    chunks = (blocks + CHUNK - 1) // CHUNK
    for r in prange(out.shape[0] * chunks):
        n, first = r // chunks, r % chunks * CHUNK
        normals = np.empty(4 * CHUNK, np.float32)
        _white_at(n, first, min(first + CHUNK, blocks), out, normals, keys)


@cuda.jit
def _white_gpu(out, keys):
    i = cuda.grid(1)
    blocks = (out.shape[1] + 3) // 4
    if i < out.shape[0] * blocks:
        normals = cuda.local.array(4, float32)
        _white_at(i // blocks, i % blocks, i % blocks + 1, out, normals, keys)


def white(keys: Any, shape: tuple[int, ...]) -> Any:
    """White noise: standard normals (sample, *shape) float32 for `keys` (sample, 5) uint32.

    Voxel j of a sample, counted along the last axis first, holds its number j. Returned on the
    side of `keys`.
    """
    count = checked_count(keys, shape)
    out = xp_of(keys).empty((keys.shape[0], count), np.float32)
    launch(_white_cpu, _white_gpu, out.shape[0] * blocks_of(count), out, keys)
    return out.reshape(keys.shape[0], *shape)


def blocks_of(count: int) -> int:
    """Blocks that hold `count` numbers."""
    return -(-count // WORDS)


def checked_count(keys: Any, shape: tuple[int, ...], numbers: int = 1) -> int:
    """Elements of a sample of `shape`. Raises ValueError for keys, or too many, unfit for Philox.

    numbers: normals that each element takes.
    """
    if keys.ndim != 2 or keys.shape[1] != 5 or keys.dtype != np.uint32:
        raise ValueError(f"keys are (sample, 5) uint32, not {keys.shape} {keys.dtype}")
    count = int(np.prod(shape, dtype=np.int64))
    if blocks_of(count * numbers) > 2**32:
        raise ValueError(
            f"a sample of {shape} takes {count * numbers} normals, above 2**34 of a key: give "
            "parts of it keys of their own"
        )
    return count
