"""kernels/contrast.py once more in obvious NumPy: a look-up for each part of a voxel, in double."""

import numpy as np


def signals(table, n, row, b1, b1_bins, fat, fat_rows):
    """(contrast, pool) complex of one row at one place."""

    def at(row):
        values = table[n, row, :, :, :, 0] + 1j * table[n, row, :, :, :, 1].astype(float)
        if b1 is None:
            return values[0]
        place = np.clip((b1 - b1_bins[0]) / b1_bins[1], 0, len(values) - 1)
        low = min(int(place), len(values) - 2)
        return values[low] + (place - low) * (values[low + 1] - values[low])

    if fat is None or fat_rows[row] < 0:
        return at(row)
    return (1 - fat) * at(row) + fat * at(fat_rows[row])


def paint(
    fine, table, shape, z_weights=None, b1=None, b1_bins=(1, 1), fat=None, fat_rows=None,
    texture=None,
):  # fmt: skip
    """(sample, contrast, pool, z, y, x) complex64."""
    batch, _, _, contrasts, pools, _ = table.shape
    fz, fy, fx = (a // b for a, b in zip(fine.shape[1:], shape, strict=True))
    weights = np.ones(fz) if z_weights is None else np.asarray(z_weights, float)
    weights = weights / weights.sum()
    out = np.zeros((batch, contrasts, pools, *shape), complex)
    for n, z, y, x in np.ndindex(batch, *shape):
        here = {
            name: None if field is None else float(field[n, z, y, x])
            for name, field in (("b1", b1), ("fat", fat))
        }
        for tap, weight in enumerate(weights):
            slab = int(np.clip(z * fz + (fz - len(weights)) // 2 + tap, 0, fine.shape[1] - 1))
            for row in fine[n, slab, y * fy : y * fy + fy, x * fx : x * fx + fx].flat:
                made = signals(table, n, row, b1_bins=b1_bins, fat_rows=fat_rows, **here)
                out[n, :, :, z, y, x] += made * weight / (fy * fx)
        if texture is not None:
            out[n, :, :, z, y, x] *= texture[n, z, y, x]
    return out.astype(np.complex64)
