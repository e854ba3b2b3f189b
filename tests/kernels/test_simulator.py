"""Every GPU kernel gives in Numba's CUDA simulator what its NumPy twin gives."""

import gpu_kernels
import pytest


@pytest.mark.parametrize("module", gpu_kernels.modules())
def test_kernels_agree_with_their_twins_in_the_simulator(module):
    # With the JIT on, `@njit` bodies refuse the simulator's arrays.
    switches = {"NUMBA_ENABLE_CUDASIM": "1", "NUMBA_DISABLE_JIT": "1"}
    said = gpu_kernels.failures("simulate", module, **switches)
    assert not said, said
