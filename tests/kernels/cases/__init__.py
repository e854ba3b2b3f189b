"""What the simulator and the PTX test run each `_x_gpu` kernel with: one module a kernel file.

`cases/<module>.py` holds `CASES = {"_x_gpu": function}`; the function returns a `Case` whose
`expected` comes from the twin in tests/reference. Shapes are tiny: the simulator is slow.
"""

from typing import Any, NamedTuple


class Case(NamedTuple):
    """A launch of one GPU kernel and what it must leave behind."""

    count: int  # elements, one thread each
    args: tuple[Any, ...]  # arguments of the kernel; args[0] is what it fills
    expected: Any  # what args[0] must be afterwards, same dtype; or a tuple, of the first args
    tolerance: float  # absolute; 0 = the same bits
