"""Training on discs: the loss falls, and a run that was killed goes on with the same figures."""

from itertools import count

import jax
import numpy as np
import pytest
from flax import nnx

from voxelmill.models.metrics import fit
from voxelmill.models.training import Schedule, classifier, train
from voxelmill.models.unet import Size, UNet

SIDE = 24


class Discs:
    """Batches of bright discs on noise; knows where it stands, as a reader does."""

    def __init__(self):
        self.at = 0

    def __iter__(self):
        return self

    def __next__(self):
        rng = np.random.default_rng(self.at)
        self.at += 1
        y, x = np.indices((SIDE, SIDE))
        centre, radius = rng.uniform(4, SIDE - 4, (4, 2, 1, 1)), rng.uniform(3, 7, (4, 1, 1))
        label = np.hypot(y - centre[:, 0], x - centre[:, 1]) < radius
        noise = rng.normal(0, 0.3, label.shape)
        return {
            "image": (label + noise).astype("float32")[..., None],
            "label": label.astype("uint8"),
        }

    def state_dict(self):
        return {"at": self.at}

    def load_state_dict(self, state):
        self.at = state["at"]


def network():
    return UNet(Size(2, 1, 2, width=8, levels=2), rngs=nnx.Rngs(jax.random.key(5)))


def test_the_loss_falls_and_discs_are_found():
    done = train(network(), Discs(), Schedule(60, rate=1e-2))
    assert done.is_done
    assert done.steps == 60
    assert np.mean(done.losses[-5:]) < 0.35 * np.mean(done.losses[:5])
    unseen = Discs()
    unseen.at = 10_000
    batch = next(unseen)
    found = classifier(done.network)(batch["image"])
    assert fit(found, batch["label"], 2).dice[1] > 0.9


class Killed(Exception):
    pass


def test_a_killed_run_goes_on_with_the_same_figures(tmp_path):
    whole = train(network(), Discs(), Schedule(12))
    file = tmp_path / "deep" / "checkpoint.safetensors"

    def kill(step, loss):
        if step == 7:
            raise Killed

    with pytest.raises(Killed):  # after the checkpoint of step 6
        train(network(), Discs(), Schedule(12), file, every_s=0, told=kill)
    seen = []
    again = train(network(), Discs(), Schedule(12), file, told=lambda s, v: seen.append(s))
    assert seen == list(range(7, 13))
    assert again.losses == whole.losses
    for a, b in zip(*(jax.tree_util.tree_leaves(nnx.state(d.network)) for d in (again, whole)),
                    strict=True):  # fmt: skip
        np.testing.assert_array_equal(a, b)
    done = train(network(), Discs(), Schedule(12), file)  # nothing is left to do
    assert done.losses == whole.losses
    with pytest.raises(ValueError, match="begun with steps 12, not 13"):
        train(network(), Discs(), Schedule(13), file)


def test_time_is_kept(tmp_path):
    file = tmp_path / "c.safetensors"
    done = train(network(), Discs(), Schedule(10_000, seconds=0.3), file)
    assert not done.is_done
    assert done.seconds >= 0.3
    more = train(network(), Discs(), Schedule(10_000, seconds=0.3), file)
    assert more.steps == done.steps  # the time of the first run counts


def test_batches_that_end_and_losses_that_are_no_numbers():
    few = (next(discs) for discs, _ in zip([Discs()] * 3, count(), strict=False))
    with pytest.raises(ValueError, match="after 3 of 5"):
        train(network(), few, Schedule(5))

    def bad():
        while True:
            yield next(Discs()) | {"image": np.full((4, SIDE, SIDE, 1), np.nan, "float32")}

    with pytest.raises(ValueError, match="step 1 is nan"):
        train(network(), bad(), Schedule(5))
