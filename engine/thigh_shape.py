"""A thigh from nothing: outlines and muscles of each slice, from tables by level along the thigh.

Level 0 is the hip and 1 the knee. Places are in units of the radius of the fascia lata about its
centre, u to the lateral side and v to the back, and are interpolated between the levels that the
tables of data/mr/thigh_shape.yaml give.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import ArrayLike, NDArray

from voxelmill.engine.draw import Stream
from voxelmill.engine.label_table import Rows
from voxelmill.engine.thigh_noise import thigh_noise
from voxelmill.engine.thigh_params import ThighParams
from voxelmill.kernels import thigh as kernel

Floats = NDArray[np.float64]
SIDES = {"right": -1, "left": 1}  # the direction of x, patient left, that is lateral

LEAST_SHELL_MM = 1.9
LEAST_RING_MM = 1.0  # of whole voxels between marrow and what is outside, in every slice
SHAPE_FILE = Path(__file__).parent / "data" / "mr" / "thigh_shape.yaml"


@cache
def _shapes() -> dict[str, Any]:
    """The tables by level of SHAPE_FILE."""
    found: dict[str, Any] = yaml.safe_load(SHAPE_FILE.read_text())
    return found


@dataclass(frozen=True)
class Scene:
    """Tables of `kernels.thigh` for the slices of one sample: (slice, leg, ...)."""

    legs: NDArray[np.float32]
    muscles: NDArray[np.float32]
    vessels: NDArray[np.float32]


def procedural_thigh(
    params: Sequence[ThighParams],
    streams: Sequence[Stream],
    shape: tuple[int, int, int],
    voxel_mm: tuple[float, float, float],
) -> Rows:
    """(sample, z, y, x) rows of the table `thigh`; the slices are centred on `level`.

    One leg stands in the middle of the plane, two side by side about it. What does not fit in the
    plane is cut off. Raises ValueError where a voxel is too wide for the cortex to be closed.
    """
    check_plane(voxel_mm)
    scenes = [scene(p, s, shape, voxel_mm) for p, s in zip(params, streams, strict=True)]
    noise = thigh_noise(streams, shape, voxel_mm)
    legs, vessels = (np.concatenate([getattr(s, k) for s in scenes]) for k in ("legs", "vessels"))
    muscles = np.concatenate([s.muscles for s in scenes])
    rows = kernel.of_shapes(legs, muscles, vessels, noise, shape[1:], voxel_mm[1:])
    return np.asarray(rows).reshape(len(scenes), *shape)


def check_plane(voxel_mm: tuple[float, float, float]) -> None:
    """Raise ValueError where the thinnest cortex might not hold LEAST_RING_MM of whole voxels."""
    most = LEAST_SHELL_MM - LEAST_RING_MM - 0.05  # depths are right to first order
    if max(voxel_mm[1:]) > most:
        raise ValueError(
            f"voxels of {voxel_mm[1]:g} x {voxel_mm[2]:g} mm are too wide for the thinnest cortex, "
            f"{LEAST_SHELL_MM} mm, to be a ring of {LEAST_RING_MM:g} mm of whole voxels; make the "
            f"map at {most:.2f} mm or finer"
        )


def scene(
    params: ThighParams,
    stream: Stream,
    shape: tuple[int, int, int],
    voxel_mm: tuple[float, float, float],
) -> Scene:
    """The tables of one sample. Its slices run from the knee's end up, z to Superior."""
    sides = ("right", "left") if params.legs == "both" else (params.legs,)
    up = (np.arange(shape[0]) - (shape[0] - 1) / 2) * voxel_mm[0]
    levels = np.clip(params.level - up / params.length_mm, 0.05, 0.97)
    made = [_leg(params, stream, side, levels) for side in sides]
    middle = [(n - 1) / 2 * mm for n, mm in zip(shape[1:], voxel_mm[1:], strict=True)]
    thickest = np.max([_around(legs, kernel.THICKNESS).max(1) for legs, _, _ in made], 0)
    for side, (legs, _, vessels) in zip(sides, made, strict=True):
        legs[:, kernel.REACH] = _reach(legs, thickest)
        shift = 0.0
        if len(sides) == 2:  # half the air, and what lies on the inner side of the centre
            outer = params.radius_mm * (1 + 0.5 * SIDES[side] * params.asymmetry)
            room = outer + 1.2 * params.fat_mm + params.gap_mm / 2
            shift = SIDES[side] * max(room, _inner_mm(legs, side) + params.skin_mm + 1)
        for table, y, x in ((legs, 0, 1), (legs, 2, 3), (vessels, 0, 1)):
            table[..., y] += middle[0]
            table[..., x] += middle[1] + shift
    return Scene(*(np.stack(t, 1).astype(np.float32) for t in zip(*made, strict=True)))


def _at(levels: Floats, values: ArrayLike) -> Floats:
    """(slice, ...) a table by level, (level, ...), smooth between: a cubic that keeps its order."""
    from scipy.interpolate import PchipInterpolator

    given = _shapes()["levels"]
    inside = np.clip(levels, given[0], given[-1])
    return np.asarray(PchipInterpolator(given, np.asarray(values, float), axis=0)(inside))


def _leg(
    params: ThighParams, stream: Stream, side: str, levels: Floats
) -> tuple[Floats, Floats, Floats]:
    """(legs, muscles, vessels) of one leg, (slice, ...) in mm about its own centre."""
    out, first = SIDES[side], 64 * (side == "left")  # each leg has its own random numbers
    share = 1 + 0.5 * out * params.asymmetry
    radius = params.radius_mm * share * _at(levels, _shapes()["fascia"])
    legs = np.zeros((len(levels), kernel.COLUMNS))
    ripple = stream.normal("thigh.outline", 128)[first : first + 8].astype(float)
    legs[:, kernel.HULL] = radius
    for k, sd in ((3, 0.025), (4, 0.015), (5, 0.012), (6, 0.012)):
        legs[:, kernel.HULL + k] = sd * radius * ripple[k]
    femur_layers(legs, params, stream, side, levels)
    fat_layers(legs, params, stream, side, _at(levels, _shapes()["fat"]))
    turn = np.radians(params.turn_deg)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    place = _at(levels, _shapes()["femur_at"]) @ rotation.T
    legs[:, kernel.FEMUR_Y] = radius * place[:, 1]
    legs[:, kernel.FEMUR_X] = radius * place[:, 0] * out
    muscles = _muscles(stream, first, levels, radius, rotation, out)
    return legs, muscles, _vessels(params, stream, first, levels, radius, rotation, out)


def femur_layers(
    legs: Floats, params: ThighParams, stream: Stream, side: str, levels: Floats
) -> None:
    """Fill the series FEMUR and SHELL of a leg."""
    first = 64 * (side == "left")
    z = stream.normal("thigh.bone", 128)[first : first + 8].astype(float)
    radius = params.femur_mm * _at(levels, _shapes()["femur"])
    legs[:, kernel.FEMUR] = radius
    legs[:, kernel.FEMUR + 2] = 0.02 * radius * z[0]
    legs[:, kernel.FEMUR + 3] = radius * (_at(levels, _shapes()["femur_wide"]) + 0.015 * z[1])
    legs[:, kernel.FEMUR + 4] = 0.015 * radius * z[2]
    legs[:, kernel.FEMUR + 6] = -0.03 * radius  # sin 3t is -1 behind: the linea aspera
    shell_layers(legs, params, stream, side, levels, radius)


def shell_layers(
    legs: Floats,
    params: ThighParams,
    stream: Stream,
    side: str,
    levels: Floats,
    radius: Floats,
) -> None:
    """Fill the series SHELL of a leg whose femur has these inner radii: thicker behind."""
    z = stream.normal("thigh.bone", 128)[64 * (side == "left") + 3].astype(float)
    shell = np.minimum(params.cortex_mm * _at(levels, _shapes()["cortex"]), 0.62 * radius)
    shell = np.maximum(shell, LEAST_SHELL_MM)
    ripple = np.minimum(0.12 * shell, shell - LEAST_SHELL_MM)
    legs[:, kernel.SHELL] = shell
    legs[:, kernel.SHELL + 2] = 0.7 * ripple
    legs[:, kernel.SHELL + 1] = 0.3 * ripple * np.tanh(z)


def fat_layers(
    legs: Floats, params: ThighParams, stream: Stream, side: str, of_mean: Floats
) -> None:
    """Fill the series THICKNESS of a leg, and its skin, fascia, gaps and streaks."""
    out, first = SIDES[side], 64 * (side == "left")
    z = stream.normal("thigh.fat", 128)[first : first + 8].astype(float)
    more = 1 + 1.5 * out * params.asymmetry
    fat = params.fat_mm * more * of_mean + params.skin_mm
    angle = np.radians(40 + 12 * np.tanh(z[0]))  # thickest behind and inside
    lobe, second = params.fat_lobe, 0.08 * np.tanh(z[1])
    legs[:, kernel.THICKNESS] = fat
    legs[:, kernel.THICKNESS + 1] = -out * fat * lobe * np.cos(angle)
    legs[:, kernel.THICKNESS + 2] = fat * lobe * np.sin(angle)
    legs[:, kernel.THICKNESS + 3] = fat * second
    legs[:, kernel.THICKNESS + 4] = fat * 0.08 * np.tanh(z[2])
    legs[:, kernel.SKIN_MM] = params.skin_mm
    legs[:, kernel.FASCIA_MM] = params.fascia_mm
    legs[:, kernel.GAP_MM] = params.septum_mm + params.atrophy_mm / more
    legs[:, kernel.INFILTRATION_MM] = 1.5 * params.infiltration / more
    legs[:, kernel.STREAK] = 0.25 * params.infiltration / more


_ANGLES = np.linspace(0, 2 * np.pi, 90, endpoint=False)


def _around(legs: Floats, first: int) -> Floats:
    """(slice, angle) a series at _ANGLES."""
    waves = [np.ones_like(_ANGLES)]
    waves += [wave(k * _ANGLES) for k in (1, 2, 3) for wave in (np.cos, np.sin)]
    return np.asarray(legs[:, first : first + kernel.SERIES] @ np.stack(waves))


def _reach(legs: Floats, thickest: Floats) -> Floats:
    """(slice,) farther from the centre than any skin, and than where another leg's fat may meet it.

    thickest: (slice,) the most fat of any leg.
    """
    return np.asarray((_around(legs, kernel.HULL).max(1) + thickest) * 1.05 + 1)


def _inner_mm(legs: Floats, side: str) -> float:
    """How far the fascia reaches from its centre to the other leg, in the slice where it does."""
    return float((_around(legs, kernel.HULL) * np.cos(_ANGLES) * -SIDES[side]).max())


def _muscles(
    stream: Stream, first: int, levels: Floats, radius: Floats, rotation: Floats, out: int
) -> Floats:
    """(slice, muscle, 5): places and ellipses of the muscles, jittered."""
    table = list(_shapes()["muscles"].values())
    jitter = stream.normal("thigh.muscles", 256)[2 * first :].astype(float)
    jitter = np.tanh(jitter[: 4 * len(table)].reshape(-1, 4))
    made = np.zeros((len(levels), len(table), 5))
    for m, places in enumerate(table):
        there = [i for i, place in enumerate(places) if place is not None]
        if not there:
            continue
        places = [_nearest(places, there, i) for i in range(len(places))]
        u, v, length, width, degrees = _at(levels, places).T
        angle = np.radians(degrees)
        centre = np.stack([u + 0.03 * jitter[m, 0], v + 0.03 * jitter[m, 1]], -1) @ rotation.T
        long = radius * length * np.exp(0.08 * jitter[m, 2])
        wide = radius * width * np.exp(0.08 * jitter[m, 3])
        axis = np.stack([np.cos(angle), np.sin(angle)], -1) @ rotation.T
        cu, cv = axis[:, 0] * out, axis[:, 1]
        a, b = 1 / np.maximum(long, 1) ** 2, 1 / np.maximum(wide, 1) ** 2
        alive = (long > 3) & (wide > 2)
        made[:, m, 0], made[:, m, 1] = radius * centre[:, 1], radius * centre[:, 0] * out
        made[:, m, 2] = np.where(alive, a * cv**2 + b * cu**2, 0)
        made[:, m, 3] = np.where(alive, (a - b) * cu * cv, 0)
        made[:, m, 4] = np.where(alive, a * cu**2 + b * cv**2, 0)
    return made


def _nearest(places: list[Any], there: list[int], i: int) -> list[float]:
    """Place `i`; where a muscle is not there, the nearest one with no size: it tapers off."""
    if i in there:
        return list(places[i])
    u, v, _, _, turn = places[min(there, key=lambda j: abs(i - j))]
    return [u, v, 0.0, 0.0, turn]


def _vessels(
    params: ThighParams,
    stream: Stream,
    first: int,
    levels: Floats,
    radius: Floats,
    rotation: Floats,
    out: int,
) -> Floats:
    """(slice, VESSELS, 4): the bundle, and the great saphenous vein in the inner fat."""
    z = np.tanh(stream.normal("thigh.bundle", 128).astype(float)[first : first + 8])
    made = np.zeros((len(levels), kernel.VESSELS, 4))
    for v, part in enumerate(_shapes()["bundle"].values()):
        r, sheath = part["radius_mm"], part["sheath_mm"]
        uv = _at(levels, part["at"]) @ rotation.T
        made[:, v, 0], made[:, v, 1] = radius * uv[:, 1], radius * uv[:, 0] * out
        made[:, v, 2], made[:, v, 3] = r * (1 + 0.2 * z[v]), sheath * (1 + 0.3 * z[v + 3])
    away = radius + 0.45 * params.fat_mm
    angle = np.radians(10 + 25 * z[6]) + 0.4 * (levels - 0.5)
    made[:, 3, 0], made[:, 3, 1] = away * np.sin(angle), -out * away * np.cos(angle)
    made[:, 3, 2] = min(1.8, 0.2 * params.fat_mm)
    return made
