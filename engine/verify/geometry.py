"""Rows: areas, warps, shares of tissue, and what a label's voxels hold at the end of the chain."""

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.draw import Stream
from voxelmill.engine.verify.randomness import keys
from voxelmill.engine.verify.rows import Measured, Row

SHAPE, FINE, ROWS = (24, 80, 96), (2, 2, 2), 5
EDGE = 5  # voxels from a label's border on that count as its inside
SD = 0.05


def _raster_area() -> Measured:
    from voxelmill.kernels import raster

    count, corners = 200, 12
    drawn = Stream(6, 0).uniform("verify.gons", count * (corners + 3)).reshape(count, -1)
    angles = 2 * np.pi * np.sort(drawn[:, :corners], 1)
    centre, radius = 60 + 20 * drawn[:, -3:-1, None], 5 + 40 * drawn[:, -1:]
    y, x = radius * np.sin(angles), radius * np.cos(angles)
    points = np.stack([y + centre[:, 0], x + centre[:, 1]], 2).astype(np.float32)
    each = np.arange(count + 1)
    canvas = np.zeros((count, 128, 128), np.float32)
    even_odd = np.zeros(count, bool)
    raster.draw(canvas, each[:-1], points.reshape(-1, 2), corners * each, each, even_odd)
    py, px = np.moveaxis(points.astype(np.float64), 2, 0)
    shoelace = np.abs((py * np.roll(px, -1, 1) - px * np.roll(py, -1, 1)).sum(1)) / 2
    drawn_area = canvas.sum((1, 2), dtype=np.float64)
    return Measured(float(np.abs(drawn_area / shoelace - 1).max()), 0, 1e-4, f"of {count} polygons")


def _labels() -> NDArray[np.uint8]:
    """A ball in a shell in background, and two balls in it."""
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    out = np.zeros(SHAPE, np.uint8)
    for label, (cy, cx, r) in enumerate(((40, 48, 33), (40, 48, 18), (34, 40, 9), (46, 56, 9)), 1):
        out[((z - 12) / 1.5) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 <= r * r] = label
    return out


def _warped(strength: float) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The balls on parts of voxels under a smooth warp of rms `strength` voxels, and the warp."""
    from voxelmill.kernels import fields, flow, places, warp

    sd = np.full((1, 3), strength / 2 / fields.RMS, np.float32)  # the flow's voxels are twice ours
    nodes = fields.lattice_normals(keys("geometry.warp"), (3, 4, 6, 6), sd)
    half = (SHAPE[0] // 2, SHAPE[1] // 2, SHAPE[2] // 2)
    shift = flow.rescaled(flow.exponentiate(fields.spline(nodes, half)), SHAPE)
    affine = places.centred(SHAPE, (1, 1, 1), SHAPE, (1, 1, 1))[None]
    flat = _labels().ravel()
    packed = flat, np.array([0, flat.size]), np.array([SHAPE], np.int32)
    which = np.zeros(1, np.int32)
    return warp.pull_labels(*packed, which, affine, shift, SHAPE, FINE), shift


def _identity() -> Measured:
    still, _ = _warped(0.0)
    wrong = (still[0] != np.kron(_labels(), np.ones(FINE, np.uint8))).sum()
    return Measured(int(wrong), 0, 0, "parts of voxels")


def _folding() -> Measured:
    from voxelmill.kernels import fields, flow

    count, grid = 24, (20, 24, 28)
    lattice, spacing_vox = (3, 6, 7, 8), 28 / 5  # 8 nodes have 5 intervals
    rms = flow.largest_safe_rms(spacing_vox)
    names = [f"geometry.fold.{n}" for n in range(count)]
    sd = np.full((count, 3), rms / fields.RMS, np.float32)
    velocity = fields.spline(fields.lattice_normals(keys(*names), lattice, sd), grid)
    least = float(flow.least_jacobian(flow.exponentiate(velocity)).min())
    note = f"{count} warps at the bound, rms {rms:.2f} voxels; least Jacobian {least:.3f}"
    return Measured(min(least, 0.0), 0, 0, note)


def _inverse() -> Measured:
    from scipy.ndimage import map_coordinates

    from voxelmill.kernels import fields, flow

    grid, steps = (20, 24, 28), 7
    sd = np.full((1, 3), 0.6 / fields.RMS, np.float32)
    velocity = fields.spline(fields.lattice_normals(keys("inverse"), (3, 5, 5, 5), sd), grid)
    there, back = flow.exponentiate(velocity, steps), flow.inverse(velocity, steps)
    at = np.indices(grid) + there[0]
    returned = there[0] + [map_coordinates(c, at, order=1, mode="nearest") for c in back[0]]
    inside = np.abs(returned)[:, 3:-3, 3:-3, 3:-3]
    return Measured(float(inside.max()), 0, 0.02, "voxels; steps of up to 2.4, both trilinear")


def _sum_of_shares() -> Measured:
    from voxelmill.kernels import shares

    fine, _ = _warped(1.5)
    made = shares.shares(fine, np.arange(ROWS, dtype=np.uint8), ROWS, FINE)
    off = float(np.abs(made.sum(1) - 1).max())
    counts = np.array([(fine == row).mean() for row in range(ROWS)])
    off = max(off, float(np.abs(made[0].mean((1, 2, 3), dtype=np.float64) - counts).max()))
    off += float((shares.hard(made) != shares.largest(fine, np.arange(ROWS, dtype=np.uint8), ROWS,
                                                      FINE)).sum())  # fmt: skip
    return Measured(off, 0, 1e-6, "sums, volumes, and hard labels made the short way")


def _mean_in_labels() -> Measured:
    """Warp, partial volume, signals, half the lines, a window, zero-filling and noise."""
    from scipy.ndimage import binary_erosion

    from voxelmill.kernels import contrast, kspace, lines, noise, shares, windows

    fine, _ = _warped(1.5)
    signals = np.array([0, 0.64, 0.19 + 0.05j, -0.3j, 0.45], np.complex64)
    table = signals.view(np.float32).reshape(1, ROWS, 1, 1, 1, 2)
    image = contrast.paint(fine, table, SHAPE)[:, :, 0]
    matrix = np.array([60]), np.array([72])
    k = kspace.to_kspace(image)
    along_y, along_x = (
        (windows.window(n, m, ["hamming"], np.zeros(1)) * lines.acquired(n, m))[0]
        for n, m in zip(SHAPE[1:], matrix, strict=True)
    )
    made = kspace.to_image((k * along_y[:, None] * along_x).astype(np.complex64))
    noise.add_complex(made, np.array([SD], np.float32), keys("geometry.noise"))
    hard = shares.largest(fine, np.arange(ROWS, dtype=np.uint8), ROWS, FINE)[0]
    worst, block = 0.0, np.ones((3, 2 * EDGE + 1, 2 * EDGE + 1), bool)
    for row in range(ROWS):
        inside = binary_erosion(hard == row, block, border_value=1)
        if not inside.any():
            raise ValueError(f"nothing is left of label {row} inside its border")
        error = SD / np.sqrt(inside.sum())
        off = made[0, 0][inside].mean(dtype=np.complex128) - signals[row]
        worst = max(worst, abs(off.real) / error, abs(off.imag) / error)
    return Measured(worst, 0, 3, "largest deviation of 10 means, in standard errors")


def verify_rows() -> list[Row]:
    """Shapes, warps, shares, means."""
    return [
        Row("raster.area", "polygons", "pixels are covered by exact areas", _raster_area),
        Row("warp.identity", "a warp that does nothing", "it changes no label", _identity),
        Row(
            "warp.folding", "random warps as strong as is allowed", "none of them folds", _folding
        ),
        Row("warp.inverse", "there and back", "the flow of -v undoes that of v", _inverse),
        Row(
            "shares.sum", "shares of labels in warped voxels",
            "they sum to 1, keep volumes and give the hard labels", _sum_of_shares,
        ),
        Row(
            "contrast.mean_in_labels", "labels through warp, mixing, resolution and noise",
            "inside a label the signal is that of the table, within 3 standard errors",
            _mean_in_labels,
        ),
    ]  # fmt: skip
