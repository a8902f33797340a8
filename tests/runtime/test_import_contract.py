"""What importing the runtime needs, does and offers."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import vmruntime

ROOT = Path(vmruntime.__file__).parent
SOURCES = sorted(ROOT.rglob("*.py"))
MODULES = sorted(
    "vmruntime." + ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in SOURCES
)

HEAVY = [
    "torch", "onnx", "onnxruntime", "onnxscript", "openvino", "tensorrt", "tensorrt_rtx", "cuda",
    "matplotlib", "scipy", "h5py", "dask", "distributed", "dask_jobqueue", "vmexport",
]  # fmt: skip

MOST_IMPORTED = 700
"""Modules; numpy and nibabel load most of them. What an import costs is what it loads: seconds
depend on who else uses the machine (a quarter of a second on a quiet one)."""


def python(code: str) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(ROOT.parent), "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:vmruntime", "-c", code],
        capture_output=True, text=True, env=environment, timeout=60, check=False,
    )  # fmt: skip


def test_imports_without_the_heavy_packages() -> None:
    code = f"""
import importlib.abc, os, sys
class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY!r}:
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Block())
before = dict(os.environ), os.getcwd(), os.umask(0o22)
import vmruntime
import vmruntime.cli.infer, vmruntime.cli.inspect, vmruntime.report, vmruntime.figure
import vmruntime.io.images, vmruntime.io.itk, vmruntime.backends.onnxruntime
import vmruntime.cli.transform, vmruntime.cli.registering, vmruntime.io.itk_composite
assert (dict(os.environ), os.getcwd(), os.umask(0o22)) == before
"""
    done = python(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_import_loads_none_of_the_heavy_packages() -> None:
    """Where they are installed they still must not cost anything."""
    names = [name for name in HEAVY if name != "scipy"]  # nibabel looks whether that is there
    done = python(f"import sys, vmruntime; print([m for m in {names!r} if m in sys.modules])")
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "[]", "")


def test_import_loads_little() -> None:
    assert int(python("import sys, vmruntime; print(len(sys.modules))").stdout) < MOST_IMPORTED


def test_the_commands_answer_without_an_engine() -> None:
    done = python("import sys; sys.modules['onnxruntime'] = None\n"
                  "from vmruntime.cli.infer import main; main(['--help'])")  # fmt: skip
    assert done.returncode == 0
    assert "--moving" in done.stdout
    assert done.stderr == ""


def test_a_missing_engine_names_the_extra(tiny_artifact: Path) -> None:
    code = f"""
import sys; sys.modules['onnxruntime'] = sys.modules['openvino'] = None
from vmruntime.cli.inspect import main
main([{str(tiny_artifact)!r}, "--verify"])
"""
    done = python(code)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "Error: onnxruntime is not installed; pip install 'voxelmorph-deploy[cpu]'"
    ]


def test_the_runtime_is_small() -> None:
    compiled = (".pyc", ".so")
    files = [path for path in ROOT.rglob("*") if path.suffix not in compiled]
    assert sum(path.stat().st_size for path in files) < 1 << 20


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_never_imports_the_exporter_or_torch(path: Path) -> None:
    tree = ast.parse(path.read_text())
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            imported.add(node.module or "")
            assert "*" not in {alias.name for alias in node.names}
    top = {name.split(".")[0] for name in imported}
    assert not top & {"vmexport", "vmcalibration", "torch", "onnx", "scipy"}


@pytest.mark.parametrize("module", [m.removesuffix(".__init__") for m in MODULES])
def test_public_names_are_sorted_and_there(module: str) -> None:
    loaded = importlib.import_module(module)
    names = getattr(loaded, "__all__", [])
    assert names == sorted(names)
    assert len(set(names)) == len(names)
    for name in names:
        assert getattr(loaded, name) is not None


def test_every_package_says_what_is_public() -> None:
    for module in ("vmruntime", "vmruntime.backends", "vmruntime.quality"):
        assert importlib.import_module(module).__all__


def test_every_error_has_one_root() -> None:
    from vmruntime import errors

    for name in errors.__all__:
        found = getattr(errors, name)
        if isinstance(found, type):
            assert issubclass(found, vmruntime.VMError)


def test_one_line() -> None:
    from vmruntime.errors import one_line

    assert one_line(ValueError("a\n  b\tc")) == "a b c"
    assert one_line(ValueError()) == "ValueError"
    assert one_line(ValueError("x" * 500), limit=10) == "x" * 10
