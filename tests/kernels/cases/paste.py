"""Cases for kernels/paste.py."""

import numpy as np
from reference import paste as twin
from reference import tiles
from reference.distance import thickness

from cases import Case

SHAPE, SAMPLES = (11, 13), np.array([0, 0, 0, 1, 1], np.int32)
WINDOWS, STARTS, COVERAGE = tiles.random_patches(5, SAMPLES, SHAPE)
LAYERS = len(SAMPLES)


def blur():
    sigma_px = np.array([0.4, 0, 1.1, 0.7, 0.3], np.float32)
    gaussians = [twin.gaussian(sigma).astype(np.float32) for sigma in sigma_px]
    weight_starts = np.concatenate([[0], np.cumsum([len(g) for g in gaussians])]).astype(np.int64)
    rows = np.concatenate([[0], np.cumsum(WINDOWS[:, 2])]).astype(np.int64)
    args = (np.ones_like(COVERAGE), COVERAGE, WINDOWS, STARTS, rows)
    expected = twin.blur(COVERAGE, WINDOWS, STARTS, sigma_px, 0)
    args = (*args, np.concatenate(gaussians), weight_starts, True)
    return Case(COVERAGE.size, args, expected, 1e-6)


def attenuate():
    thick = thickness(COVERAGE, WINDOWS, STARTS)
    mu = np.linspace(0, 3, LAYERS).astype(np.float32)
    args = (np.ones_like(COVERAGE), COVERAGE, thick, STARTS, mu)
    return Case(COVERAGE.size, args, twin.attenuate(COVERAGE, thick, STARTS, mu), 1e-6)


def compose():
    random = np.random.default_rng(0)
    films, choice = random.integers(0, 256, (2, *SHAPE), np.uint8), np.array([1, 0], np.int32)
    opacity, grey = np.linspace(0.3, 1, LAYERS), np.linspace(300, -20, LAYERS)
    opacity, grey = opacity.astype(np.float32), grey.astype(np.float32)
    sizes = np.where(np.arange(LAYERS) == 2, np.diff(STARTS), 0)
    texture_starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    textures = random.uniform(0, 255, texture_starts[-1]).astype(np.float32)
    layers = (COVERAGE, WINDOWS, STARTS)
    looks = (opacity, grey, textures, texture_starts)
    bins = tiles.touched(WINDOWS, SAMPLES, SHAPE, 2, (4, 8))
    args = (films[choice], *layers, *looks, *bins, 4, 8, np.float32(255))
    expected = twin.compose(films, choice, *layers, SAMPLES, *looks, 2)
    return Case(len(bins[0]) * 32, args, expected, 0)


CASES = {"_blur_gpu": blur, "_attenuate_gpu": attenuate, "_compose_gpu": compose}
