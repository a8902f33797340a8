"""What gets installed, and that the runtime works where nothing else is."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"vmexport": ROOT / "export", "vmruntime": ROOT / "runtime"}
MAX_RUNTIME_BYTES = 1_000_000


def _pip(*arguments: object, python: Path | str = sys.executable) -> None:
    command = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, *map(str, arguments)], check=True, capture_output=True, text=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree, built from a copy so that the tree stays clean."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for folder in ("export", "runtime"):
        shutil.copytree(
            ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    target = tmp_path_factory.mktemp("wheel")
    _pip("wheel", "--no-deps", "--wheel-dir", target, copy)
    return next(target.glob("*.whl"))


def test_the_wheel_holds_every_module(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {
        path.relative_to(folder).as_posix()
        for package, folder in PACKAGES.items()
        for path in (folder / package).rglob("*")
        if path.suffix in (".py", ".typed")
    }
    assert packed == expected


def test_the_runtime_is_small(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        sizes = [i.file_size for i in archive.infolist() if i.filename.startswith("vmruntime/")]
    assert sum(sizes) < MAX_RUNTIME_BYTES


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
    assert "onnxruntime" in found.stdout
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
