"""crc32c of memory at an address, without the GIL where the package allows it.

`google_crc32c.value` holds the GIL, and one thread then checks while others wait for it. The C
library in the same wheel is called through ctypes instead, which lets it go; where a build hides
its symbols, the package's own function serves, with the same numbers.
"""

import ctypes
from collections.abc import Callable
from functools import cache

import google_crc32c
import numpy as np


@cache
def crc32c_at() -> Callable[[int, int], int]:
    """What gives the crc32c of the `size` bytes at `address`: (address, size) -> crc."""
    try:
        from google_crc32c import _crc32c

        function = ctypes.CDLL(_crc32c.__file__).crc32c_value
    except (ImportError, OSError, AttributeError):
        return crc32c_holding
    function.argtypes, function.restype = (ctypes.c_void_p, ctypes.c_size_t), ctypes.c_uint32
    call: Callable[[int, int], int] = function
    return call


def crc32c_holding(address: int, size: int) -> int:
    """The same through the package's function, which holds the GIL."""
    memory = (ctypes.c_uint8 * size).from_address(address)
    return int(google_crc32c.value(np.ctypeslib.as_array(memory)))
