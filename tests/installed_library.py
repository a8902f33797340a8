"""Building and installing the C library as an embedder does, for tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

ENGINE_HEADERS = {
    "ONNXRUNTIME_ROOT": "ONNX Runtime's headers (include/onnxruntime_c_api.h)",
    "TENSORRT_ROOT": "TensorRT's headers (include/NvInferRuntime.h)",
}
"""Options of CMake, and environment variables, that add an engine to the library."""


@dataclass(frozen=True)
class InstalledLibrary:
    """Where it was built, where it was installed to, and the engine that it can load."""

    build: Path
    prefix: Path
    openvino: Path

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which a program finds both."""
        return {
            "LD_LIBRARY_PATH": str(self.libraries),
            "PKG_CONFIG_PATH": str(self.libraries / "pkgconfig"),
            "VM_OPENVINO_LIBRARY": str(self.openvino),
        }

    @property
    def libraries(self) -> Path:
        """The folder that libvmruntime.so was installed to."""
        return next(self.prefix.glob("lib*/libvmruntime.so")).parent


def run(*command: object, env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    """Standard output of a command; the test fails with all that it said where it failed."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=os.environ | (env or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{command[0]} returned {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def build(source: Path, folder: Path, *options: str) -> None:
    """Configure and build with CMake."""
    run("cmake", "-S", source, "-B", folder, *options)
    run("cmake", "--build", folder, "--parallel", 2)


def install_library(folder: Path, *options: str) -> InstalledLibrary:
    """Install the library into a folder, with options for CMake; skip where nothing compiles."""
    for tool in ("cmake", "cc", "c++"):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool} on PATH")
    openvino = pytest.importorskip("openvino", reason="openvino is not installed")
    engines = sorted(Path(openvino.__file__).parent.glob("libs/libopenvino_c.so*"))
    if not engines:
        pytest.skip("the openvino package has no C library")
    # A copy: nothing may be left in the tree, and nothing outside of runtime/ may be needed.
    source = folder / "runtime"
    shutil.copytree(ROOT / "runtime", source, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    prefix = folder / "prefix"
    build(source, folder / "build", f"-DCMAKE_INSTALL_PREFIX={prefix}", "-DVM_WERROR=ON", *options)
    run("cmake", "--install", folder / "build")
    return InstalledLibrary(folder / "build", prefix, engines[-1])


def engine_headers(variable: str) -> Path:
    """The folder of an engine's headers; the test is skipped where nothing names it."""
    root = os.environ.get(variable)
    if not root:
        pytest.skip(f"{variable} does not name a folder with {ENGINE_HEADERS[variable]}")
    return Path(root)


def install_with_engines(folder: Path) -> InstalledLibrary:
    """`install_library` with the engines whose headers are here; skip where there are none."""
    roots = [f"-D{name}={os.environ[name]}" for name in ENGINE_HEADERS if os.environ.get(name)]
    if not roots:
        pytest.skip(f"none of {', '.join(ENGINE_HEADERS)} names a folder with an engine's headers")
    return install_library(folder, *roots)
