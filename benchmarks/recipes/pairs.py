"""Real images with their label maps as samples: one a pair, in our frame, no voxel invented.

voxelmill make pairs.yaml --recipe benchmarks/recipes/pairs.py -o pairs.zarr

Sample i is pair i, in the order of the ids; it is cut, or zeros are put around it, so that the box
of its labels lies in the middle. The image is 0 farther than `margin` voxels from any label, and
its unit is the median of what is left times two, so that most tissue is below 1.
"""

import re
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import nibabel
import numpy as np
from scipy.ndimage import binary_dilation

from voxelmill.engine.draw import ranged
from voxelmill.engine.errors import SourceError
from voxelmill.engine.label_nifti import read_map
from voxelmill.engine.label_table import open_table
from voxelmill.engine.sample import Field

VERSION = 1
NAMES = ()
MOST_RATIO = 40.0
PARTS = ("all", "train", "test", "fit", "choose")


@dataclass(frozen=True)
class Inputs:
    """Where the pairs are: <id><image_end> beside <id><label_end> in one folder."""

    folder: str
    image_end: str = ranged("_T1.nii.gz", "how the names of images end")
    label_end: str = ranged("_DLMUSE.nii.gz", "how the names of label maps end")
    table: str = ranged("dlmuse", "what the label values mean: see labels_mr")
    number: str = ranged("IXI([0-9]+)", "finds the number of a person in an id")
    modulo: int = ranged(4, "persons with number % modulo == test are for the test", low=1)
    test: int = ranged(1, "see modulo", low=0)
    choose: int = ranged(3, "of the persons for training, those to choose a network by", low=0)
    part: str = ranged("all", "all, test, train; or parts of train: choose, fit")


@dataclass(frozen=True)
class Ranges:
    """What a sample is cut to."""

    shape: tuple[int, int, int] = ranged((80, 96, 80), "voxels along z, y, x", low=1, high=1024)
    voxel_mm: tuple[float, float, float] = ranged(
        (2.0, 2.0, 2.0), "of the files; others are refused", low=0.1, high=50, unit="mm"
    )
    margin: int = ranged(2, "around labels; what is farther is 0", low=0, high=64, unit="voxels")


@dataclass(frozen=True)
class Params:
    """Which pair, and what 1 is."""

    input: int = field(metadata={"meaning": "which pair"})
    scale: float = field(metadata={"meaning": "value of the file that is 1"})


class Pairs:
    """Pairs by number, in the order of their ids."""

    def __init__(self, paths, table, subjects):
        self.paths, self.label_table, self.subjects = paths, table, tuple(subjects)
        self.ids = tuple(paths)

    def __len__(self):
        return len(self.ids)

    @cached_property
    def digest(self):
        """Of all files and the table."""
        whole = sha256(repr(self.label_table).encode())
        for name, files in self.paths.items():
            whole.update(name.encode())
            for file in files:
                whole.update(sha256(file.read_bytes()).digest())
        return whole.hexdigest()

    def table(self):
        """What a store records of them."""
        return {"id": list(self.ids), "subject": list(self.subjects)}

    def read(self, i, ranges):
        """(image, label rows) of pair i, cut: (z, y, x) float32 and uint8."""
        image_file, label_file = self.paths[self.ids[i]]
        rows, grid = read_map(label_file, self.label_table, MOST_RATIO)
        if not np.allclose(grid.voxel_mm, ranges.voxel_mm, rtol=0.01):
            raise SourceError(f"{label_file}: voxels of {grid.voxel_mm} mm, not {ranges.voxel_mm}")
        image = read_image(image_file, nibabel.load(label_file).affine)
        if image.shape != rows.shape:
            raise SourceError(f"{image_file}: {image.shape} voxels, its labels {rows.shape}")
        near = binary_dilation(rows > 0, iterations=ranges.margin) if ranges.margin else rows > 0
        return cut(image * near, rows, ranges.shape), cut(rows, rows, ranges.shape)


def read_image(path, affine):
    """(z, y, x) float32 in our frame (z to Superior, y to Posterior, x to Left)."""
    file = nibabel.load(path)
    if not np.allclose(file.affine, affine, atol=1e-2):
        raise SourceError(f"{path}: its affine is not that of its labels; resample it")
    turn = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(file.affine), nibabel.orientations.axcodes2ornt(("S", "P", "L"))
    )
    values = np.asanyarray(file.dataobj).astype(np.float32)
    return np.ascontiguousarray(nibabel.orientations.apply_orientation(values, turn))


def cut(volume, rows, shape):
    """`volume` cut or padded to `shape`, with the box of the labels `rows` in its middle."""
    out = np.zeros(shape, volume.dtype)
    source, target = [], []
    for axis, size in enumerate(shape):
        there = np.flatnonzero(rows.any(tuple(a for a in range(3) if a != axis)))
        first = (int(there[0]) + int(there[-1]) + 1) // 2 - size // 2
        low, high = max(first, 0), min(first + size, volume.shape[axis])
        source.append(slice(low, high))
        target.append(slice(low - first, high - first))
    out[tuple(target)] = volume[tuple(source)]
    return out


def open_inputs(inputs, folder=".", skip_bad=False):
    """The pairs of a part; SourceError where one lacks its labels or its number."""
    place = Path(folder) / Path(inputs.folder).expanduser()
    images = sorted(place.glob("*" + inputs.image_end))
    problems, paths, subjects = [], {}, []
    for image in images:
        name = image.name.removesuffix(inputs.image_end)
        number = re.search(inputs.number, name)
        label = image.with_name(name + inputs.label_end)
        if number is None or not label.is_file():
            problems.append(f"{name}: no number by {inputs.number!r}, or no {label.name}")
            continue
        rest = int(number.group(1)) % inputs.modulo
        if inputs.part in parts_of(rest, inputs):
            paths[name] = (image, label)
            subjects.append(number.group(0))
    if inputs.part not in PARTS:
        problems.append(f"part {inputs.part!r} is none of {', '.join(PARTS)}")
    if not images:
        problems.append(f"no *{inputs.image_end} in {place}")
    if problems:
        raise SourceError("\n  ".join(problems))
    return Pairs(paths, open_table(inputs.table, folder), subjects)


def parts_of(rest, inputs):
    """The parts that a person is in, by the rest of its number."""
    if rest == inputs.test:
        return ("all", "test")
    return ("all", "train", "choose" if rest == inputs.choose else "fit")


def fields(ranges, inputs):
    """Image and label, as labels_mr has them."""
    zyx, classes = ("z", "y", "x"), dict(enumerate(inputs.label_table.classes))
    return (
        Field("image", "float16", zyx, ranges.shape, "1", "1 is twice the median"),
        Field("label", "uint8", zyx, ranges.shape, "class", "", classes, True),
    )


def draw(ranges, stream, inputs):
    """Pair number index; SourceError past the last."""
    if stream.index >= len(inputs):
        raise SourceError(
            f"sample {stream.index}: there are {len(inputs)} pairs; set count to that"
        )
    image, _ = inputs.read(stream.index, ranges)
    return Params(stream.index, float(2 * np.median(image[image > 0])))


def render(ranges, draws, inputs, xp):
    """The pairs as they are."""
    pairs = [inputs.read(d.params.input, ranges) for d in draws]
    images = [i / np.float32(d.params.scale) for (i, _), d in zip(pairs, draws, strict=True)]
    classes = inputs.label_table.class_of_row
    return {
        "image": np.stack(images).astype(np.float16),
        "label": np.stack([classes[rows] for _, rows in pairs]),
    }
