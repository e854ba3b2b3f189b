"""Bright discs on noise: a recipe from outside the package, in forty lines.

voxelmill make examples/discs.yaml --recipe examples/discs.py -o discs.zarr
"""

from dataclasses import dataclass, field

import numpy as np

from voxelmill.engine.draw import Range, Uniform, ranged
from voxelmill.engine.sample import Field
from voxelmill.kernels.philox import normals

VERSION = 1  # raise it whenever a draw or a pixel changes
NAMES = ("radius_px", "centre_px", "noise")  # all names by which it draws


@dataclass(frozen=True)
class Ranges:
    size: int = ranged(64, "side of the picture", low=16, high=1024, unit="px")
    radius_px: Range = ranged(Uniform(4, 16), "radius of the disc", low=1, high=512, unit="px")


@dataclass(frozen=True)
class Params:
    radius_px: float = field(metadata={"unit": "px", "meaning": "radius of the disc"})
    centre_y_px: float = field(metadata={"unit": "px"})
    centre_x_px: float = field(metadata={"unit": "px"})


def fields(ranges, inputs):
    yx, shape = ("y", "x"), (ranges.size, ranges.size)
    labels = {0: "background", 1: "disc"}
    return (
        Field("image", "float32", yx, shape, meaning="1 in the disc, noise of sd 0.1"),
        Field("mask", "uint8", yx, shape, "class", labels=labels, is_label=True),
    )


def draw(ranges, stream, inputs):
    centre = stream.uniform("centre_px", 2) * ranges.size
    return Params(ranges.radius_px.draw(stream, "radius_px"), *centre.tolist())


def render(ranges, draws, inputs, xp):
    y, x = np.indices((ranges.size, ranges.size)) + 0.5
    masks = [
        np.hypot(y - d.params.centre_y_px, x - d.params.centre_x_px) < d.params.radius_px
        for d in draws
    ]
    keys = np.array([d.stream.key("noise") for d in draws], np.uint32)
    noise = normals(keys, ranges.size**2).reshape(-1, ranges.size, ranges.size)
    mask = np.stack(masks).astype(np.uint8)
    return {"image": mask + np.float32(0.1) * noise, "mask": mask}
