"""The packages are the folders, imports go only downwards, and a reader stays light."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import mills
import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = {"kernels": {"kernels"}, "models": {"models"}, "engine": {"engine", "kernels", "models"}}
FILES = [p for layer in LAYERS for p in sorted((ROOT / layer).rglob("*.py"))]


def test_package_list_is_the_folders():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {p.parent.relative_to(ROOT) for p in FILES}
    assert set(config["packages"]) == {f"voxelmill.{'.'.join(f.parts)}" for f in folders}
    assert {Path(d) for d in config["package-dir"].values()} == folders


def test_package_data_is_declared():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert "data/**/*" in config["package-data"]["voxelmill.engine"]
    for layer in LAYERS:
        assert (ROOT / layer / "py.typed").is_file()
        assert "py.typed" in config["package-data"][f"voxelmill.{layer}"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_downwards(path):
    layer = path.relative_to(ROOT).parts[0]
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            top, *rest = name.split(".")
            assert top not in LAYERS, f"{path}: {name} is imported by its bare folder"
            if top == "voxelmill" and rest:
                assert rest[0] in LAYERS[layer], f"{path}: {layer} imports {name}"


def test_optional_packages_are_tried_in_one_file_each():
    torch = {f"engine/{name}.py" for name in ("to_torch", "torch_memory", "torch_samples")}
    homes = {"cupy": {"kernels/device.py"}, "torch": torch, "ray": set()}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                home = homes.get(name.split(".")[0])
                assert home is None or str(path.relative_to(ROOT)) in home, f"{path}: {name}"


def _loaded_by(statement: str, blocked: tuple[str, ...] = ()) -> set[str]:
    """Top-level modules (and those of voxelmill) that a fresh interpreter holds after it."""
    code = f"""
import sys
for name in {blocked!r}:
    sys.modules[name] = None
{statement}
print(*sorted(m for m in sys.modules if sys.modules[m] is not None))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    return set(done.stdout.split())


def test_a_reader_is_light():
    loaded = _loaded_by("import voxelmill.engine.reader")
    for heavy in ("jax", "numba", "cupy", "pydantic", "torch", "scipy", "tensorstore", "zarr"):
        assert heavy not in loaded


def test_the_package_loads_nothing_at_import():
    loaded = _loaded_by("import voxelmill.engine")
    assert "numpy" not in loaded
    assert not any(name.startswith("voxelmill.kernels") for name in loaded)


@pytest.mark.parametrize(
    "command",
    [
        ["recipes"],
        ["plan", "examples/cxr_objects.yaml", "--no-time"],
        ["schema", "cxr_objects"],
    ],
    ids=lambda c: c[0],
)
def test_commands_work_without_jax(command):
    _run_without_jax(command)


def test_show_works_without_jax(tmp_path):
    store = mills.made(tmp_path / "x.zarr", mills.dots(4, 4))
    _run_without_jax(["show", str(store), "-o", str(tmp_path / "sheet.png")])
    assert (tmp_path / "sheet.png").stat().st_size > 1000


def _run_without_jax(command):
    blocked = ("jax", "jaxlib", "flax", "optax")
    arguments = [str(ROOT / a) if a.endswith(".yaml") else a for a in command]
    statement = f"sys.argv = ['voxelmill', *{arguments!r}]\n"
    statement += "from voxelmill.engine.cli import app\napp(standalone_mode=False)"
    assert "jax" not in _loaded_by(statement, blocked)
