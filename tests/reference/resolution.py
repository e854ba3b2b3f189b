"""kernels/resolution.py once more in obvious NumPy: blur, samples and lines one after the other."""

import numpy as np


def coarsened(images, spacing_vox):
    """(sample, z, y, x) float32."""
    out = images.astype(float)
    for n in range(len(out)):
        for axis in range(3):
            if spacing_vox[n, axis] > 1:
                out[n] = np.apply_along_axis(line, axis, out[n], float(spacing_vox[n, axis]))
    return out.astype(np.float32)


def line(values, spacing):
    """One line of voxels."""
    count, sd = len(values), spacing / np.sqrt(8 * np.log(2))
    number = max(1, round(count / spacing))
    centres = [(k + 0.5) * count / number - 0.5 for k in range(number)]
    samples = []
    for centre in centres:
        near = [i for i in range(count) if abs(i - centre) <= 2.5 * sd]
        weights = [np.exp(-((i - centre) ** 2) / 2 / sd**2) for i in near]
        samples.append(np.average(values[near], weights=weights))
    return np.interp(np.arange(count), centres, samples)
