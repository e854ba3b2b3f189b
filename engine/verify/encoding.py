"""Rows: what k-space does to an image: ringing, shifts, ghosts, movement, distortion, blur."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine.draw import Stream
from voxelmill.engine.verify.golden import gibbs_overshoot
from voxelmill.engine.verify.rows import Measured, Row

Image = NDArray[np.complex64]
SINGLE = 1e-5


def _picture(name: str, shape: tuple[int, ...] = (2, 3, 20, 24)) -> Image:
    """Complex random pixels."""
    parts = Stream(4, 0).normal(f"verify.{name}", 2 * int(np.prod(shape)))
    return parts.view(np.complex64).reshape(shape)


def _blob(ny: int, nx: int, y: float, x: float, width: float) -> NDArray[np.float64]:
    """A positive Gaussian hill, band-limited to rounding."""
    yy, xx = np.mgrid[:ny, :nx]
    return np.exp(-((yy - y) ** 2 + (xx - x) ** 2) / (2 * width**2))


def _worst(made: NDArray[Any], wanted: NDArray[Any], note: str = "") -> Measured:
    return Measured(float(np.abs(made - wanted).max()), 0, SINGLE, note)


def _unitary() -> Measured:
    from voxelmill.kernels import kspace

    image = _picture("unitary")
    k = kspace.to_kspace(image.copy())
    energy = float((np.abs(k) ** 2).sum() / (np.abs(image) ** 2).sum() - 1)
    back = np.abs(kspace.to_image(k) - image).max()
    return Measured(max(abs(energy), float(back)), 0, SINGLE, "energy, and there and back")


def _gibbs() -> Measured:
    from voxelmill.kernels import kspace

    n, kept = 8192, 256
    step = np.zeros((1, 1, 1, n), np.complex64)
    step[..., n // 4 : 3 * n // 4] = 1
    k = kspace.crop(kspace.to_kspace(step, (-1,)), (kept,))
    made = kspace.to_image(kspace.zero_fill(k, (n,)), (-1,)).real
    return Measured(float(made.max() - 1), gibbs_overshoot(), 5e-4, f"a box at {kept} lines")


def _whole_shift() -> Measured:
    from voxelmill.kernels import kspace

    image = _picture("whole")
    k = kspace.to_kspace(image.copy())
    moved = kspace.to_image(k * kspace.ramp(24, 5.0) * kspace.ramp(20, -3.0)[:, None])
    return _worst(moved, np.roll(image, (-3, 5), (-2, -1)), "5 along x, -3 along y")


def _part_shift() -> Measured:
    from voxelmill.kernels import kspace

    image = _blob(40, 48, 19.0, 22.0, 2.5).astype(np.complex64)[None]
    k = kspace.to_kspace(image.copy())
    moved = kspace.to_image(k * kspace.ramp(48, 3.3) * kspace.ramp(40, -2.7)[:, None])
    return _worst(moved, _blob(40, 48, 16.3, 25.3, 2.5)[None], "3.3 along x, -2.7 along y")


def _ghosts() -> Measured:
    from voxelmill.kernels import kspace, lines

    n, period = 96, 4
    image = np.zeros((1, 1, n, 8), np.complex64)
    image[0, 0, 17] = 1
    gain = lines.uneven(n, [period], [0.6], [0.3])
    made = kspace.to_image(kspace.to_kspace(image.copy()) * gain[:, None, :, None])[0, 0, :, 0]
    wanted = np.zeros(n, complex)
    ghost = (0.6 * np.exp(0.3j) - 1) / period
    for m in range(period):  # lines are counted from -n / 2 on: n / 2 is a multiple of 4 here
        wanted[(17 + m * n // period) % n] = ghost + (m == 0)
    return _worst(made, wanted, "every fourth line at 0.6, turned by 0.3 rad")


def _wavering() -> Measured:
    from scipy.special import jv

    from voxelmill.kernels import kspace, lines

    n, period, depth = 96, 16, 0.9  # order m falls onto m - 16, which is nothing
    image = np.zeros((1, 1, n, 8), np.complex64)
    image[0, 0, 17] = 1
    gain = lines.wavering(n, [period], np.array([depth]))
    made = kspace.to_image(kspace.to_kspace(image.copy()) * gain[:, None, :, None])[0, 0, :, 0]
    heights = [abs(made[(17 + m * n // period) % n]) for m in range(-3, 4)]
    return _worst(np.array(heights), np.abs(jv(np.arange(-3, 4), depth)), "orders -3 to 3")


def _moved_once() -> Measured:
    from voxelmill.kernels import kspace, motion

    ny, nx, voxel = 40, 48, 1.5
    image = _blob(ny, nx, 18.0, 22.0, 3.0).astype(np.complex64)[None, None]
    poses = np.zeros((1, 5, 6))
    poses[0, :, 1:3] = 4.2, -3.15  # all the scan long: mm along y and x
    _, shift = motion.relative(poses, np.full((1, 5), 0.2))
    still = float(np.abs(shift).max())
    k = kspace.to_kspace(image.copy())
    px = poses[0, 0, 1:3] / voxel
    moved = kspace.to_image(k * kspace.ramp(nx, px[1]) * kspace.ramp(ny, px[0])[:, None])
    wanted = _blob(ny, nx, 18.0 + px[0], 22.0 + px[1], 3.0)
    worst = max(float(np.abs(moved - wanted).max()), still, -float(moved.real.min()))
    return Measured(worst, 0, SINGLE, "against the moved object, in its own frame, and negatives")


def _frame_of_shots() -> Measured:
    """Interleaved shots of a body that is somewhere else in each."""
    from voxelmill.engine.acquire import acquire
    from voxelmill.engine.acquisition import Acquisition, full_sampling
    from voxelmill.kernels import kspace

    shape, worst = (1, 64, 72), 0.0
    body = _blob(64, 72, 30, 35, 9.0)
    for y, x in ((20, 30), (30, 24), (38, 44), (27, 45)):
        body = np.where(np.hypot(*np.indices(body.shape) - [[[y]], [[x]]]) < 5, 1.2, body)
    given = replace(full_sampling(1, shape), order=("interleaved",))
    slopes = np.stack([-np.gradient(body, axis=a).ravel() for a in (0, 1)], 1)
    system = np.column_stack([body.ravel(), slopes])
    for shots in (2, 3, 4):
        poses = np.zeros((1, shots, 6))
        poses[0, :, 1:3] = 2 * Stream(4, shots).normal("verify.shots", 2 * shots).reshape(-1, 2)
        plan = Acquisition(kspace.SLICES, np.ones((1, 3), np.float32), given, poses=poses)
        image = acquire(body[None, None, None].astype(np.complex64), plan)[0, 0]
        found = np.linalg.lstsq(system, image.ravel(), rcond=None)[0]
        worst = max(worst, float(np.hypot(*found[1:]) / found[0]))
    return Measured(worst, 0, 0.6, "2 to 4 shots, 2 mm rms: mm between body and labels")


def _energy_of_motion() -> Measured:
    from voxelmill.kernels import kspace

    ny, nx = 40, 48
    image = _blob(ny, nx, 18.0, 22.0, 3.0).astype(np.complex64)[None, None]
    drift = 6 * Stream(4, 0).uniform("verify.drift", ny)
    k = kspace.to_kspace(image.copy())
    turned = np.array([kspace.ramp(ny, d)[i] for i, d in enumerate(drift)])
    moved = kspace.to_image(k * turned[:, None])
    energy = float((np.abs(moved) ** 2).sum() / (np.abs(image) ** 2).sum())
    return Measured(energy, 1, SINGLE, "each line with the body somewhere else")


def _rotation() -> Measured:
    """A slice whose pixels are not square: what turns is the body, in mm."""
    from voxelmill.kernels import motion

    ny, nx, voxel_mm, angle = 48, 56, (3.0, 1.0, 1.25), 11.0
    y, x = np.mgrid[:ny, :nx].astype(np.float64)
    y_mm, x_mm = (y - (ny - 1) / 2) * voxel_mm[1], (x - (nx - 1) / 2) * voxel_mm[2]

    def body(y_mm: Any, x_mm: Any) -> Any:
        return np.exp(-((y_mm - 4) ** 2) / 72 - (x_mm + 6) ** 2 / 200)

    poses = np.zeros((1, 2, 6))
    poses[0, 1] = 0, 2.5, -3.0, angle, 0, 0  # mm along z, y, x; degrees about z: y towards x
    rotation, shift_mm = motion.relative(poses, np.array([[1.0, 0]]))
    matrix = motion.pull_matrix(rotation[:, 1], shift_mm[:, 1], voxel_mm, (1, ny, nx))
    image = body(y_mm, x_mm).astype(np.complex64)[None, None, None]
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    dy, dx = y_mm - 2.5, x_mm + 3.0
    wanted = body(c * dy + s * dx, -s * dy + c * dx)  # where each place came from
    made = motion.turn(image, matrix)[0, 0, 0]
    inside = (slice(12, -12), slice(12, -12))
    off = float(np.abs(made[inside] - wanted[inside]).max())
    return Measured(off, 0, 2e-4, "11 degrees and 4 mm, by cubic convolution")


def _chemical_shift() -> Measured:
    from voxelmill.kernels import kspace
    from voxelmill.kernels.spectrum import shift_hz

    ny, nx, hertz_per_px = 40, 64, 220.0
    pools = np.stack([_blob(ny, nx, 19.0, x, 3.0) for x in (22.0, 35.0)])
    k = kspace.to_kspace(pools.astype(np.complex64)[None, None, :, None])
    px = np.array([0.0, float(shift_hz(1.3, 3.0)) / hertz_per_px])
    along = kspace.ramp(nx, px)[None, :, None]
    made = kspace.to_image(kspace.encode(k, np.ones((1, 1, 1, ny), np.complex64), along))
    wanted = pools[0] + _blob(ny, nx, 19.0, 35.0 + px[1], 3.0)
    return _worst(made[0, 0, 0], wanted, f"{px[1]:.3f} px at 3 T, 220 Hz a pixel")


def _readout_ends() -> Measured:
    from voxelmill.engine.acquire import acquire
    from voxelmill.engine.acquisition import Acquisition, Inhomogeneity, full_sampling
    from voxelmill.kernels import kspace

    shape, fat = (1, 20, 24), np.zeros((1, 2, 1, 20, 24), np.complex64)
    fat[0, 1] = _blob(20, 24, 9, 3, 6.0)
    plan = Acquisition(kspace.SLICES, np.ones((1, 3), np.float32), full_sampling(1, shape))
    off = Inhomogeneity(np.full((1, *shape), -400, np.float32), np.array([0.01], np.float32))
    moved = acquire(fat, replace(plan, chemical_shift_px=np.array([[0.0, -4.0]])))
    return _worst(moved, acquire(fat, replace(plan, field=off)), "4 px over the left end")


def _distortion() -> Measured:
    from voxelmill.kernels import distort

    image = _picture("distort", (1, 1, 1, 20, 64))
    image[..., :12], image[..., -12:] = 0, 0
    stretch = 0.25  # pixels a pixel
    b0 = np.broadcast_to(8 * (np.arange(64, dtype=np.float32) - 31.5), (1, 1, 20, 64))
    made = distort.distort(image, np.ascontiguousarray(b0), np.array([stretch / 8], np.float32))
    kept = np.abs(made.sum(-1) - image.sum(-1)).max()
    flat = np.ones_like(image)
    thinned = distort.distort(flat, np.ascontiguousarray(b0), np.array([stretch / 8], np.float32))
    thin = np.abs(thinned[..., 16:48] - 1 / (1 + stretch)).max()
    return Measured(float(max(kept, thin)), 0, SINGLE, "sums of lines; brightness by the Jacobian")


def _t2_blur() -> Measured:
    from voxelmill.kernels import kspace, lines

    n, echoes = 128, 16
    known = lines.acquired(n, [n])
    echo = lines.echo_numbers(known, ["linear"], [echoes], [7])
    times = 10.0 * np.arange(1, echoes + 1)
    amplitudes = np.exp(-times / np.array([[[30.0]], [[120.0]]])).reshape(1, 2, echoes)
    weights = lines.train_weights(amplitudes, echo, np.array([7]))[0]
    point = np.zeros((1, 1, 2, 1, n, 1), np.complex64)
    point[..., 40, :] = 1
    k = kspace.to_kspace(point.copy())
    one = np.ones((1, 2, 1, 1), np.complex64)
    gains = weights[None, :, None]
    blurred = [
        kspace.to_image(kspace.encode(k[:, :, [p]], gains[:, [p]], one[:, :1])) for p in (0, 1)
    ]
    widths = [float((np.abs(b) ** 2).sum() / (np.abs(b).max() ** 2)) for b in blurred]
    peaks = [float(np.abs(b).max()) for b in blurred]
    wanted = [abs(weights[p].mean()) for p in (0, 1)]
    off = max(abs(a - b) for a, b in zip(peaks, wanted, strict=True))
    off += 1.0 * (widths[0] <= widths[1])
    note = f"peaks; the width is {widths[0]:.2f} px at T2 30 ms, {widths[1]:.2f} at 120"
    return Measured(off, 0, SINGLE, note)


def _inner_loop() -> Measured:
    """Pulses of MPRAGE of many tissues at 9 B1, by few shared courses, beside the closed form."""
    from voxelmill.engine import inner_loop, protocols
    from voxelmill.engine.tissues import AT, open_tissues
    from voxelmill.kernels import signals

    stream, known = Stream(7, 0), open_tissues()
    table, b1 = known.draw(stream, 3.0), np.linspace(0.85, 1.1, 9)
    table = table[(table[:, AT["pd"]] > 0.5) & (table[:, AT["t1_ms"]] > 700)]
    row = protocols.draw_protocol(protocols.Mprage(), stream, 0, 3.0)
    parts, courses = inner_loop.water_parts(row, table, b1)
    share = table[:, AT["pd"]] * (1 - table[:, AT["fat_fraction"]])

    def closed(n: int) -> Any:
        return signals.mprage(
            share[:, None], table[:, [AT["t1_ms"]]], table[:, [AT["t2s_ms"]]], row["tr_ms"],
            row["ti_ms"], row["te_ms"], row["flip_deg"], row["spacing_ms"], int(row["echoes"]),
            int(row["centre"]), n, row["efficiency"], b1,
        )  # fmt: skip

    shown = np.stack([closed(n) for n in range(int(row["echoes"]))], -1)
    middle = shown[..., [int(row["centre"])]]
    off = np.sqrt(((middle + parts @ courses - shown) ** 2).mean()) / middle.max()
    note = f"rms over pulses and {len(table)} tissues, of the brightest"
    return Measured(float(off), 0, 5e-3, note)


def verify_rows() -> list[Row]:
    """What happens between the body and the picture."""
    return [
        Row(
            "kspace.unitary", "Fourier transforms", "they keep energy and undo each other",
            _unitary,
        ),
        Row("kspace.gibbs", "overshoot beside a step", "truncation rings as theory says", _gibbs),
        Row(
            "kspace.whole_shift", "shift theorem, whole pixels", "a ramp of phase rolls the image",
            _whole_shift,
        ),
        Row(
            "kspace.part_shift", "shift theorem, parts of pixels",
            "a ramp of phase moves the object without interpolation", _part_shift,
        ),
        Row(
            "kspace.ghosts", "every p-th line weaker and turned",
            "replicas stand FOV / p apart and are as high as theory says", _ghosts,
        ),
        Row(
            "kspace.wavering", "phase that swings from line to line",
            "ghosts are Bessel functions of the depth", _wavering,
        ),
        Row(
            "motion.constant", "the body lies elsewhere all the scan long",
            "that is a shift and nothing else, and never negative", _moved_once,
        ),
        Row(
            "motion.frame", "interleaved shots, each in another pose",
            "labels, in the weighted mean of the poses, fit the image", _frame_of_shots,
        ),
        Row(
            "motion.energy", "the body moves from line to line", "energy is kept",
            _energy_of_motion,
        ),
        Row(
            "motion.rotation", "the body turns about z, in pixels that are not square",
            "it turns in mm, y towards x for a positive angle", _rotation,
        ),
        Row(
            "kspace.chemical_shift", "fat moves along the readout",
            "by its frequency over the bandwidth of a pixel", _chemical_shift,
        ),
        Row(
            "kspace.readout_ends", "fat at an end of the readout",
            "chemical shift loses what leaves the field of view, as B0's distortion does",
            _readout_ends,
        ),
        Row(
            "distort.jacobian", "a field that stretches the readout",
            "signal is kept, and thinned out by the Jacobian", _distortion,
        ),
        Row(
            "kspace.t2_blur", "point spread of an echo train",
            "its peak is the mean weight of lines, and it widens as T2 falls", _t2_blur,
        ),
        Row(
            "kspace.inner_loop", "lines of MPRAGE, each at its own pulse",
            "few weighted pools hold m_n of every tissue and B1", _inner_loop,
        ),
    ]  # fmt: skip
