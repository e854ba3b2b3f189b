"""Lines of k-space: which, when and with what weight; ghosts and blur as closed forms say."""

import numpy as np
import pytest
from scipy.special import jv

from voxelmill.kernels import kspace, lines, windows


def order_of(rank):
    """The frequencies of one sample in the order of acquisition."""
    f = kspace.frequencies(rank.size)
    return [int(f[i]) for i in np.argsort(rank) if rank[i] >= 0]


def test_acquired_lines():
    taken = lines.acquired(8, np.array([8, 5, 4]), np.array([1, 1, 0.75]))
    f = kspace.frequencies(8)
    assert [sorted(f[row]) for row in taken] == [
        [*range(-4, 4)],
        [-2, -1, 0, 1, 2],
        [-2, -1, 0],
    ]
    assert lines.acquired(256, np.array([256]), np.array([0.625])).sum() == 160
    with pytest.raises(ValueError, match=r"1\.\.8"):
        lines.acquired(8, np.array([9]))
    with pytest.raises(ValueError, match=r"above 0\.5"):
        lines.acquired(8, np.array([8]), np.array([0.5]))


def test_orders():
    taken = lines.acquired(7, np.array([7, 6, 6]))
    rank = lines.ranks(taken, ["linear", "centric", "interleaved"])
    assert order_of(rank[0]) == [-3, -2, -1, 0, 1, 2, 3]
    assert order_of(rank[1]) == [0, -1, 1, -2, 2, -3]
    assert order_of(rank[2]) == [-3, -2, -1, 0, 1, 2]
    part = lines.parts(taken, ["linear", "centric", "interleaved"], np.array([2, 3, 2]))
    f = kspace.frequencies(7)
    assert dict(zip(f, part[0], strict=True)) == dict(
        zip(range(-3, 4), [0, 0, 0, 0, 0, 1, 1], strict=True)
    )
    assert [part[1][f == v][0] for v in (0, -1, 1, -2, 2, -3, 3)] == [0, 0, 1, 1, 2, 2, -1]
    assert [part[2][f == v][0] for v in (-3, -2, -1, 0, 1, 2, 3)] == [0, 1, 0, 1, 0, 1, -1]
    with pytest.raises(ValueError, match="one of linear"):
        lines.ranks(taken, ["spiral"] * 3)


@pytest.mark.parametrize("count", range(1, 8))
@pytest.mark.parametrize("partial", [1.0, 0.8, 0.6])
@pytest.mark.parametrize("matrix", [60, 61, 64])
def test_a_linear_scan_passes_the_centre_in_the_middle_of_a_part(count, partial, matrix):
    taken = lines.acquired(64, np.array([matrix]), np.array([partial]))
    part, f = lines.parts(taken, ["linear"], np.array([count]))[0], kspace.frequencies(64)
    by_time = part[np.argsort(f)]
    by_time = by_time[by_time >= 0]
    assert (np.diff(by_time) >= 0).all()
    assert by_time.min() >= 0
    assert by_time.max() <= count - 1
    half = min(taken.sum() / count / 2, -f[taken[0]].min(), f[taken[0]].max()) - 1
    near = taken[0] & (abs(f) <= half)
    assert (part[near] == part[0]).all()


def test_the_frame_is_of_the_lines_that_make_the_image():
    taken = lines.acquired(40, np.array([36, 40, 40]), np.array([1, 0.7, 0.6]))
    order, count = ["linear", "centric", "interleaved"], np.array([3, 5, 4])
    part = lines.parts(taken, order, count)
    made = lines.frame_shares(taken, order, part, count)
    assert made.shape == (3, 5)
    np.testing.assert_array_equal(made[:2], np.eye(5)[part[:2, 0]])
    weight = np.where(taken[2], (abs(kspace.frequencies(40)) + 2.0) ** -2, 0)
    wanted = [weight[taken[2] & (part[2] == t)].sum() / weight.sum() for t in range(5)]
    np.testing.assert_allclose(made[2], wanted, rtol=1e-12)
    assert made[2, 4] == 0
    assert made[2, :4].min() > 0.1


@pytest.mark.parametrize("order", ["linear", "centric"])
@pytest.mark.parametrize("partial", [1.0, 0.8])
@pytest.mark.parametrize(("echoes", "centre"), [(16, 7), (8, 0), (5, 4), (1, 0)])
def test_the_central_echo_takes_the_central_line_and_neighbours_share_echoes(
    order, partial, echoes, centre
):
    taken = lines.acquired(64, np.array([60]), np.array([partial]))
    echo = lines.echo_numbers(taken, [order], np.array([echoes]), np.array([centre]))[0]
    assert echo[0] == centre
    assert (echo[~taken[0]] == -1).all()
    by_time = echo[taken[0]][np.argsort(lines.ranks(taken, [order])[0][taken[0]])]
    changes = np.flatnonzero(np.diff(by_time))
    way = -1 if order == "linear" and partial < 1 else 1  # what is left out would have come first
    assert (np.diff(by_time)[changes] == way).all()  # echo after echo, and never a jump back
    assert np.unique(np.diff(changes)).size <= 1  # each but the outer ones with as many lines


def test_the_point_spread_widens_as_t2_falls():
    """Centric, where the weights fall away from the centre on both sides."""
    n, echoes = 256, 16
    taken = lines.acquired(n, np.array([n]))
    echo = lines.echo_numbers(taken, ["centric"], np.array([echoes]), np.array([0]))
    widths = []
    for t2_ms in (2000, 120, 60, 30):
        amplitude = np.exp(-8.0 * np.arange(1, echoes + 1) / t2_ms)[None, None]
        weight = lines.train_weights(amplitude, echo, np.zeros(1, int))[0, 0]
        spread = abs(np.fft.ifft(kspace.zero_fill(weight, (n * 32,))))
        widths.append((spread > spread.max() / 2).sum() / 32)
    assert widths[0] == pytest.approx(1.21, abs=0.03)  # of sinc: 1.207 pixels
    assert (np.diff(widths) > 0.1).all()
    # exp(-a |f|) has the point spread of a Lorentzian with FWHM a / pi of the field of view
    a = 8.0 / 30 * echoes / (n / 2)
    assert widths[3] == pytest.approx(a / np.pi * n, rel=0.15)


def test_trains_without_a_centre_are_refused():
    taken = lines.acquired(8, np.array([8]))
    with pytest.raises(ValueError, match=r"0\.\.echoes - 1"):
        lines.echo_numbers(taken, ["linear"], np.array([4]), np.array([4]))
    echo = lines.echo_numbers(taken, ["linear"], np.array([4]), np.array([2]))
    with pytest.raises(ValueError, match="central echo"):
        lines.train_weights(np.zeros((1, 1, 4)), echo, np.array([2]))


@pytest.mark.parametrize("period", [2, 4, 8])
def test_uneven_lines_repeat_the_image_at_fov_over_period(period):
    n = 64
    weights = lines.uneven(n, np.array([period]), np.array([0.6]), np.array([0.4]))[0]
    image = np.fft.ifft(weights)  # of a point at 0
    places = np.arange(period) * n // period
    expected = np.zeros(n, complex)
    expected[places] = (0.6 * np.exp(0.4j) - 1) / period * np.exp(1j * np.pi * places)
    expected[0] += 1
    np.testing.assert_allclose(image, expected, atol=1e-6)
    assert np.linalg.norm(image) ** 2 * n == pytest.approx(np.linalg.norm(weights) ** 2, rel=1e-6)


@pytest.mark.parametrize("depth", [0.3, 1.5])
def test_a_swinging_phase_gives_ghosts_by_bessel_functions(depth):
    n, period = 192, 16
    weights = lines.wavering(n, np.array([period]), np.array([depth]))[0]
    image = np.fft.ifft(weights)  # of a point at 0
    for m in range(-3, 4):
        assert abs(image[m * n // period % n]) == pytest.approx(abs(jv(m, depth)), abs=2e-5)
    others = np.delete(abs(image), np.arange(0, n, n // period))
    assert others.max() < 1e-6
    assert (abs(image) ** 2).sum() == pytest.approx(1, rel=1e-6)


def test_no_period_is_no_ghost():
    off = np.zeros(2)
    assert (lines.uneven(9, off.astype(int), off, off) == 1).all()
    assert (lines.wavering(9, off, np.ones(2)) == 1).all()
    with pytest.raises(ValueError, match="at least 0"):
        lines.uneven(9, np.array([-1]), off[:1], off[:1])


def test_windows():
    n, matrix = 16, np.array([16, 8, 16, 12])
    kinds = ["none", "tukey", "hamming", "fermi"]
    made = windows.window(n, matrix, kinds, np.array([0, 0.5, 0, 0.1]))
    assert made.dtype == np.float32
    np.testing.assert_allclose(made[:, 0], 1, atol=1e-6)
    f = kspace.frequencies(n)
    assert (made[0] == 1).all()
    assert (made[1][abs(f) <= 2] == 1).all()
    assert made[1][f == 3][0] == pytest.approx(0.5)
    assert made[1][f == 4][0] == pytest.approx(0, abs=1e-7)
    assert made[2][f == -8][0] == pytest.approx(0.08)
    u = abs(f) / 6
    fermi = (1 + np.exp(-6)) / (1 + np.exp((u - 0.6) / 0.1))
    np.testing.assert_allclose(made[3], fermi, rtol=1e-5)
    for row in made:
        np.testing.assert_array_equal(row[1:8], row[:8:-1])  # the same on both sides
    with pytest.raises(ValueError, match="one of none"):
        windows.window(n, matrix[:1], ["hann"], np.zeros(1))
    with pytest.raises(ValueError, match="above 0"):
        windows.window(n, matrix[:1], ["tukey"], np.zeros(1))
