"""Train a network on an iterator of batches, so that it can be killed and goes on as if it was not.

A checkpoint is one file: weights, the optimizer's state, the reader's, losses and time spent. With
the same batches, the same processor and the same number of threads the weights have the same bits.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx

from voxelmill.models.losses import segmentation_loss
from voxelmill.models.unet import Size, UNet
from voxelmill.models.weights import load_tree, read_facts, save_tree

Batches = Iterator[Mapping[str, Any]]
Loss = Callable[[jax.Array, jax.Array], jax.Array]
Told = Callable[[int, float], None]


@dataclass(frozen=True)
class Schedule:
    """How long is trained, and how fast.

    rate: the highest learning rate, reached after `warm_up` of the steps; then it falls as a cosine
        to nothing. decay: of weights. clip: the longest gradient that is followed.
    seconds: of training, after which it stops, if it has not yet done its steps.
    """

    steps: int
    rate: float = 2e-3
    warm_up: float = 0.05
    decay: float = 1e-4
    clip: float = 1.0
    seconds: float = float("inf")

    def optimizer(self) -> optax.GradientTransformation:
        """AdamW along this schedule."""
        warm_up = max(1, round(self.warm_up * self.steps))
        rates = optax.warmup_cosine_decay_schedule(0.0, self.rate, warm_up, self.steps + 1)
        steps = optax.adamw(rates, weight_decay=self.decay)
        return optax.chain(optax.clip_by_global_norm(self.clip), steps)


@dataclass
class Trained:
    """What came of it. seconds: of training, over all runs of it, without compiling.

    is_done: False where the time was up before the steps were done.
    """

    network: UNet
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    is_done: bool = False

    @property
    def steps(self) -> int:
        """That were done."""
        return len(self.losses)


def train(
    network: UNet,
    batches: Batches,
    schedule: Schedule,
    checkpoint: Path | None = None,
    *,
    every_s: float = 60.0,
    told: Told = lambda step, loss: None,
    loss: Loss = segmentation_loss,
) -> Trained:
    """Train `network` on "image" (sample, *space, channel) and "label" (numbers, or shares).

    checkpoint: a file, written each `every_s` seconds and at the end. If it is there, training goes
    on from it, and `batches` from where they stood, if they have `state_dict` and
    `load_state_dict`. told: is called with each step's number and loss. Raises ValueError where the
    checkpoint is of another network or schedule, and where `batches` end too early.
    """
    graph, weights = nnx.split(network, nnx.Param)
    optimizer = schedule.optimizer()
    state = (weights, optimizer.init(weights))
    done = Trained(network)
    if checkpoint is not None and checkpoint.exists():
        state, facts = load_tree(checkpoint, state)
        _refuse_other(facts, network.size, schedule, checkpoint)
        done.losses, done.seconds = facts["losses"], facts["seconds"]
        if facts["batches"] is not None:
            batches.load_state_dict(facts["batches"])  # type: ignore[attr-defined]

    @jax.jit
    def step(state: Any, image: jax.Array, label: jax.Array) -> tuple[Any, jax.Array]:
        def of(weights: Any) -> jax.Array:
            return loss(nnx.merge(graph, weights)(image), label)

        weights, moments = state
        value, gradient = jax.value_and_grad(of)(weights)
        change, moments = optimizer.update(gradient, moments, weights)
        return (optax.apply_updates(weights, change), moments), value

    def keep() -> None:
        if checkpoint is not None:
            position = batches.state_dict() if hasattr(batches, "state_dict") else None
            save_tree(checkpoint, state, _facts(done, schedule, position))

    clock, compiled = _Clock(done.seconds, every_s), dict[Any, Any]()
    while done.steps < schedule.steps and clock.seconds < schedule.seconds:
        batch = next(batches, None)
        if batch is None:
            raise ValueError(f"the batches ended after {done.steps} of {schedule.steps} steps")
        image, label = jax.numpy.asarray(batch["image"]), jax.numpy.asarray(batch["label"])
        kind = (image.shape, label.shape, label.dtype)
        if kind not in compiled:
            with clock.stopped():
                compiled[kind] = step.lower(state, image, label).compile()
        state, value = compiled[kind](state, image, label)
        done.losses.append(float(value))
        if not np.isfinite(done.losses[-1]):
            raise ValueError(f"the loss of step {done.steps} is {done.losses[-1]}; lower the rate")
        told(done.steps, done.losses[-1])
        done.seconds = clock.seconds
        if clock.is_due():
            keep()
    done.is_done = done.steps >= schedule.steps
    keep()
    nnx.update(network, state[0])
    return done


class _Clock:
    """Seconds of training, and when to write a checkpoint."""

    def __init__(self, before: float, every_s: float) -> None:
        self._begun, self._before, self._every_s = time.monotonic(), before, every_s
        self._kept = time.monotonic()

    @property
    def seconds(self) -> float:
        return self._before + time.monotonic() - self._begun

    def is_due(self) -> bool:
        due = time.monotonic() - self._kept >= self._every_s
        if due:
            self._kept = time.monotonic()
        return due

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """What is done meanwhile is not counted."""
        start = time.monotonic()
        yield
        self._begun += time.monotonic() - start


def _facts(done: Trained, schedule: Schedule, position: Any) -> dict[str, Any]:
    facts = {"size": done.network.size.plain(), "steps": schedule.steps, "rate": schedule.rate}
    return facts | {"losses": done.losses, "seconds": done.seconds, "batches": position}


def _refuse_other(facts: dict[str, Any], size: Size, schedule: Schedule, checkpoint: Path) -> None:
    now = {"size": size.plain(), "steps": schedule.steps, "rate": schedule.rate}
    for name, value in now.items():
        if facts[name] != value:
            raise ValueError(
                f"{checkpoint} was begun with {name} {facts[name]}, not {value}; go on with that, "
                "or begin in another folder"
            )


def save_network(path: Path, network: UNet, facts: dict[str, Any]) -> None:
    """Write the weights of a network, with its size among the facts."""
    save_tree(path, nnx.state(network, nnx.Param), facts | {"size": network.size.plain()})


def load_network(path: Path) -> tuple[UNet, dict[str, Any]]:
    """(network, facts) of a file that `save_network` wrote."""
    network = UNet(Size(**read_facts(path)["size"]), rngs=nnx.Rngs(0))
    weights, facts = load_tree(path, nnx.state(network, nnx.Param))
    nnx.update(network, weights)
    return network, facts


def classifier(network: UNet) -> Callable[[Any], np.ndarray[Any, np.dtype[np.uint8]]]:
    """Image (sample, *space, channel) -> class numbers (sample, *space) uint8, compiled."""
    graph, weights = nnx.split(network)

    @jax.jit
    def classes(image: jax.Array) -> jax.Array:
        return nnx.merge(graph, weights)(image).argmax(-1).astype(jax.numpy.uint8)

    return lambda image: np.asarray(classes(jax.numpy.asarray(image)))
