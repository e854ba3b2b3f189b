"""The flow from a spec to a store and on to a trainer; names are loaded when they are used."""

from importlib import import_module
from typing import Any

from voxelmill.engine.version import VERSION as __version__

_EXPORTS = {"make": "run_local", "open_spec": "stream", "open_store": "reader"}
__all__ = ["__version__", "make", "open_spec", "open_store"]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(f"voxelmill.engine.{_EXPORTS[name]}"), name)
    raise AttributeError(f"voxelmill.engine has no {name!r}")
