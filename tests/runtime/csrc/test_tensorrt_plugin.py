"""The TensorRT plugin: built against TensorRT's public headers, and asked what it is.

Neither needs TensorRT's libraries or a GPU. That TensorRT loads it and that its kernels run inside
an engine is unverified.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SOURCE = ROOT / "runtime" / "csrc" / "tensorrt"
FP32, FP16 = 0, 1


@pytest.fixture(scope="module")
def headers() -> Path:
    root = os.environ.get("TENSORRT_ROOT")
    if not root:
        pytest.skip("TENSORRT_ROOT does not name a folder with TensorRT's headers")
    for tool in ("cmake", "nvcc", "g++"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not installed")
    return Path(root)


@pytest.fixture(scope="module")
def plugin(headers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library, built for one architecture, with warnings as errors."""
    build = tmp_path_factory.mktemp("plugin")
    _run(
        "cmake", "-S", SOURCE, "-B", build, f"-DTENSORRT_ROOT={headers}",
        "-DCMAKE_CUDA_ARCHITECTURES=90-real",
    )  # fmt: skip
    _run("cmake", "--build", build)
    return build / "libvxm_tensorrt_plugin.so"


def _run(*command: object) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_it_exports_what_tensorrt_looks_for_and_nothing_else(plugin: Path) -> None:
    listed = _run("nm", "-D", "--defined-only", plugin).splitlines()
    assert sorted(line.split()[-1] for line in listed) == ["getCreators", "setLoggerFinder"]


def test_it_links_neither_tensorrt_nor_a_cuda_library(plugin: Path) -> None:
    linked = _run("readelf", "-d", plugin)
    assert "libnvinfer" not in linked
    assert "libcud" not in linked


def test_it_loads_without_a_gpu(plugin: Path) -> None:
    library = ctypes.CDLL(os.fspath(plugin))
    library.getCreators.restype = ctypes.c_void_p
    count = ctypes.c_int32()
    assert library.getCreators(ctypes.byref(count))
    assert count.value == 1


def test_it_is_what_an_engine_asks_for(plugin: Path, headers: Path, tmp_path: Path) -> None:
    probe = tmp_path / "plugin_probe"
    toolkit = Path(str(shutil.which("nvcc"))).resolve().parents[1]
    include = headers / "include" if (headers / "include").is_dir() else headers
    _run(
        "nvcc", "-std=c++17", "--cudart", "static", f"-isystem={include}",
        f"-isystem={toolkit / 'include'}", Path(__file__).with_name("plugin_probe.cpp"),
        "-o", probe, "-ldl",
    )  # fmt: skip
    said = _run(probe, plugin).splitlines()
    assert said[:4] == [
        "creators: 1, PLUGIN CREATOR_V3ONE",
        "vxm::Warp3d version 1",
        "field mode",
        "field padding",
    ]
    # What a clone would write into a plan, and what a node without attributes means.
    assert said[4:6] == ["mode=nearest", "padding=border"]
    assert said[-4:-2] == ["mode=linear", "padding=zeros"]
    # The volume FP16 or FP32, the result alike, coordinates from FP32 alone.
    types = [line for line in said if line.startswith("types")]
    assert types == [f"types {FP32} {FP32} {FP32}", f"types {FP16} {FP32} {FP16}"]
    assert f"output type {FP16} (0)" in said
    assert "shapes: 0" in said
    assert "two channels: -1" in said
    assert "four axes: -1" in said
    assert any("3 channels" in line for line in said if line.startswith("log"))
    assert any("5 axes" in line for line in said if line.startswith("log"))
    assert said[-1] == "cubic: refused"
    assert said[-2].startswith("log: Warp3d knows mode linear and nearest")
    if "enqueue: -1" in said:
        assert any(line.startswith("log: Warp3d was not launched:") for line in said)


def test_a_wrong_root_is_named(tmp_path: Path) -> None:
    if not shutil.which("cmake"):
        pytest.skip("cmake is not installed")
    command = ["cmake", "-S", SOURCE, "-B", tmp_path / "build", f"-DTENSORRT_ROOT={tmp_path}"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode != 0
    # CMake breaks lines.
    said = " ".join(done.stderr.split())
    assert f"TENSORRT_ROOT='{tmp_path}' has no include/NvInferRuntime.h" in said
