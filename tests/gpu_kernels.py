"""Finds the GPU kernels of kernels/*.py and runs their cases; for test_simulator and test_ptx.

As a script, `gpu_kernels.py simulate|ptx MODULE` runs the cases of one kernel file, says a line
a kernel and ends with status 1 if one failed. It is a process of its own since Numba reads its
environment on import.
"""

import ast
import importlib
import os
import re
import subprocess
import sys
import traceback
from pathlib import Path
from types import SimpleNamespace

import numpy as np

TESTS = Path(__file__).resolve().parent
KERNELS = TESTS.parent / "kernels"


def names_in(path):
    """The functions of a kernel file that `cuda.jit` decorates, or whose name ends in _gpu."""
    return [
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
        and (
            node.name.endswith("_gpu")
            or any("cuda.jit" in ast.unparse(d) for d in node.decorator_list)
        )
    ]


def modules():
    """The stems of the kernel files that hold a GPU kernel."""
    return [path.stem for path in sorted(KERNELS.glob("*.py")) if names_in(path)]


def failures(mode, module, **environment):
    """Run the cases of one kernel file in a new process; empty, or what it said when one failed."""
    paths = [str(TESTS), str(TESTS / "kernels"), os.environ.get("PYTHONPATH", "")]
    result = subprocess.run(
        [sys.executable, __file__, mode, module],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **environment},
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return "" if result.returncode == 0 else result.stdout + result.stderr


def simulate(kernel, case):
    """Launch in the simulator with more threads than elements, and compare with the twin."""
    threads = 32
    kernel[case.count // threads + 1, threads](*case.args)
    expected = case.expected if isinstance(case.expected, tuple) else (case.expected,)
    for made, wanted in zip(case.args, expected, strict=False):
        assert made.dtype == wanted.dtype
        np.testing.assert_allclose(made, wanted, rtol=0, atol=case.tolerance)


def doubles_in(ptx):
    """Lines of double precision, but for those of libdevice's own sinf and cosf.

    These reduce arguments above 105615 by pi / 2 * 2**-64 in double, in a branch of their own.
    """
    lines = [line.strip() for line in ptx.splitlines() if ".f64" in line and ".reg" not in line]
    reductions = [re.findall(r"%fd\d+", line) for line in lines if "0d3BF921FB54442D19" in line]
    own = {register for registers in reductions for register in registers}
    return [line for line in lines if not set(re.findall(r"%fd\d+", line) or [None]) <= own]


def compile_ptx(kernel, case):
    """Compile for compute capability 9.0; double precision anywhere in it is refused."""
    import numba
    from numba import cuda

    signature = tuple(numba.typeof(argument) for argument in case.args)
    ptx, _ = cuda.compile_ptx(kernel.py_func, signature, cc=(9, 0))
    doubles = doubles_in(ptx)
    assert not doubles, f"{len(doubles)} lines of double precision: {doubles[:5]}"


def _stand_in_for_a_device():
    import nvidia.cuda_nvcc  # libNVVM and libdevice from PyPI; Numba asks CUDA_HOME for them

    os.environ["CUDA_HOME"] = next(iter(nvidia.cuda_nvcc.__path__))
    import numba.cuda.dispatcher
    from numba.cuda import cuda_paths
    from numba.cuda.cudadrv import nvrtc

    stub = SimpleNamespace(compute_capability=(9, 0))
    numba.cuda.dispatcher.get_current_device = lambda: stub
    # libnvrtc compiles C++; libNVVM does without, but Numba asks where it is and what it can.
    nvrtc.get_supported_ccs = lambda: ((9, 0),)
    cuda_paths._get_nvrtc_path = lambda: None


def main(mode, module):
    if mode == "ptx":
        _stand_in_for_a_device()
    run, failed = {"simulate": simulate, "ptx": compile_ptx}[mode], 0
    kernels = importlib.import_module(f"voxelmill.kernels.{module}")
    cases = importlib.import_module(f"cases.{module}").CASES
    for name in names_in(KERNELS / f"{module}.py"):
        try:
            run(getattr(kernels, name), cases[name]())
        except Exception:  # noqa: BLE001 - reported and counted, so that one run shows all
            failed += 1
            sys.stdout.write(f"FAILED {module}.{name}\n{traceback.format_exc()}\n")
        else:
            sys.stdout.write(f"ok {module}.{name}\n")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
