"""What a segmentation is trained for: cross-entropy and Dice, of hard labels or of shares."""

import jax
import jax.numpy as jnp


def shares_of(target: jax.Array, classes: int) -> jax.Array:
    """(sample, *space, classes) float32 of class numbers (sample, *space), or of shares as is.

    Raises ValueError for shares of another number of classes.
    """
    if jnp.issubdtype(target.dtype, jnp.integer):
        return jax.nn.one_hot(target, classes)
    if target.shape[-1] != classes:
        raise ValueError(f"shares of {target.shape[-1]} classes, where there are {classes}")
    return target.astype(jnp.float32)


def cross_entropy(logits: jax.Array, shares: jax.Array) -> jax.Array:
    """Mean over voxels of -sum(share * log p), in nats."""
    return -(shares * jax.nn.log_softmax(logits)).sum(-1).mean()


def soft_dice_loss(logits: jax.Array, shares: jax.Array, smooth: float = 1.0) -> jax.Array:
    """1 - Dice of probabilities and shares, mean over samples and all classes but the first.

    smooth: voxels that both have in common beforehand; an absent class that is not found scores 1.
    """
    p, axes = jax.nn.softmax(logits), tuple(range(1, logits.ndim - 1))
    both, each = (p * shares).sum(axes), (p + shares).sum(axes)
    dice = (2 * both + smooth) / (each + smooth)
    return 1 - dice[:, 1:].mean()


def segmentation_loss(logits: jax.Array, target: jax.Array) -> jax.Array:
    """Cross-entropy plus soft Dice loss; `target`: class numbers or shares, see `shares_of`."""
    shares = shares_of(target, logits.shape[-1])
    return cross_entropy(logits, shares) + soft_dice_loss(logits, shares)
