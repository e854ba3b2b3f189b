"""Philox 4x32-10: random bits by address, the same on the host, in CPU loops and on the GPU.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
An address is (seed, index, name, element): key = seed, counter = (element, name, index low,
index high). Kernels take it as a row of five uint32, `key` in their docstrings: seed low, seed
high, name, index low, index high; `engine.draw.Stream.key` makes it.
"""

from math import cos, log, sin, sqrt
from typing import Any

import numpy as np
from numba import cuda, float32, float64, prange, uint32, uint64

from voxelmill.kernels.device import body, inlined, launch, loop, serial, xp_of

WORDS = 4  # uint32 a block


@inlined
def philox(c0, c1, c2, c3, k0, k1):
    """The four words at counter (c0, c1, c2, c3) under key (k0, k1); all uint32."""
    m0, m1, low = uint64(0xD2511F53), uint64(0xCD9E8D57), uint64(0xFFFFFFFF)
    x0, x1, x2, x3 = uint64(c0), uint64(c1), uint64(c2), uint64(c3)
    y0, y1 = uint64(k0), uint64(k1)
    for _ in range(10):
        p0, p1 = m0 * x0, m1 * x2
        x0, x1, x2, x3 = (
            (p1 >> uint64(32)) ^ x1 ^ y0,
            p1 & low,
            (p0 >> uint64(32)) ^ x3 ^ y1,
            p0 & low,
        )
        y0, y1 = (y0 + uint64(0x9E3779B9)) & low, (y1 + uint64(0xBB67AE85)) & low
    return uint32(x0), uint32(x1), uint32(x2), uint32(x3)


@body
def uniform_of(word):
    """[0, 1) in single precision from the upper 24 bits of a word."""
    return float32(word >> uint32(8)) * float32(5.9604644775390625e-08)


@body
def normal_pair(first, second):
    """Two standard normals from two words: Box-Muller, its radius from u in (0, 1]."""
    u = (float32(first) + float32(1)) * float32(2.3283064365386963e-10)
    radius = sqrt(float32(-2) * log(min(u, float32(1))))
    angle = float32(second) * float32(1.4629180792671596e-09)  # 2 pi / 2**32
    return radius * cos(angle), radius * sin(angle)


@body
def _words_at(i, out, keys):
    n, element = i // out.shape[1], i % out.shape[1]
    w = philox(element, keys[n, 2], keys[n, 3], keys[n, 4], keys[n, 0], keys[n, 1])
    for j in range(4):
        out[n, element, j] = w[j]


@loop
def _words_cpu(out, keys):
    for i in prange(out.shape[0] * out.shape[1]):
        _words_at(i, out, keys)


@cuda.jit
def _words_gpu(out, keys):
    i = cuda.grid(1)
    if i < out.shape[0] * out.shape[1]:
        _words_at(i, out, keys)


@body
def _normals_at(i, out, keys):
    blocks = (out.shape[1] + 3) // 4
    n, element = i // blocks, i % blocks
    w = philox(element, keys[n, 2], keys[n, 3], keys[n, 4], keys[n, 0], keys[n, 1])
    a, b = normal_pair(w[0], w[1])
    c, d = normal_pair(w[2], w[3])
    first = 4 * element
    out[n, first] = a
    if first + 1 < out.shape[1]:
        out[n, first + 1] = b
    if first + 2 < out.shape[1]:
        out[n, first + 2] = c
    if first + 3 < out.shape[1]:
        out[n, first + 3] = d


@loop
def _normals_cpu(out, keys):
    for i in prange(out.shape[0] * ((out.shape[1] + 3) // 4)):
        _normals_at(i, out, keys)


@cuda.jit
def _normals_gpu(out, keys):
    i = cuda.grid(1)
    if i < out.shape[0] * ((out.shape[1] + 3) // 4):
        _normals_at(i, out, keys)


def words(keys: Any, blocks: int) -> Any:
    """Random words: (sample, blocks, 4) uint32 for `keys` (sample, 5) uint32, on their side."""
    _check(keys)
    out = xp_of(keys).empty((keys.shape[0], blocks, WORDS), np.uint32)
    launch(_words_cpu, _words_gpu, out.shape[0] * blocks, out, keys)
    return out


def normals(keys: Any, count: int) -> Any:
    """Standard normals: (sample, count) float32 for `keys` (sample, 5) uint32, on their side."""
    _check(keys)
    out = xp_of(keys).empty((keys.shape[0], count), np.float32)
    launch(_normals_cpu, _normals_gpu, out.shape[0] * ((count + 3) // 4), out, keys)
    return out


def _check(keys: Any) -> None:
    if keys.ndim != 2 or keys.shape[1] != 5 or keys.dtype != np.uint32:
        raise ValueError(f"keys are (sample, 5) uint32, not {keys.shape} {keys.dtype}")


# Host draws: one sample and one name at a time, a microsecond each.

ATTEMPTS = 8  # a rejected 64-bit word has probability below bound / 2**64 <= 2**-32 each time


@body
def bounded(slot, bound, name, low, high, k0, k1):
    """An integer in [0, bound), bound <= 2**32, unbiased: 64-bit multiply-high with rejection.

    Slot `slot` owns elements slot * 4 .. slot * 4 + 3: two 64-bit words each, `ATTEMPTS` in all.
    Source: Lemire, "Fast random integer generation in an interval", TOMACS 2019.
    """
    n = uint64(bound)
    threshold = (uint64(0) - n) % n  # 2**64 mod n
    result = uint64(0)
    for attempt in range(8):
        w = philox(slot * 4 + attempt // 2, name, low, high, k0, k1)
        if attempt % 2 == 0:
            upper, lower = uint64(w[0]), uint64(w[1])
        else:
            upper, lower = uint64(w[2]), uint64(w[3])
        small = lower * n
        large = upper * n + (small >> uint64(32))
        result = large >> uint64(32)
        remainder = (large << uint64(32)) | (small & uint64(0xFFFFFFFF))
        if remainder >= threshold:
            break
    return result


@serial
def fill_uniform(out, first, name, low, high, k0, k1):
    """Fill `out` (count,) float64 with uniforms in [0, 1): 32-bit words, from `first` on."""
    for element in range(first // 4, (first + out.size + 3) // 4):
        w = philox(element, name, low, high, k0, k1)
        for j in range(4):
            place = element * 4 + j - first
            if 0 <= place < out.size:
                out[place] = float64(w[j]) * 2.3283064365386963e-10


@serial
def fill_normal(out, name, low, high, k0, k1):
    """Fill `out` (count,) float32 with standard normals, four an element, as `normals` does."""
    for first in range(0, out.size, 4):
        w = philox(first // 4, name, low, high, k0, k1)
        a, b = normal_pair(w[0], w[1])
        c, d = normal_pair(w[2], w[3])
        for j, z in enumerate((a, b, c, d)):
            if first + j < out.size:
                out[first + j] = z


@serial
def fill_bounded(out, first, bound, name, low, high, k0, k1):
    """Fill `out` (count,) int64 with integers in [0, bound), a slot each from slot `first` on."""
    for place in range(out.size):
        out[place] = bounded(first + place, bound, name, low, high, k0, k1)
