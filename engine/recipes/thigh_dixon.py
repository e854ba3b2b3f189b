"""Water and fat from several gradient echoes: least squares with the fat's spectrum."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxelmill.engine import protocols
from voxelmill.engine.draw import Stream
from voxelmill.engine.recipes import mr_physics, mr_scan
from voxelmill.engine.recipes.mr_ranges import Acquisition
from voxelmill.engine.recipes.mr_scan import Scene


def _system(row: protocols.Row, tesla: float) -> tuple[Any, NDArray[np.complex64]]:
    """Echo times in ms, and what brings echoes to water and fat: (water and fat, echo)."""
    from voxelmill.kernels.spectrum import SPECTRA, spectral_phase

    count = int(row["echoes"])
    te_ms = row["te_ms"] + row["spacing_ms"] * np.arange(count)
    system = np.stack([np.ones(count), spectral_phase(SPECTRA["hamilton"], te_ms, tesla)], 1)
    return te_ms, np.linalg.pinv(system).astype(np.complex64)


def dixon_signals(
    row: protocols.Row, tissues: NDArray[np.float64], spectra: Sequence[str], tesla: float
) -> NDArray[np.float64]:
    """Water and fat that the echoes of each tissue give, (tissue, 2), at the nominal flip angle."""
    te_ms, inverse = _system(row, tesla)
    echoes = [
        protocols.signals({**row, "te_ms": te}, tissues, spectra, np.ones(1), tesla)[:, 0].sum(1)
        for te in te_ms.tolist()
    ]
    return np.abs(np.stack(echoes, 1) @ inverse.T).astype(np.float64)


def dixon_images(
    acquisition: Acquisition,
    tissues: NDArray[np.float64],
    inputs: Any,
    scene: Scene,
    row: protocols.Row,
    stream: Stream,
    noise_names: tuple[str, ...],
    slot: int,
) -> NDArray[np.float32]:
    """Magnitudes of water and fat, (2, 1, z, y, x), in units of water's M0.

    Each echo is acquired by itself, with its noise and the same motion. As on scanners, the static
    field is known (here exactly) and decay between the echoes is left out, which biases short T2*.
    Source: Reeder et al. 2004, with the six peaks of Hamilton 2011.
    """
    from voxelmill.kernels import phase

    spectra = [t.spectrum for t in inputs.tissues]
    tissue_of_row = mr_physics.tissue_of_row(inputs.tissues, inputs.label_table)
    te_ms, inverse = _system(row, scene.tesla)
    sd = 1 / row["scale"] / row["snr"]
    made = np.zeros((2, 1, *scene.grid.shape), np.complex64)
    for echo, te in enumerate(te_ms.tolist()):
        own = {**row, "te_ms": te}
        pools = mr_physics.physics_pools(scene, own, tissues, tissue_of_row, spectra)
        image = mr_scan.acquired(
            scene, acquisition, own, pools, sd, stream, noise_names[echo], slot, complex_image=True
        )
        image = np.ascontiguousarray(image)
        phase.turn(image, scene.b0_hz, np.array([-te / 1000], np.float32))
        made += inverse[:, echo, None, None, None, None] * image
    return abs(made)
