"""Networks: sums, shapes, and what they refuse."""

import jax
import numpy as np
import pytest
from flax import nnx

from voxelmill.models.convolution import Convolution, convolve
from voxelmill.models.losses import cross_entropy, segmentation_loss, shares_of, soft_dice_loss
from voxelmill.models.metrics import fit
from voxelmill.models.training import classifier, load_network, save_network
from voxelmill.models.unet import Size, UNet, folded, unfolded


def test_convolution_by_planes_is_the_direct_one():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2, 3, 5, 4, 6)).astype("float32")
    kernel = rng.normal(size=(3, 3, 3, 6, 7)).astype("float32")
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (1, 1), (0, 0)))
    expected = np.zeros((2, 3, 5, 4, 7), "float32")
    for dz, dy, dx in np.ndindex(3, 3, 3):
        expected += padded[:, dz : dz + 3, dy : dy + 5, dx : dx + 4] @ kernel[dz, dy, dx]
    for backend in ("cpu", "gpu"):  # "gpu" is the direct one, on whatever processor
        got = convolve(jax.numpy.asarray(x), jax.numpy.asarray(kernel), backend)
        np.testing.assert_allclose(got, expected, atol=1e-4)
    flat = convolve(jax.numpy.asarray(x[:, 0]), jax.numpy.asarray(kernel[1]))
    assert flat.shape == (2, 5, 4, 7)


def test_convolution_refuses_one_axis():
    with pytest.raises(ValueError, match="2 or 3"):
        Convolution(1, 8, 1, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("fold", [1, 2])
@pytest.mark.parametrize("space", [(8, 12), (4, 8, 12)])
def test_shapes(space, fold):
    size = Size(len(space), 2, 3, width=8, levels=2, fold=fold)
    network = UNet(size, rngs=nnx.Rngs(0))
    image = jax.random.normal(jax.random.key(0), (2, *space, 2))
    logits = network(image)
    assert logits.shape == (2, *space, 3)
    alone = network(image[1:])  # no sum goes across samples
    np.testing.assert_allclose(alone[0], logits[1], atol=1e-4)
    assert float(abs(logits[0] - logits[1]).max()) > 1e-3


def test_fold_and_back():
    x = jax.random.normal(jax.random.key(0), (2, 4, 6, 8, 3))
    there = folded(x, 2)
    assert there.shape == (2, 2, 3, 4, 24)
    np.testing.assert_array_equal(there[1, 1, 2, 0, 3 * 5 : 3 * 6], x[1, 3, 4, 1])  # 5 = z + x
    np.testing.assert_array_equal(unfolded(there, 2), x)


def test_refusals():
    for wrong in ({"axes": 1}, {"width": 12}, {"classes": 1}, {"fold": 0}, {"width": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Size(**({"axes": 2, "inputs": 1, "classes": 2} | wrong))
    network = UNet(Size(2, 1, 2, width=8, levels=3), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="multiples of 4"):
        network(jax.numpy.zeros((1, 8, 10, 1)))
    with pytest.raises(ValueError, match="channels"):
        network(jax.numpy.zeros((1, 8, 8, 3)))


def test_losses_of_hard_and_soft_labels():
    rng = np.random.default_rng(2)
    labels = jax.numpy.asarray(rng.integers(0, 3, (2, 5, 7)).astype("uint8"))
    shares = shares_of(labels, 3)
    np.testing.assert_array_equal(shares.argmax(-1), labels)
    right = 20 * shares
    assert float(segmentation_loss(right, labels)) < 1e-3
    assert float(segmentation_loss(right, shares)) == float(segmentation_loss(right, labels))
    wrong = 20 * shares_of((labels + 1) % 3, 3)
    assert float(soft_dice_loss(wrong, shares)) > 0.9
    even = jax.numpy.zeros((2, 5, 7, 3))
    assert float(cross_entropy(even, shares)) == pytest.approx(np.log(3), rel=1e-6)
    half = jax.numpy.full((1, 4, 4, 2), 0.5)  # p = share = 1/2: both 4, each 16
    dice = 1 - float(soft_dice_loss(jax.numpy.zeros((1, 4, 4, 2)), half))
    assert dice == pytest.approx((2 * 4 + 1) / (16 + 1))
    with pytest.raises(ValueError, match="shares of 2 classes"):
        shares_of(half, 3)


def test_fit():
    truth = np.array([[0, 1, 1, 1], [0, 0, 0, 2]])
    found = np.array([[0, 1, 1, 0], [0, 0, 1, 0]])
    f = fit(found, truth, 4)
    np.testing.assert_allclose(f.dice[:3], [2 * 3 / 9, 2 * 2 / 6, 0])
    assert np.isnan(f.dice[3])
    np.testing.assert_allclose(f.volume_error[:3], [1 / 4, 0, -1])
    assert np.isnan(f.volume_error[3])
    with pytest.raises(ValueError, match="shape"):
        fit(found[:1], truth, 4)
    with pytest.raises(ValueError, match=r"0\.\.2, not 0\.\.1"):
        fit(np.minimum(found, 1), truth, 2)


def test_weights_come_back(tmp_path):
    file = tmp_path / "w.safetensors"
    network = UNet(Size(2, 1, 2, width=8, levels=2), rngs=nnx.Rngs(3))
    save_network(file, network, {"classes": ["rest", "disc"]})
    again, facts = load_network(file)
    assert facts["classes"] == ["rest", "disc"]
    image = np.random.default_rng(0).random((1, 8, 8, 1), np.float32)
    np.testing.assert_array_equal(again(image), network(image))
    assert classifier(again)(image).shape == (1, 8, 8)
    assert not list(tmp_path.glob("*.partial"))
