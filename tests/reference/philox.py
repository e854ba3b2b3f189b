"""kernels/philox.py once more in obvious Python and NumPy."""

import numpy as np

MASK = 0xFFFFFFFF


def philox(c0, c1, c2, c3, k0, k1):
    """Philox 4x32-10 with Python's integers, as Salmon et al. 2011 write it."""
    c, k = [int(v) for v in (c0, c1, c2, c3)], [int(k0), int(k1)]
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * c[0], 2**32)
        high1, low1 = divmod(0xCD9E8D57 * c[2], 2**32)
        c = [high1 ^ c[1] ^ k[0], low1, high0 ^ c[3] ^ k[1], low0]
        k = [(k[0] + 0x9E3779B9) & MASK, (k[1] + 0xBB67AE85) & MASK]
    return tuple(c)


def words(keys, blocks):
    """(sample, blocks, 4) uint32 of keys (sample, 5): counter = element, name, index low, high."""
    out = np.empty((len(keys), blocks, 4), np.uint32)
    for n, (k0, k1, name, low, high) in enumerate(keys):
        for element in range(blocks):
            out[n, element] = philox(element, name, low, high, k0, k1)
    return out


def normals(keys, count):
    """(sample, count) float32 by Box-Muller, two from two words, in double until the end."""
    first, second = np.moveaxis(words(keys, -(-count // 4)).reshape(len(keys), -1, 2), 2, 0)
    radius = np.sqrt(-2 * np.log((first.astype(float) + 1) / 2**32))
    angle = 2 * np.pi * second.astype(float) / 2**32
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 2)
    return pairs.reshape(len(keys), -1)[:, :count].astype(np.float32)


def bounded(slot, bound, name, low, high, k0, k1):
    """An integer in [0, bound): the upper half of word x bound, refusing the lowest 2**64 % bound.

    A slot has eight 64-bit words, two an element.
    """
    for attempt in range(8):
        w = philox(4 * slot + attempt // 2, name, low, high, k0, k1)
        word = (w[2 * (attempt % 2)] << 32) | w[2 * (attempt % 2) + 1]
        result, remainder = divmod(word * bound, 2**64)
        if remainder >= 2**64 % bound:
            break
    return result
