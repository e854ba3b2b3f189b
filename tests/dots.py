"""A recipe for tests of the mill: small, with every kind of field, and with faults on demand.

DOTS_FAULT=<what>@<sample> makes that sample go wrong, in whatever process it is made.
"""

import os
import time
from dataclasses import dataclass, field

import numpy as np

from voxelmill.engine.draw import Integer, Range, Uniform, ranged
from voxelmill.engine.sample import Column, Field, Ragged, Rows

VERSION = 1
NAMES = ("grey", "dots", "y", "x", "noise")
MOST = 300


@dataclass(frozen=True)
class Ranges:
    size: int = ranged(6, "rows; there are two more columns", low=1, high=2**15, unit="px")
    grey: Range = ranged(Uniform(0.1, 0.9), "of the film", low=0, high=1)
    dots: Range = ranged(Integer(0, 3), "dots on a film", low=0, high=MOST)
    slow_ms: float = ranged(0.0, "how long a sample sleeps", low=0, high=1e4, unit="ms")


@dataclass(frozen=True)
class Params:
    grey: float
    dots: int = field(metadata={"meaning": "how many"})


def fields(ranges, inputs):
    yx, shape = ("y", "x"), (ranges.size, ranges.size + 2)
    columns = (Column("y", "px"), Column("x", "px"))
    labels = {0: "background", 1: "dot"}
    return (
        Field("image", "float32", yx, shape, meaning="grey with noise"),
        Field("mask", "uint8", yx, shape, "class", labels=labels, is_label=True),
        Ragged("dots", columns, MOST),
        Ragged("lengths", (Column("length", "px"),), MOST, "uint32"),
    )


def _fault():
    what, _, sample = os.environ.get("DOTS_FAULT", "").partition("@")
    return what, int(sample or 0)


def draw(ranges, stream, inputs):
    if _fault() == ("draw", stream.index):
        raise ValueError("the draw failed")
    grey = ranges.grey.draw(stream, "grey")
    if _fault() == ("param", stream.index):
        grey = np.full(ranges.size + 2, grey)
    return Params(grey, int(ranges.dots.draw(stream, "dots")))


def render(ranges, draws, inputs, xp):
    time.sleep(ranges.slow_ms / 1000 * len(draws))
    shape = (ranges.size, ranges.size + 2)
    images, masks, dots = [], [], [np.empty((0, 2))]
    for one in draws:
        y, x = (
            one.stream.integers(n, 0, k - 1, one.params.dots)
            for n, k in zip("yx", shape, strict=True)
        )
        mask = np.zeros(shape, np.uint8)
        mask[y, x] = 1
        noise = one.stream.uniform("noise", mask.size).reshape(shape)
        images.append((one.params.grey + noise + mask).astype(np.float32))
        masks.append(mask)
        dots.append(np.stack([y, x], 1).astype(float))
    starts = np.cumsum([len(d) for d in dots])
    rows = np.concatenate(dots)
    lengths = (rows[:, :1] * 7 + rows[:, 1:]).astype(np.uint32)
    arrays = {
        "image": np.stack(images),
        "mask": np.stack(masks),
        "dots": Rows(rows, starts),
        "lengths": Rows(lengths, starts),
    }
    what, sample = _fault()
    if sample in [one.stream.index for one in draws]:
        _spoil(arrays, what)
    return arrays


def _spoil(arrays, what):
    match what:
        case "render":
            raise ZeroDivisionError("the render failed")
        case "die":
            os._exit(7)
        case "name":
            arrays["picture"] = arrays.pop("image")
        case "dtype":
            arrays["image"] = arrays["image"].astype(np.float64)
        case "shape":
            arrays["mask"] = arrays["mask"][:, :, 1:]
        case "count":
            arrays |= {n: arrays[n][:-1] for n in ("image", "mask")}
            for name in ("dots", "lengths"):
                rows = arrays[name]
                stop = rows.starts[-2]
                arrays[name] = Rows(rows.values[:stop], rows.starts[:-1])
        case "rows":
            arrays["dots"] = arrays["dots"].values
