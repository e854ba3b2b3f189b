"""A made-up head of four tissues, small enough to be rendered in tests of the MR recipes."""

import nibabel
import numpy as np

from voxelmill.engine.plan import open_plan

VOXEL_MM = 2.0
SHAPE = (24, 28, 26)  # of the map as it is held: its labels with a margin of one voxel
BACKGROUND, LEFT, RIGHT, CSF, GREY = range(5)
TABLE = """
name: made up
rows:
  - {value: 0, name: background, tissue: air}
  - {value: 3, name: left white, tissue: white matter, partner: 7}
  - {value: 7, name: right white, tissue: white matter, partner: 3}
  - {value: 4, name: csf, tissue: csf}
  - {value: 5, name: grey, tissue: grey matter}
"""
PLAIN = (
    "ranges.pose.rotation_deg=0",
    "ranges.pose.scaling=1",
    "ranges.pose.shear=0",
    "ranges.pose.move_mm=0",
    "ranges.pose.flip_chance=0",
    "ranges.bend.rms_mm=0",
)
IDEAL = (
    "ranges.scanner.b1=1",
    "ranges.scanner.b1_rms=0",
    "ranges.scanner.b0_rms_hz=0",
    "ranges.scanner.bias_log_rms=0",
    "ranges.acquisition.snr=1000",
    "ranges.acquisition.matrix=1",
    "ranges.acquisition.partial_fourier=1",
    "ranges.acquisition.window=none",
    "ranges.acquisition.bandwidth_hz=100000",
    "ranges.acquisition.motion_chance=0",
    "ranges.acquisition.ghost_chance=0",
    "ranges.acquisition.spike_chance=0",
    "ranges.slices.thickness_mm=1",
    "ranges.slices.spacing=1",
)


def rows():
    """(z, y, x): an ellipsoid of grey matter around white matter of two sides, CSF within."""
    z, y, x = (2 * (np.arange(n) - (n - 1) / 2) / (n - 2) for n in SHAPE)
    radius = np.sqrt(z[:, None, None] ** 2 + y[:, None] ** 2 + x**2)
    found = np.where(radius < 1, GREY, BACKGROUND)
    side = np.broadcast_to(np.where(x > 0, LEFT, RIGHT), SHAPE)
    found = np.where(radius < 0.8, side, found)
    return np.where(radius < 0.35, CSF, found).astype(np.uint8)


def write(folder, values=None):
    """A map and its table in a folder; `values` are those of the file, in our frame."""
    if values is None:
        values = np.array([0, 3, 7, 4, 5], np.uint8)[rows()]
    (folder / "maps").mkdir(exist_ok=True)
    affine = np.diag([-VOXEL_MM, -VOXEL_MM, VOXEL_MM, 1])
    nibabel.save(
        nibabel.Nifti1Image(values.transpose(2, 1, 0), affine), folder / "maps" / "one.nii.gz"
    )
    (folder / "table.yaml").write_text(TABLE)
    return folder


def spec(folder, *lines):
    """A spec of `labels_mr` beside the maps."""
    file = folder / "spec.yaml"
    text = "recipe: labels_mr\ncount: 8\nseed: 5\ninputs: {maps: maps, table: table.yaml}\n"
    text += f"ranges:\n  shape: {list(SHAPE)}\n  voxel_mm: [2, 2, 2]\n"
    file.write_text("\n".join([text, *lines]))
    return file


def plan(folder, *sets):
    """The plan of samples that are as large as the map; sets as of `voxelmill make --set`."""
    return open_plan(spec(folder), [s if "=" in s else f"ranges.{s}" for s in sets])
