"""Where arrays live and how a kernel is launched there; the only file that tries CuPy.

A kernel's arithmetic stands once, in an `@body` function over scalars and arrays. `@loop` makes
Numba's parallel CPU loop of it; `cuda.jit` makes the GPU's. `launch` picks by where `out` lives.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

try:
    import cupy
except ImportError:
    cupy = None


def _cached(function: Callable[..., Any], **options: Any) -> Any:
    """Compile lazily with Numba's disk cache, or without it where no folder can be written."""
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError as error:  # Numba's "no locator available"
        warnings.warn(
            f"no writable folder for compiled kernels ({error}): they are compiled again in every "
            "process; set NUMBA_CACHE_DIR to a writable folder",
            RuntimeWarning,
            stacklevel=3,
        )
        return numba.njit(**options)(function)


def body(function: Callable[..., Any]) -> Any:
    """The arithmetic of one element, called by the CPU loop and by the CUDA kernel."""
    return _cached(function)


def inlined(function: Callable[..., Any]) -> Any:
    """A `body` that becomes part of its caller, its divisions unchecked.

    For small bodies that get many arrays: the call costs more than their arithmetic.
    """
    return _cached(function, forceinline=True, error_model="numpy")


def loop(function: Callable[..., Any]) -> Any:
    """A CPU loop over elements (`numba.prange`), without the GIL. Never fastmath: same bits."""
    return _cached(function, parallel=True, nogil=True)


def serial(function: Callable[..., Any]) -> Any:
    """Host preparation (binning, counting) in one thread, without the GIL."""
    return _cached(function, nogil=True)


def xp_of(array: Any) -> Any:
    """The module (numpy or cupy) whose array `array` is."""
    return np if cupy is None or not isinstance(array, cupy.ndarray) else cupy


def launch(cpu: Any, gpu: Any, count: int, out: Any, *args: Any) -> None:
    """Run `cpu(out, *args)` when `out` is on the host, else `gpu`, a thread for each of `count`."""
    if isinstance(out, np.ndarray):
        cpu(out, *args)
    elif count:
        gpu.forall(count)(out, *args)
