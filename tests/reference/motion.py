"""kernels/motion.py once more in obvious NumPy, in double precision."""

import numpy as np


def rotation(angles_deg):
    """Rz Ry Rx on (z, y, x), by the three angles about z, y, x."""
    (cz, cy, cx), (sz, sy, sx) = np.cos(np.deg2rad(angles_deg)), np.sin(np.deg2rad(angles_deg))
    about_z = np.array([[1, 0, 0], [0, cz, -sz], [0, sz, cz]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[cx, -sx, 0], [sx, cx, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def keys(t):
    """Cubic convolution at distance t, a = -1/2."""
    t = abs(t)
    if t < 1:
        return 1.5 * t**3 - 2.5 * t**2 + 1
    return -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 if t < 2 else 0.0


def turn(image, matrix):
    """A voxel at a time: the sum of all voxels under their weights."""
    out = np.zeros(image.shape, complex)
    shape = image.shape[2:]
    for n in range(len(image)):
        for voxel in np.ndindex(*shape):
            at = matrix[n].astype(float) @ [*voxel, 1]
            w = [np.array([keys(at[a] - i) for i in range(size)]) for a, size in enumerate(shape)]
            out[(n, slice(None), *voxel)] = np.einsum("mzyx,z,y,x->m", image[n], *w)
    return out


def lines_of_moved(image, rotations, shifts_mm, voxel_mm, pose_of_line, transform):
    """K-space (part, z, y, x) of one 3-D image, line by line from the image in its pose.

    Shifts in the plane go by phase ramps of the whole k-space, as an exact shift does.
    """
    out = None
    for t, (turned, shift) in enumerate(zip(rotations, shifts_mm, strict=True)):
        middle = (np.array(image.shape[1:]) - 1) / 2
        linear = np.diag(1 / voxel_mm) @ turned.T @ np.diag(voxel_mm)
        matrix = np.concatenate([linear, (middle - linear @ middle)[:, None]], 1)
        k = transform(turn(image[None], matrix[None])[0])
        for axis, n in enumerate(k.shape[1:]):
            f = np.fft.fftfreq(n, 1 / n)
            along = np.exp(-2j * np.pi * f * shift[axis] / voxel_mm[axis] / n)
            k = k * along.reshape([-1 if a == axis else 1 for a in range(3)])
        out = np.zeros_like(k) if out is None else out
        out[:, :, pose_of_line == t] = k[:, :, pose_of_line == t]
    return out
