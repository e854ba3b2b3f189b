"""Samples of cxr_objects without a store, for tests."""

from dataclasses import replace
from functools import cache

import numpy as np

from voxelmill.engine.draw import Choice, Draw, Fixed, Stream
from voxelmill.engine.recipes import cxr_objects
from voxelmill.engine.sample import Rows

SIZE = 144
CLASSES = cxr_objects.CLASSES
CUTOUT_MODES = ("alpha", "feather")


@cache
def films():
    """The shipped films and donors."""
    return cxr_objects.open_inputs(cxr_objects.Inputs(donors="shipped"))


def ranges(size=SIZE, weights=None, **changes):
    """The published ranges on small films, all classes with the same weight unless told."""
    weights = dict.fromkeys(CLASSES, 1.0) if weights is None else weights
    every = {name: weights.get(name, 0.0) for name in CLASSES}
    return replace(cxr_objects.Ranges(), size=size, classes=Choice(every), **changes)


def only(name, mode=None, size=SIZE, count=1, top=None, **changes):
    """Nothing but `count` objects of a class, in one mode; `changes` are keys of the class."""
    own = getattr(cxr_objects.Ranges(), name)
    if mode is not None:
        key = "blend" if name == "cutout" else "mode"
        words = getattr(own, key).weights
        changes[key] = Choice({word: float(word == mode) for word in words})
    top = {"negative_share": 0.0, "count": Fixed(count), **(top or {})}
    return ranges(size, {name: 1.0}, **{name: replace(own, **changes)}, **top)


def draws(ranges, indices, seed=7, inputs=None):
    """The draws of some samples."""
    inputs = inputs or films()
    streams = [Stream(seed, i) for i in indices]
    return [Draw(cxr_objects.draw(ranges, s, inputs), s) for s in streams]


def batch(ranges, indices, seed=7, inputs=None):
    """The arrays of some samples, rendered at once."""
    inputs = inputs or films()
    return cxr_objects.render(ranges, draws(ranges, indices, seed, inputs), inputs, np)


def split(arrays):
    """Sample by sample: arrays, and rows of ragged tables."""
    count = len(arrays["image"])
    return [
        {
            name: a.values[a.starts[b] : a.starts[b + 1]] if isinstance(a, Rows) else a[b]
            for name, a in arrays.items()
        }
        for b in range(count)
    ]


def rows(ranges, table):
    """Rows of `objects` as dicts; categories as words."""
    columns = cxr_objects.object_columns(ranges)
    return [
        {
            c.name: c.categories[int(v)] if c.categories and not np.isnan(v) else v
            for c, v in zip(columns, row.tolist(), strict=True)
        }
        for row in table
    ]


def samples(ranges, indices, seed=7, inputs=None):
    """(film image, arrays, object rows as dicts, film) of some samples."""
    inputs = inputs or films()
    made = draws(ranges, indices, seed, inputs)
    arrays = split(cxr_objects.render(ranges, made, inputs, np))
    found = []
    for one, sample in zip(made, arrays, strict=True):
        film = inputs.film(one.params.input, ranges.size)
        found.append((film.image, sample, rows(ranges, sample["objects"]), film))
    return found
