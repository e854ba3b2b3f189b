"""kernels/homodyne.py once more in obvious NumPy, in double precision."""

import numpy as np


def detect(full, low):
    """The projection of `full` on the direction of `low`."""
    full, low = full.astype(complex), low.astype(complex)
    direction = low / np.where(low == 0, 1, abs(low))
    return np.where(low == 0, full, (full * direction.conj()).real * direction)
