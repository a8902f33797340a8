"""What gets installed, and that the runtime works where nothing else is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "vmcalibration": ROOT / "calibration",
    "vmexport": ROOT / "export",
    "vmruntime": ROOT / "runtime",
}
MAX_RUNTIME_BYTES = 1_000_000
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.so")
COMPILED = "vmruntime/native/_kernels.abi3.so"


def _pip(
    *arguments: object, python: Path | str = sys.executable, check: bool = True, **environment: str
) -> subprocess.CompletedProcess[str]:
    command = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    return subprocess.run(
        [*command, *map(str, arguments)],
        check=check, capture_output=True, text=True, env=os.environ | environment,
    )  # fmt: skip


def _copy_of_the_tree(folder: Path) -> Path:
    """A copy to build in, so that the tree stays clean."""
    copy = folder / "source"
    copy.mkdir()
    for name in ("setup.cfg", "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for packages in dict.fromkeys(PACKAGES.values()):
        shutil.copytree(packages, copy / packages.name, ignore=LEFT_OUT)
    return copy


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree."""
    folder = tmp_path_factory.mktemp("wheel")
    _pip("wheel", "--no-deps", "--wheel-dir", folder, _copy_of_the_tree(folder))
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_every_module(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {
        path.relative_to(folder).as_posix()
        for package, folder in PACKAGES.items()
        for path in (folder / package).rglob("*")
        if path.suffix in (".py", ".typed")
    }
    expected |= {
        f"vmruntime/cuda/csrc/{path.name}"
        for path in (ROOT / "runtime" / "csrc" / "cuda").iterdir()
        if path.suffix in (".cu", ".cuh")
    }
    if shutil.which("c++"):
        expected.add(COMPILED)
    assert packed == expected


def test_the_runtime_is_small(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        files = [i for i in archive.infolist() if i.filename.startswith("vmruntime/")]
    assert sum(i.file_size for i in files if i.filename != COMPILED) < MAX_RUNTIME_BYTES


def test_without_a_compiler_it_installs_and_says_that_it_is_slower(tmp_path: Path) -> None:
    copy = _copy_of_the_tree(tmp_path)
    missing = {"CC": "/no/such/cc", "CXX": "/no/such/c++"}
    demanded = _pip("wheel", "--no-deps", "--wheel-dir", tmp_path, copy, check=False, **missing,
                    VM_REQUIRE_NATIVE="1")  # fmt: skip
    assert demanded.returncode != 0
    _pip("wheel", "--no-deps", "--wheel-dir", tmp_path, copy, **missing, VM_REQUIRE_NATIVE="")
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as archive:
        assert COMPILED not in archive.namelist()
        archive.extractall(tmp_path / "installed")
    code = "import vmruntime.kernels as k; print(k.__file__, k.kernels_in_use())"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "installed"), "VM_REQUIRE_NATIVE": ""},
    )  # fmt: skip
    assert found.stdout.startswith(str(tmp_path / "installed"))
    assert "numpy, which is slower: no compiled kernels in" in found.stdout


def test_vm_infer_works_with_the_cpu_extra_alone(
    wheel: Path, tmp_path: Path, tiny_artifact: Path, pair: dict[str, Path]
) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    python = tmp_path / "env" / "bin" / "python"
    _pip("install", "--constraint", ROOT / "constraints.txt", f"{wheel}[cpu]", python=python)

    imported = subprocess.run(
        [python, "-c", "import torch"], capture_output=True, text=True, check=False
    )
    assert "No module named 'torch'" in imported.stderr
    command = [
        python.with_name("vm-infer"), tiny_artifact,
        "--moving", pair["moving"], "--fixed", pair["fixed"],
        "--moving-seg", pair["moving_seg"], "--fixed-seg", pair["fixed_seg"],
        "--moved", tmp_path / "moved.nii.gz", "--moved-seg", tmp_path / "labels.nii.gz",
        "--warp", tmp_path / "warp.nii.gz", "--inverse-warp", tmp_path / "inverse.nii.gz",
        "--report", tmp_path / "qc.json", "--figure", tmp_path / "qc.png",
    ]  # fmt: skip
    found = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert found.returncode == 0, found.stderr
    assert "openvino" in found.stdout
    assert ("kernels native" in found.stdout) == bool(shutil.which("c++"))
    for name in (
        "moved.nii.gz",
        "labels.nii.gz",
        "warp.nii.gz",
        "inverse.nii.gz",
        "qc.json",
        "qc.png",
    ):
        assert (tmp_path / name).stat().st_size > 0

    refused = subprocess.run(
        [python.with_name("vm-export"), "model.pt", "-o", "m.onnx"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert refused.returncode == 1
    assert (
        refused.stderr == "Error: vm-export needs torch; pip install 'voxelmorph-deploy[export]'\n"
    )
