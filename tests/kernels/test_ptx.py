"""Every GPU kernel compiles to PTX for a real device, in single precision throughout."""

import gpu_kernels
import pytest


@pytest.mark.parametrize("module", gpu_kernels.modules())
def test_kernels_compile_in_single_precision(module):
    pytest.importorskip("nvidia.cuda_nvcc", reason="needs nvidia-cuda-nvcc-cu12 (extra dev)")
    said = gpu_kernels.failures("ptx", module)
    assert not said, said
