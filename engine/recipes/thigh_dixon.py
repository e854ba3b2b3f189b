"""Water and fat from several gradient echoes: least squares with the fat's spectrum."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine import protocols
from voxelmill.engine.draw import Stream
from voxelmill.engine.recipes import mr_scan
from voxelmill.engine.recipes.mr_scan import Scene


def dixon_images(
    ranges: Any,
    tissues: NDArray[np.float64],
    inputs: Any,
    scene: Scene,
    row: protocols.Row,
    stream: Stream,
    noise_sd: float,
    noise_names: tuple[str, ...],
    slot: int,
) -> NDArray[np.float32]:
    """Magnitudes of water and fat, (2, 1, z, y, x), in units of water's M0.

    Each echo is acquired by itself, with its noise and the same motion. As on scanners, the static
    field is known (here exactly) and decay between the echoes is left out, which biases short T2*.
    Source: Reeder et al. 2004, with the six peaks of Hamilton 2011.
    """
    from voxelmill.kernels.spectrum import SPECTRA, spectral_phase

    spectra = [t.spectrum for t in inputs.tissues]
    names = list(inputs.tissues.by_name)
    tissue_of_row = np.array([names.index(t) for t in inputs.label_table.tissues])
    count = int(row["echoes"])
    te_ms = row["te_ms"] + row["spacing_ms"] * np.arange(count)
    system = np.stack([np.ones(count), spectral_phase(SPECTRA["hamilton"], te_ms, scene.tesla)], 1)
    inverse = np.linalg.pinv(system).astype(np.complex64)  # (water and fat, echo)
    made = np.zeros((2, 1, *scene.grid.shape), np.complex64)
    for echo in range(count):
        own = {**row, "te_ms": float(te_ms[echo])}
        pools = mr_scan.physics_pools(scene, own, tissues, tissue_of_row, spectra)
        image = mr_scan.acquired(
            scene, ranges.acquisition, own, pools, noise_sd, stream, noise_names[echo], slot,
            complex_image=True,
        )  # fmt: skip
        turned = image * np.exp(np.complex64(-2j * np.pi * te_ms[echo] / 1000) * scene.b0_hz)
        made += inverse[:, echo, None, None, None, None] * turned
    return abs(made)
