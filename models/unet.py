"""A small U-Net for images and volumes.

Each level halves the size and doubles the channels; the way up is added to the way down, not put
beside it, which costs a third less. `fold` makes channels of neighbouring voxels at the entry and
voxels of channels at the exit: no voxel is lost, and the widest level costs an eighth (fold 2 in
three axes). The exit sees the entry too, so that each voxel's own intensity reaches its class.
"""

from dataclasses import asdict, dataclass
from itertools import pairwise, product
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from voxelmill.models.convolution import Convolution

GROUP = 8  # channels that are normalised together


@dataclass(frozen=True)
class Size:
    """How large a U-Net is.

    axes: of space, 2 or 3. inputs: channels of the image. width: channels of the first level.
    """

    axes: int
    inputs: int
    classes: int
    width: int = 32
    levels: int = 4
    fold: int = 1

    def __post_init__(self) -> None:
        """Raise ValueError for what no network can have."""
        least = {"inputs": 1, "classes": 2, "width": GROUP, "levels": 1, "fold": 1}
        wrong = [f"{k} {getattr(self, k)} is below {v}" for k, v in least.items()
                 if getattr(self, k) < v]  # fmt: skip
        if self.axes not in (2, 3):
            wrong.append(f"axes {self.axes} is neither 2 nor 3")
        if self.width % GROUP:
            wrong.append(f"width {self.width} is no multiple of {GROUP}")
        if wrong:
            raise ValueError("; ".join(wrong))

    @property
    def divisor(self) -> int:
        """What each side of an image must be a multiple of."""
        return self.fold * 2 ** (self.levels - 1)

    def plain(self) -> dict[str, Any]:
        """As numbers, for a file."""
        return asdict(self)


class Block(nnx.Module):
    """Two convolutions, each normalised and rectified."""

    def __init__(self, inputs: int, outputs: int, axes: int, *, rngs: nnx.Rngs) -> None:
        self.first = Convolution(inputs, outputs, axes, rngs=rngs)
        self.second = Convolution(outputs, outputs, axes, rngs=rngs)
        groups = outputs // GROUP
        self.norm_first = nnx.GroupNorm(outputs, num_groups=groups, rngs=rngs)
        self.norm_second = nnx.GroupNorm(outputs, num_groups=groups, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """(sample, *space, outputs)."""
        x = nnx.relu(self.norm_first(self.first(x)))
        return nnx.relu(self.norm_second(self.second(x)))


class UNet(nnx.Module):
    """Image (sample, *space, inputs) float32 -> logits (sample, *space, classes)."""

    def __init__(self, size: Size, *, rngs: nnx.Rngs) -> None:
        self.size = size
        widths = [size.width * 2**level for level in range(size.levels)]
        entry = size.inputs * size.fold**size.axes
        pairs = zip([entry, *widths[:-1]], widths, strict=True)
        self.down = nnx.List([Block(a, b, size.axes, rngs=rngs) for a, b in pairs])
        self.narrow = nnx.List([nnx.Linear(b, a, rngs=rngs) for a, b in _steps(widths)])
        self.up = nnx.List([Block(a, a, size.axes, rngs=rngs) for a, _ in _steps(widths)])
        self.mixed = nnx.Linear(2 * widths[0] + entry, 4 * widths[0], rngs=rngs)
        self.exit = nnx.Linear(4 * widths[0], size.classes * size.fold**size.axes, rngs=rngs)

    def __call__(self, image: jax.Array) -> jax.Array:
        """The logits. Raises ValueError for an image whose sides cannot be halved as often."""
        size = self.size
        space = image.shape[1:-1]
        if len(space) != size.axes or image.shape[-1] != size.inputs:
            raise ValueError(
                f"an image (sample, {size.axes} axes, {size.inputs} channels) is needed, not the "
                f"shape {image.shape}"
            )
        if any(n % size.divisor for n in space):
            raise ValueError(
                f"sides {space} must be multiples of {size.divisor}: crop or pad, or take fewer "
                "levels or a smaller fold"
            )
        x = first = folded(image, size.fold)
        kept = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else halved(x))
            kept.append(x)
        for level in reversed(range(size.levels - 1)):
            x = self.up[level](kept[level] + doubled(self.narrow[level](x)))
        mixed = nnx.relu(self.mixed(jnp.concatenate([x, kept[0], first], -1)))
        return unfolded(self.exit(mixed), size.fold)


def _steps(widths: list[int]) -> list[tuple[int, int]]:
    return list(pairwise(widths))


def halved(x: jax.Array) -> jax.Array:
    """Means of 2 neighbours along each axis of space."""
    for axis in range(1, x.ndim - 1):
        x = x.reshape(*x.shape[:axis], x.shape[axis] // 2, 2, *x.shape[axis + 1 :]).mean(axis + 1)
    return x


def doubled(x: jax.Array) -> jax.Array:
    """Each voxel twice along each axis of space."""
    for axis in range(1, x.ndim - 1):
        x = jnp.repeat(x, 2, axis)
    return x


def folded(x: jax.Array, fold: int) -> jax.Array:
    """Blocks of `fold` voxels a side as channels: (sample, *space / fold, channels * block)."""
    if fold == 1:
        return x
    parts = product(range(fold), repeat=x.ndim - 2)
    every = [x[(slice(None), *(slice(k, None, fold) for k in part))] for part in parts]
    return jnp.concatenate(every, -1)


def unfolded(x: jax.Array, fold: int) -> jax.Array:
    """What `folded` made channels of, as voxels again."""
    if fold == 1:
        return x
    axes = x.ndim - 2
    n, *space, channels = x.shape
    blocks = x.reshape(n, *space, *(fold,) * axes, channels // fold**axes)
    order = [0, *(a for k in range(axes) for a in (1 + k, 1 + axes + k)), 1 + 2 * axes]
    return blocks.transpose(order).reshape(n, *(s * fold for s in space), -1)
