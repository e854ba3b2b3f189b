"""From the complex signal of each voxel to the image that a scanner makes of it, step by step.

The order is that of PHYSICS B.12, complex throughout: B0 distortion, coil sensitivities, Fourier
transform, echo train, chemical shift, movement and partial Fourier as weights of lines, spikes,
noise, filter and zero-filling, sum of squares, intensity correction. The chemical shift is a phase
ramp in k-space, so a coil hears fat where it is, as in reality; translations are ramps too, and
take the coils with them, while turns are of the body alone. What the static field or the chemical
shift moves out of the field of view along x, the readout, is cut; along y it wraps, and so does, on
all axes, what movement brings beyond an edge. Every image goes through k-space, whatever is off.
"""

from math import prod
from typing import Any

import numpy as np

from voxelmill.engine.acquisition import Acquisition, Coils, Shape
from voxelmill.engine.encoding import Encoding, encoding
from voxelmill.kernels import coils, homodyne, interference, kspace, lines, motion, noise, windows
from voxelmill.kernels.device import xp_of
from voxelmill.kernels.distort import distort


def acquire(pools: Any, plan: Acquisition) -> Any:
    """Magnitude images, (sample, z, y, x) float32, in the unit of the pools and on their side.

    pools: (sample, pool, z, y, x) complex64, transverse magnetisation of each pool at the echo
    time; pool 0 is water. Raises ValueError where shapes do not fit.
    """
    made = noise.sum_of_squares(coil_images(pools, plan))
    return made if plan.correction is None else made * plan.correction


def acquire_complex(pools: Any, plan: Acquisition) -> Any:
    """As `acquire`, with phase: (sample, z, y, x) complex64.

    Coils are combined by their known sensitivities, sum of conj(c) image over sum of |c|^2 (Roemer
    et al. 1990), which also removes their shading.
    """
    images = coil_images(pools, plan)
    if plan.coils is None:
        made = images[:, 0]
    else:
        maps = _maps(plan.coils, plan, pools.shape, images.shape, slice(None))
        made = (maps.conj() * images).sum(1) / (maps * maps.conj()).real.sum(1)
    return made if plan.correction is None else made * plan.correction


def coil_images(pools: Any, plan: Acquisition) -> Any:
    """The complex image of each coil with its noise: (sample, coil, z, y, x) complex64."""
    grid = _checked(pools, plan)
    k = _signal(_prepared(pools, plan), plan, grid, encoding(plan, grid, pools.shape))
    if plan.interference is not None:
        errors = plan.interference
        interference.add_spikes(k, errors.places, errors.stripes, plan.axes)
        if errors.tones is not None:
            interference.add_tones(k, *errors.tones)
    return _reconstructed(k, plan)


def working_bytes(
    pools_shape: tuple[int, ...], plan_coils: int = 1, grid: Shape | None = None
) -> int:
    """About what `acquire` holds at its most, beside the pools; to be asked before work starts."""
    samples, pools = pools_shape[:2]
    voxels, out = prod(pools_shape[2:]), prod(grid or pools_shape[2:])
    sending = voxels * (3 * pools + 1) + out * plan_coils
    return 8 * samples * max(sending, out * (2 * plan_coils + 1))


def _checked(pools: Any, plan: Acquisition) -> Shape:
    """The grid of the image."""
    if pools.ndim != 5 or pools.dtype != np.complex64:
        raise ValueError(
            f"pools are (sample, pool, z, y, x) complex64, not {pools.shape} {pools.dtype}"
        )
    samples, shape = pools.shape[0], pools.shape[2:]
    nz, ny, nx = plan.grid or shape
    if any(n > m for n, m in zip((nz, ny, nx), shape, strict=True)):
        raise ValueError(f"an image of {(nz, ny, nx)} is finer than its pools of {shape}")
    if plan.axes == kspace.SLICES and nz != shape[0]:
        raise ValueError(f"2-D slices keep their number: {shape[0]} pools cannot make {nz} images")
    if plan.axes not in (kspace.SLICES, kspace.VOLUME):
        raise ValueError(f"axes {plan.axes} are neither kspace.SLICES nor kspace.VOLUME")
    s = plan.sampling
    rows = [s.matrix, s.order, s.partial, s.homodyne, s.window, s.width, plan.voxel_mm]
    if any(len(row) != samples for row in rows):
        raise ValueError(f"the sampling and voxel_mm need a row for each of {samples} samples")
    return nz, ny, nx


def _prepared(pools: Any, plan: Acquisition) -> Any:
    """The pools, displaced by the static field, under the receive field, and cut."""
    xp, field, given = xp_of(pools), plan.field, pools
    if field is not None and np.any(field.px_per_hz):
        axis = -2 if field.along_y else -1
        acquired = xp.asarray(plan.sampling.matrix[:, axis])
        scale = (field.px_per_hz * pools.shape[axis] / acquired).astype(np.float32)
        pools = distort(pools, field.b0_hz, scale, axis, wrap=field.along_y)
    if plan.receive is not None:
        pools = pools * plan.receive[:, None]
    inside = _stays(plan, pools.shape[1], pools.shape[-1])
    if inside is None:
        return pools
    pools = pools.copy() if pools is given else pools
    edges = np.flatnonzero((inside < 1).any((0, 1)))
    pools[..., edges] *= xp.asarray(inside[:, :, None, None, edges])
    return pools


def _stays(plan: Acquisition, pools: int, nx: int) -> Any:
    """The share of each column of each pool that its chemical shift leaves in the field of view.

    (sample, pool, x) float32; None if all stays. The readout's filter cuts what comes to lie beyond
    its ends, where the phase ramp of the shift alone would bring it back at the other one.
    """
    if plan.chemical_shift_px is None or not np.any(plan.chemical_shift_px):
        return None
    shift = np.asarray(plan.chemical_shift_px) * (nx / plan.sampling.matrix[:, 2, None])
    place = np.arange(nx) + np.broadcast_to(shift, (len(shift), pools))[..., None]
    return np.clip(np.minimum(place + 1, nx - place), 0, 1).astype(np.float32)


def _signal(pools: Any, plan: Acquisition, grid: Shape, table: Encoding) -> Any:
    """K-space of each coil, (sample, coil, z, y, x), on the grid."""
    xp, samples = xp_of(pools), pools.shape[0]
    count = 1 if plan.coils is None else plan.coils.centres.shape[1]
    still = (table.turned == np.eye(3)).all((2, 3))
    if plan.axes == kspace.SLICES:
        still &= table.shift_vox[..., 0] == 0
    rows, posed = np.arange(samples)[:, None], np.maximum(table.row, 0)
    row = np.where(still[rows, posed], table.row, -1)
    gain, along = xp.asarray(table.gain), xp.asarray(table.along)

    def lines_of(images: Any, n: slice, taken: Any, c: int, out: Any = None) -> Any:
        if plan.coils is not None:
            shape = images.shape
            images = images * _maps(plan.coils, plan, shape, shape, slice(c, c + 1), n)
        sent = kspace.to_kspace(images, plan.axes, overwrite=plan.coils is not None)
        sent = sent if sent.shape[-3:] == grid else kspace.crop(sent, grid)
        taken = xp.asarray(taken[:, None].astype(np.int32))
        return kspace.encode(sent[:, None], gain[n], along[n], taken, out)

    if count == 1:
        k = lines_of(pools, slice(None), row, 0)
    else:
        k = xp.empty((samples, count, *grid), np.complex64)
        for c in range(count):
            k[:, c : c + 1] = lines_of(pools, slice(None), row, c)
    for n, t in zip(*np.nonzero(~still), strict=True):
        own = slice(n, n + 1)
        taken = np.where(table.row[own] == t, table.row[own], -1)
        if (taken >= 0).any():
            body = _turned(pools[own], plan, table, n, t)
            for c in range(count):
                lines_of(body, own, taken, c, k[own, c : c + 1])
    return k


def _turned(pools: Any, plan: Acquisition, table: Encoding, n: int, t: int) -> Any:
    """The pools of sample n turned as in pose t; of 2-D slices also moved through these."""
    xp, voxel_mm = xp_of(pools), np.asarray(plan.voxel_mm, np.float64)[n]
    shift_mm = np.zeros(3)
    if plan.axes == kspace.SLICES:
        shift_mm[0] = table.shift_vox[n, t, 0] * voxel_mm[0]
    matrix = motion.pull_matrix(table.turned[n, t], shift_mm, voxel_mm, pools.shape)
    return motion.turn(pools, xp.asarray(matrix[None]))


def _maps(
    given: Coils, plan: Acquisition, pools_shape: Any, shape: Any, some: slice,
    samples: slice = slice(None),
) -> Any:  # fmt: skip
    """Sensitivities of the coils `some` on a grid of `shape` over the pools' field of view."""
    xp = xp_of(given.centres)
    larger = np.array(pools_shape[-3:]) / np.array(shape[-3:])
    voxel_mm = xp.asarray((np.asarray(plan.voxel_mm) * larger).astype(np.float32)[samples])
    loops = given.centres[samples], given.axes[samples], given.loop_mm[samples]
    return coils.sensitivities(*loops, voxel_mm, tuple(shape[-3:]), some)


def _reconstructed(k: Any, plan: Acquisition) -> Any:
    """Images of k-space with noise, filter, zero-filling and homodyne detection."""
    xp, given, scaled = xp_of(k), plan.noise, None
    if given is not None and np.any(given.sd):
        if given.g_factor is None:
            noise.add_complex(k, given.sd, given.keys)
        else:
            scaled = xp.zeros(k.shape, np.complex64)
            noise.add_complex(scaled, given.sd, given.keys)
    full, low, along = _filters(k.shape[-3:], plan)
    rows = np.flatnonzero(
        np.asarray(plan.sampling.homodyne) & (np.asarray(plan.sampling.partial) < 1)
    )

    def shown(source: Any, heard: Any, own: slice, gain: Any) -> Any:
        weights = xp.asarray(gain[own]), xp.asarray(along[own])
        made = kspace.to_image(kspace.weigh(source, *weights), plan.axes, overwrite=True)
        if heard is not None and given is not None:
            grain = kspace.to_image(kspace.weigh(heard, *weights), plan.axes, overwrite=True)
            made += grain * given.g_factor[own, None]
        return made

    smooth = {}
    for n in rows:
        own = slice(n, n + 1)
        heard = None if scaled is None else scaled[own].copy()
        smooth[n] = shown(k[own].copy(), heard, own, low)
    images = shown(k, scaled, slice(None), full)
    for n, low_image in smooth.items():
        images[n] = homodyne.detect(images[n : n + 1], low_image)[0]
    return images


def _filters(grid: Shape, plan: Acquisition) -> tuple[Any, Any, Any]:
    """Weights after the noise: per line for full and low-resolution images, and along lines."""
    sampling = plan.sampling

    def axis(a: int, partial: Any = None) -> tuple[Any, Any]:
        matrix = sampling.matrix[:, a]
        kept = lines.acquired(grid[a], matrix, partial)
        return kept, kept * windows.window(grid[a], matrix, sampling.window, sampling.width)

    taken, across = axis(1, sampling.partial)
    detecting = np.asarray(sampling.homodyne) & (np.asarray(sampling.partial) < 1)
    ramp, taper = homodyne.weights(taken)
    full = (across * np.where(detecting[:, None], ramp, 1))[:, None]
    low = (across * taper)[:, None]
    if plan.axes == kspace.VOLUME:
        through = axis(0)[1][:, :, None]
        full, low = full * through, low * through
    along = axis(2)[1]
    return full.astype(np.complex64), low.astype(np.complex64), along.astype(np.complex64)
