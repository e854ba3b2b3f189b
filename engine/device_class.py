"""The class of machine on which a sample has the same bits: processor features and versions."""

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from zlib import crc32

from voxelmill.engine.version import VERSION

_PACKAGES = ("numpy", "scipy", "numba", "llvmlite", "pillow", "zstandard", "fonttools")


@cache
def versions() -> dict[str, str]:
    """Versions of all that touches a stored byte."""
    found = {"voxelmill": VERSION, "python": ".".join(platform.python_version_tuple()[:2])}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


@cache
def device_class() -> str:
    """One line: kind, processor, its vector features as a checksum, and versions.

    Two machines of one class make the same bits; of two classes, images within 1e-5 of the range.
    """
    from llvmlite import binding

    features = binding.get_host_cpu_features().flatten()
    packages = {k: v for k, v in versions().items() if k not in ("voxelmill", "python")}
    text = ",".join(f"{k}={v}" for k, v in sorted(packages.items()))
    cpu = f"{platform.machine()} {binding.get_host_cpu_name()}"
    return f"cpu {cpu} features {crc32(features.encode()):08x} versions {crc32(text.encode()):08x}"
