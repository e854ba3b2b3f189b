"""Echo trains: 20,000 tissues with B1 of their own, 16 echoes of 150 degrees, all cores.

Run: `pytest benchmarks/test_epg.py --benchmark-enable -s`, with torchsim (0.0.8, compiled code for
the CPU) beside where it is installed. Both start and end with arrays in single precision. torchsim
keeps 10 orders unless told otherwise, which is too few for 16 echoes; 16 are the fewest that are
right, and a case of their own. `extra_info` has tissues/s and the largest error of 50 of them
against isochromats in double precision.
What bounds ours: 72 order steps of 40 flops and 16 sines and cosines, some 3,500 flops a tissue, on
vectors; 170 bytes a tissue go through memory.
"""

import numpy as np
import pytest

from voxelmill.engine import bloch
from voxelmill.engine.verify import brute
from voxelmill.kernels import epg

ATOMS, ECHOES, ESP_MS, FLIP_DEG, CHECKED = 20_000, 16, 10.0, 150.0, 50


@pytest.fixture(scope="module")
def atoms():
    """T1, T2 and B1, even over the tissues of the body."""
    rng = np.random.default_rng(0)
    bounds = (300, 4000), (20, 300), (0.6, 1.2)
    return [rng.uniform(*ends, ATOMS).astype(np.float32) for ends in bounds]


@pytest.fixture(scope="module")
def right(atoms):
    """The echoes of the first tissues, from isochromats."""
    first = np.stack(atoms, 1)[:CHECKED].astype(float)
    return np.array(
        [
            brute.train(bloch.rest(), t1, t2, [FLIP_DEG] * ECHOES, ESP_MS, b1)[0]
            for t1, t2, b1 in first
        ]
    )


def ours(t1_ms, t2_ms, b1):
    """From arrays to complex echoes."""
    flips = np.full(ECHOES, FLIP_DEG)
    return lambda: epg.train(t1_ms, t2_ms, flips, ESP_MS, b1)


def torchsim_16_orders(t1_ms, t2_ms, b1, orders=16):
    """The fewest orders that are right for 16 echoes."""
    torch = pytest.importorskip("torch")
    torchsim = pytest.importorskip("torchsim", reason="pip install torchsim")
    tissue = {"T1": t1_ms, "T2": t2_ms, "B1": b1}
    tissue = {name: torch.from_numpy(column) for name, column in tissue.items()}
    flips = torch.full((ECHOES,), FLIP_DEG)
    return lambda: torchsim.fse_sim(flip=flips, ESP=ESP_MS, states=orders, **tissue).numpy()


def torchsim_10_orders(t1_ms, t2_ms, b1):
    """As it comes."""
    return torchsim_16_orders(t1_ms, t2_ms, b1, 10)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, when torchsim is imported
@pytest.mark.parametrize("make", [ours, torchsim_16_orders, torchsim_10_orders])
def test_epg(benchmark, make, atoms, right):
    """All echoes of all tissues."""
    benchmark.group = "epg"
    run = make(*atoms)
    error = float(np.abs(np.abs(run()[:CHECKED]) - np.abs(right)).max())
    benchmark.pedantic(run, rounds=30, warmup_rounds=2)
    benchmark.extra_info["largest_error"] = error
    if benchmark.stats:
        benchmark.extra_info["tissues_per_s"] = ATOMS / benchmark.stats.stats.median
    print(f"\n{make.__name__}: {benchmark.extra_info}")
    if make is not torchsim_10_orders:
        assert error < 1e-5
